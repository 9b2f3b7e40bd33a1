"""Numbered, append-only migrations, each applied once, in order, in a transaction of its own.

A runner of our own, because those that are well kept bring a second driver and a second connection: this one needs
the one connection that the service has, which is also all that TimescaleDB's WASM build offers.
"""

from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from sinks.database import Connection, Database
from sinks.errors import OperatorError, SchemaError, translated
from sinks.hypertable import check_timescale

_LOCK = 7_205_759_403_792_793  # pg_advisory_lock: two `readings migrate` at once take turns

_MIGRATION_TIMEOUT_S = 86_400.0  # a migration rewrites what there is: the time-out of a statement is not for it

_CREATE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class Migration(NamedTuple):
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All migrations of this version, in order."""
    found = [entry for entry in files("sinks").joinpath("migrations").iterdir() if entry.name.endswith(".sql")]
    return sorted(
        Migration(int(entry.name.split("_")[0]), entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8"))
        for entry in found
    )


async def migrate(database: Database) -> list[str]:
    """Bring the schema up to this version; the names of what was applied, none when it was there already.

    :raises OperatorError: when the database holds migrations that this version does not know, or others by that name,
        or runs a TimescaleDB that does not do.
    """
    applied = []
    connection = await database.connection()
    with translated():
        await check_timescale(connection)
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        try:
            await connection.execute(_CREATE)
            for migration in await _missing(connection):
                async with connection.transaction():
                    await connection.execute(migration.sql, timeout=_MIGRATION_TIMEOUT_S)
                    await connection.execute(
                        "INSERT INTO schema_migrations (number, name, sha256) VALUES ($1, $2, $3)",
                        migration.number,
                        migration.name,
                        migration.sha256,
                    )
                applied.append(migration.name)
        finally:
            if not connection.is_closed():
                await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    return applied


async def check_schema(database: Database) -> None:
    """Nothing, if the schema is that of this version.

    :raises SchemaError: if it is missing or older; :raises OperatorError: if it is newer or other, or TimescaleDB is
        one that does not do.
    """
    connection = await database.connection()
    with translated():
        await check_timescale(connection)
        if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
            raise SchemaError("the database has no schema yet; run: readings migrate")
        missing = await _missing(connection)
    if missing:
        raise SchemaError(f"the schema lacks {missing[0].name}; run: readings migrate")


async def _missing(connection: Connection) -> list[Migration]:
    ours = {migration.number: migration for migration in migrations()}
    for row in await connection.fetch("SELECT number, name, sha256 FROM schema_migrations ORDER BY number"):
        known = ours.pop(row["number"], None)
        if known is None:
            raise OperatorError(f"the schema is newer than this version: it has {row['name']}; upgrade device-readings")
        if known.sha256 != row["sha256"]:
            raise OperatorError(f"migration {row['name']} was applied with another content; restore the released file")
    return list(ours.values())
