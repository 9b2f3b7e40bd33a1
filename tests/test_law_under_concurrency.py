"""The law while everybody writes at once: several owners, the registry, corrections, and whatever may break between.

Replicas with a connection and a registry of their own store batches of the partitions that they own, or believe to own;
registry changes come in between; corrections are worked off in pages of a few lines. Work is broken off before any
statement, by the server, by cancellation and after a commit whose answer is lost. Now and then all are let finish: then
every row and every column of both tables is what the oracle says of all that was given so far, and the ledger adds up.

A seed names the history and the dice; what the machine makes of them differs from run to run.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

import enrich.registry
import ingest.learn
from enrich.judge import judge
from enrich.law import Law
from enrich.offsets import offset_s
from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.batch import Batch
from ingest.correct import correct
from ingest.judging import Ahead
from ingest.learn import begin, hold
from ingest.newest import Newest
from ingest.registry_feed import store_states
from ingest.store import store
from schemas.envelope import NotUnderstood, understand
from schemas.judgement import Rejected
from schemas.reading import Reading, canonical_envelope
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import About, Names, State
from sinks.corrections import pending_corrections
from sinks.database import Database
from sinks.errors import AwayError, CollisionError, PositionMovedError
from sinks.ledger import Gap, Move, Source, begin_partition, open_source, positions
from sinks.registry import add_states
from sinks.rows import READING_COLUMNS, REJECTION_COLUMNS
from tests import oracle
from tests.histories import REGISTRY_FILES, TOPICS, History, first_seen, history
from tests.knowing import learned
from tests.test_law_against_oracle import differences, expected, in_utc, zone_of

LAW = Law()
HISTORIES = int(os.environ.get("CONCURRENT_HISTORIES", "15"))
FIRST = int(os.environ.get("FIRST_HISTORY", "0"))
FILES = frozenset(REGISTRY_FILES)
REGISTRY = FILES | set(TOPICS.values())

Key = tuple[str, int]


class InjectedError(Exception):
    """The process dies here."""


# --- what breaks -----------------------------------------------------------------------------------------------------


class Fragile:
    """A connection that lets others in between two statements, and breaks before one of them."""

    def __init__(self, connection: Any, dice: Random, fate: str | None, pace: float) -> None:
        self._connection, self._dice, self._fate, self._pace = connection, dice, fate, pace
        self._left = dice.choice((0, 1, 2, 3, 4, 5, 6, 8, 10, 14, 20))

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **named: Any) -> Any:
            if self._dice.random() < self._pace:
                await asyncio.sleep(self._dice.random() * 0.01)
            self._left -= 1
            if self._left < 0 and self._fate == "crash":
                raise InjectedError
            if self._left < 0 and self._fate == "cancelled":
                raise asyncio.CancelledError
            if self._left < 0 and self._fate == "killed":
                await self._connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            return await getattr(self._connection, name)(*arguments, **named)

        return call


class FragileDatabase(Database):
    """A database of which some transactions break: half-way, or after the commit, with its answer lost."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.url, timeout_s=30)
        self._world, self._dice = world, world.dice

    @asynccontextmanager
    async def transaction(self, **how: Any) -> AsyncIterator[Any]:
        fates = ("crash", "cancelled", "killed", "answer lost")
        fate = self._dice.choice(fates) if self._dice.random() < self._world.rate else None
        try:
            async with super().transaction(**how) as connection:
                yield Fragile(connection, self._dice, fate, self._world.pace)
        except asyncio.CancelledError:  # the process has died, and so has its connection
            self.drop()
            raise
        if fate == "answer lost":
            self.drop()
            raise AwayError("the answer to COMMIT was lost")


# --- the world -------------------------------------------------------------------------------------------------------


@dataclass
class World:
    """What is to be given in this phase, and who owns what."""

    url: str
    sources: dict[str, Source]
    partitions: dict[Key, list[Record]]
    about: dict[Place, About]
    dice: Random
    rate: float
    """How many of the transactions break."""
    pace: float
    """How many of the statements let others go first for a few milliseconds."""
    owner: dict[Key, int] = field(default_factory=dict)
    done: dict[Key, int] = field(default_factory=dict)
    """A position that each partition has reached for sure."""
    happened: Counter[str] = field(default_factory=Counter)

    def left(self, key: Key, position: int) -> list[Record]:
        return [record for record in self.partitions[key] if record.place.offset >= position]

    def finished(self, keys: Iterable[Key]) -> bool:
        return not any(self.left(key, self.done.get(key, 0)) for key in keys)

    def batch(self, believed: dict[Key, int], most: int) -> Batch:
        """The next few records of each partition, as far as one may believe; holes between them are gaps."""
        records: list[Record] = []
        moves: list[Move] = []
        for key, position in believed.items():
            taken = self.left(key, position)[: self.dice.randint(1, most)]
            if taken:
                offsets = {record.place.offset for record in taken}
                following = taken[-1].place.offset + 1
                gaps = [Gap(n, n + 1, "skipped") for n in range(position, following) if n not in offsets]
                records += taken
                moves.append(Move(self.sources[key[0]], key[1], position, following, gaps))
        return Batch(records, moves, self.sources)

    async def refreshed(self, database: Database, keys: Iterable[Key]) -> dict[Key, int]:
        """Where the database says that these partitions stand."""
        async with database.transaction() as connection:
            at = await positions(connection, {name for name, _ in keys})
        found = {key: at[key] for key in keys}
        self.done |= found
        return found


def told(about: dict[Place, About], record: Record) -> State | NotUnderstood:
    """What a registry record says. A file's record would tell its kind by its id, which may be what is wrong with it."""
    name = record.place.source
    return understand_state(
        about[record.place],
        record,
        told_at=REGISTRY_FILES.get(name, record.received_at),
        from_file=name in FILES,
        max_bytes=LAW.max_bytes,
        max_depth=LAW.max_depth,
    )


# --- those who work on it --------------------------------------------------------------------------------------------


async def broken_off(world: World, action: Callable[[], Awaitable[Any]]) -> str:
    """How one attempt ended: well, or by what broke it off. A bug comes through."""
    task = asyncio.ensure_future(action())
    if world.dice.random() < 0.05:
        await asyncio.wait({task}, timeout=world.dice.random() * 0.03)
        task.cancel()
    try:
        await task
    except PositionMovedError:
        ended = "moved"
    except CollisionError:
        ended = "collision"
    except AwayError:
        ended = "away"
    except InjectedError:
        ended = "crash"
    except asyncio.CancelledError:
        if (me := asyncio.current_task()) is not None and me.cancelling():
            raise
        ended = "cancelled"
    else:
        ended = "well"
    world.happened[ended] += 1
    return ended


class Replica:
    """One process: its registry, what it believes to own, and up to where it believes to have taken it."""

    def __init__(self, number: int, world: World) -> None:
        self.number, self.world = number, world
        self.registry = Registry(table_zones())
        self.database = FragileDatabase(world)
        self.corrections = FragileDatabase(world)
        self.calm = Database(world.url, timeout_s=30)
        self.believed: dict[Key, int] = {}
        self.newest = Newest()
        self.ahead = Ahead(self.registry, LAW, self.newest, at_once=1)

    async def write(self) -> None:
        world, dice = self.world, self.world.dice
        while not world.finished(world.owner):
            mine = [key for key, owner in world.owner.items() if owner == self.number]
            if unknown := [key for key in mine if key not in self.believed]:
                self.believed |= await world.refreshed(self.calm, unknown)
            # What was lost to another is believed in until the database says otherwise: a stale owner tries to write.
            chosen = {key: at for key, at in self.believed.items() if key in mine or dice.random() < 0.5}
            lost = [key for key in chosen if key not in mine]
            batch = world.batch(chosen, dice.choice((1, 2, 4, 8)))
            if not batch.records:
                await asyncio.sleep(0.002)
                continue
            await self.store(batch)
            for key in lost:
                self.believed.pop(key, None)

    async def store(self, batch: Batch) -> None:
        world = self.world

        async def once() -> None:
            await store(
                batch, database=self.database, registry=self.registry, law=LAW, newest=self.newest, ahead=self.ahead
            )

        if world.dice.random() < 0.5:
            await self.ahead.judge(batch)
            await asyncio.sleep(world.dice.random() * world.dice.choice((0, 0.02)))
        while (ended := await broken_off(world, once)) == "collision":
            await asyncio.sleep(world.dice.random() * 0.005)
        keys = [(move.source.name, move.partition) for move in batch.moves]
        if ended != "well":  # what became of it is unknown, or it is no longer ours: the database tells
            self.believed |= await world.refreshed(self.calm, keys)
            return
        self.believed |= {(move.source.name, move.partition): move.next_offset for move in batch.moves}
        world.done |= {key: max(world.done.get(key, 0), self.believed[key]) for key in keys}
        if world.dice.random() < 0.1:  # delivered again
            with pytest.raises(PositionMovedError):
                await store(batch, database=self.calm, registry=self.registry, law=LAW, newest=self.newest)

    async def correct(self, stop: asyncio.Event) -> None:
        async def once() -> None:
            done = await correct(
                database=self.corrections, registry=self.registry, law=LAW, page=self.world.dice.randint(1, 7)
            )
            self.world.happened["pieces"] += done

        while not stop.is_set():
            await broken_off(self.world, once)
            await asyncio.sleep(self.world.dice.random() * 0.01)

    async def close(self) -> None:
        for database in (self.database, self.corrections, self.calm):
            await database.close()


async def hand_over(world: World, replicas: int) -> None:
    """Partitions change hands in the middle."""
    while not world.finished(world.owner):
        await asyncio.sleep(world.dice.random() * 0.03)
        world.owner[world.dice.choice(sorted(world.owner))] = world.dice.randrange(replicas)
        world.happened["handed over"] += 1


async def tell(world: World, keys: list[Key]) -> None:
    """The owner of registry partitions, in their order."""
    database, calm = FragileDatabase(world), Database(world.url, timeout_s=30)
    believed = await world.refreshed(calm, keys)
    while not world.finished(keys):
        chosen = {key: at for key, at in believed.items() if world.dice.random() < 0.5}
        batch = world.batch(chosen, world.dice.choice((1, 2, 5)))
        if batch.records:

            async def once(batch: Batch = batch) -> None:
                await store_states(batch, partial(told, world.about), database=database)

            await broken_off(world, once)
            believed = await world.refreshed(calm, keys)
        await asyncio.sleep(world.dice.random() * world.dice.choice((0, 0.02, 0.1)))
    await database.close()
    await calm.close()


async def tell_shuffled(world: World, states: list[State]) -> None:
    """States in any order, whatever their places."""
    database = Database(world.url, timeout_s=30)
    states = world.dice.sample(states, k=len(states))
    while states:
        count = world.dice.randint(1, 5)
        async with database.transaction() as connection:
            await add_states(connection, states[:count], world.sources)
        states = states[count:]
        await asyncio.sleep(world.dice.random() * world.dice.choice((0, 0.02, 0.1)))
    await database.close()


async def drain(url: str, dice: Random) -> None:
    """Work off what is pending, by a replica that has just come up."""
    database, registry = Database(url, timeout_s=30), Registry(table_zones())
    while True:
        async with database.transaction() as connection:
            if not await pending_corrections(connection):
                break
        await correct(database=database, registry=registry, law=LAW, page=dice.randint(1, 7))
    await database.close()


# --- what must be ----------------------------------------------------------------------------------------------------


async def table(connection: Any, name: str, columns: tuple[str, ...]) -> tuple[dict[Any, dict[str, Any]], list[str]]:
    """The rows by place; and each place that has more than one, which no oracle would miss."""
    found: dict[Any, dict[str, Any]] = {}
    twice = []
    for row in await connection.fetch(
        f"SELECT {', '.join(columns)}, source FROM {name} JOIN sources USING (source_id)"
    ):
        values = {column: in_utc(value) for column, value in row.items() if column != "source_id"}
        place = (values.pop("source"), values.pop("source_partition"), values.pop("source_offset"))
        if place in found:
            twice.append(f"{name} {place} twice")
        found[place] = values
    return found, twice


UNLIKE_LEDGER = """
WITH lines AS (
    SELECT source_id, source_partition FROM readings UNION ALL SELECT source_id, source_partition FROM rejections
    UNION ALL SELECT source_id, source_partition FROM device_states
    UNION ALL SELECT source_id, source_partition FROM patient_states)
SELECT source_id, source_partition, next_offset - first_offset - missing - repeated AS given, count(l) AS lines
FROM source_positions p LEFT JOIN lines l USING (source_id, source_partition)
GROUP BY source_id, source_partition, next_offset, first_offset, missing, repeated
HAVING next_offset - first_offset - missing - repeated <> count(l)
"""


async def unlike(
    url: str, given: History, *, shuffled: bool = False, law: Law = LAW, seen: oracle.FirstSeen = first_seen
) -> list[str]:
    """Every difference between what is stored and what must be.

    :param shuffled: states were told in no order of places, and what of them is refused was not set aside.
    """
    theirs = oracle.Law(law.blocked_statuses, law.future_limit, law.earliest, law.max_bytes, law.max_depth)
    said = oracle.store(given.records, given.registry, theirs, zone_of, offset_s, seen)
    connection = await asyncpg.connect(url)
    try:
        readings, twice = await table(connection, "readings", READING_COLUMNS)
        rejections, twice_refused = await table(connection, "rejections", REJECTION_COLUMNS)
        lines = [*twice, *twice_refused]
        # Nobody keeps a position of what is told in any order.
        if not shuffled:
            lines += [f"conservation {dict(row)}" for row in await connection.fetch(UNLIKE_LEDGER)]
    finally:
        await connection.close()
    refused = {place: line for place, line in said.rejections.items() if not (shuffled and place[0] in REGISTRY)}
    lines += differences("readings", readings, expected(said.readings))
    lines += differences("rejections", rejections, expected(refused))
    raw = {record.place: record for record in given.records}
    for place in rejections.keys() & refused.keys():
        row = rejections[place]
        if place in said.payloads:
            if row["payload"] != (said.payloads[place] or b""):
                lines.append(f"payload of {place}")
        else:
            reading = understand(raw[place].value, max_bytes=law.max_bytes, max_depth=law.max_depth)
            if not isinstance(reading, Reading) or row["payload"] != canonical_envelope(reading):
                lines.append(f"canonical payload of {place}")
        if place in raw:
            fresh = judge(
                Record(Place(*place), raw[place].received_at, raw[place].value),
                first_seen=seen(place[0]),
                registry=Registry(table_zones()),
                law=law,
            ).judgement
            detail = fresh.detail if isinstance(fresh, Rejected) else None
            if row["detail"] != detail:
                lines.append(f"detail of {place}: {row['detail']!r} should be {detail!r}")
    return lines


async def registries_unlike(replicas: list[Replica]) -> list[str]:
    """Replicas that learned bit by bit know, of whomever they know, what one knows that learns it all at once."""
    lines = []
    for replica in replicas:
        known, whose = replica.registry, ("_owners", "_devices", "_patients")
        async with replica.calm.transaction() as connection:
            await hold(connection, known, since=known.version)
        fresh = await learned(replica.calm, also=Names(*(frozenset(getattr(known, name)) for name in whose)))
        lines += [
            f"replica {replica.number} knows other {name}"
            for name in whose
            if not getattr(known, name).items() <= getattr(fresh, name).items()
        ]
    return lines


# --- a history -------------------------------------------------------------------------------------------------------

SIZES = ((200, 60), (120, 60), (60, 40), (12, 60), (5, 60))
"""Most records and most states: in an empty table there is more to miss than in a full one."""


def phases(given: History, dice: Random) -> list[History]:
    """The same history in one to three parts, each of which holds the one before: a prefix of every partition."""

    def cut(records: tuple[Any, ...], share: float) -> tuple[Any, ...]:
        by_partition: dict[Key, list[Any]] = {}
        for record in sorted({record.place: record for record in records}.values(), key=lambda record: record.place):
            by_partition.setdefault(record.place[:2], []).append(record)
        return tuple(record for part in by_partition.values() for record in part[: round(share * len(part))])

    count = dice.choice((1, 2, 2, 3))
    shares = [(dice.random() * n / count, dice.random() * n / count) for n in range(1, count)]
    grown: list[tuple[float, float]] = []
    for share in shares:
        grown.append((max(share[0], grown[-1][0]), max(share[1], grown[-1][1])) if grown else share)
    return [History(cut(given.records, raw), cut(given.registry, told)) for raw, told in grown] + [given]


def partitions_of(given: History) -> tuple[dict[Key, list[Record]], dict[Key, list[Record]]]:
    """The partitions of readings and of the registry, each in its order."""
    raw: dict[Key, list[Record]] = {}
    registry: dict[Key, list[Record]] = {}
    for r in sorted({r.place: r for r in given.records}.values(), key=lambda r: r.place):
        raw.setdefault((r.source, r.partition), []).append(Record(Place(*r.place), r.received_at, r.value))
    for r in sorted({r.place: r for r in given.registry}.values(), key=lambda r: r.place):
        received_at = None if r.from_file else r.timestamp
        registry.setdefault((r.source, r.partition), []).append(Record(Place(*r.place), received_at, r.value))
    return raw, registry


async def entered(url: str, given: History) -> dict[str, Source]:
    """The sources and partitions of a history, entered before any of it is given."""
    database = Database(url, timeout_s=30)
    raw, registry = partitions_of(given)
    sources = {}
    async with database.transaction() as connection:
        for name, partition in sorted([*raw, *registry]):
            holds = "registry" if name in REGISTRY else "readings"
            sources[name] = await open_source(connection, name, first_seen=first_seen(name), holds=holds)
            await begin_partition(connection, sources[name], partition, 0)
    await database.close()
    return sources


async def lived_through(url: str, seed: int) -> tuple[list[str], Counter[str]]:
    """Give the history of that seed to the store, by many hands; every difference from the oracle, and what happened."""
    dice = Random(seed)
    with pytest.MonkeyPatch.context() as patched:
        # In small steps whatever a replica learns, or forgets, comes between the steps of others.
        patched.setattr(ingest.learn, "_AT_ONCE", dice.choice((1, 3, 1_000)))
        patched.setattr(enrich.registry, "_MOST_NOBODIES", dice.choice((0, 2, 100_000)))
        return await _lived_through(url, seed, dice)


async def _lived_through(url: str, seed: int, dice: Random) -> tuple[list[str], Counter[str]]:
    most_records, most_states = SIZES[seed % len(SIZES)]
    whole = history(seed, most_records=most_records, most_states=most_states)
    shuffled = dice.random() < 0.5
    connection = await asyncpg.connect(url)
    name = urlsplit(url).path.removeprefix("/")
    await connection.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '20ms'")
    await connection.close()
    about = {Place(*r.place): About(r.kind) for r in whole.registry}
    world = World(
        url, await entered(url, whole), {}, about, dice, dice.choice((0, 0.05, 0.15)), dice.choice((0, 0.15, 0.5))
    )
    replicas = [Replica(number, world) for number in range(dice.choice((3, 4)))]
    for replica in replicas:
        await begin(replica.calm, replica.registry)
        await replica.calm.close()
    lines: list[str] = []
    states_told: set[Place] = set()
    try:
        for number, given in enumerate(phases(whole, dice)):
            raw, registry = partitions_of(given)
            world.partitions = raw | registry
            world.owner = {key: world.owner.get(key, dice.randrange(len(replicas))) for key in raw}
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as correctors:
                for replica in replicas[: dice.choice((0, 1, 2))]:
                    correctors.create_task(replica.correct(stop))
                try:
                    async with asyncio.TaskGroup() as tasks:
                        for replica in replicas:
                            tasks.create_task(replica.write())
                        tasks.create_task(hand_over(world, len(replicas)))
                        if shuffled:
                            new = [r for part in registry.values() for r in part if r.place not in states_told]
                            states_told |= {r.place for r in new}
                            states = [s for s in (told(about, r) for r in new) if isinstance(s, State)]
                            tasks.create_task(tell_shuffled(world, states))
                        else:
                            keys = sorted(registry)
                            for half in (keys[::2], keys[1::2]):
                                tasks.create_task(tell(world, half))
                finally:
                    stop.set()
            await drain(url, dice)
            lines = [f"phase {number + 1}: {line}" for line in await unlike(url, given, shuffled=shuffled)]
            lines += [f"phase {number + 1}: {line}" for line in await registries_unlike(replicas)]
            if lines:
                break
    finally:
        for replica in replicas:
            await replica.close()
    return lines, world.happened


@pytest.mark.parametrize("seed", range(FIRST, FIRST + HISTORIES))
async def test_many_hands_store_what_the_oracle_says(migrated: str, seed: int) -> None:
    """Nothing lost, nothing twice, every column right, whoever wrote, died or came too late. The seed names the dice."""
    lines, happened = await lived_through(migrated, seed)
    print(f"history {seed}: {dict(happened)}")
    assert not lines, "\n".join([f"history {seed}", *lines])
