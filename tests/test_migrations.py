"""The schema as it grows: nothing is lost on the way, twice is once, and two at once take turns."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from ingest.cli.app import ANOTHER_LAW
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from sinks.database import Database
from sinks.errors import OperatorError
from sinks.hypertable import check_timescale
from sinks.migrate import check_schema, migrate, migrations
from tests.archives import run
from tests.conftest import ON_TIMESCALE, empty, fresh_database

ROWS = {
    "sources": "INSERT INTO sources (source, holds) VALUES ('kafka:a', 'readings'), ('kafka:b', 'registry')",
    "source_positions": "INSERT INTO source_positions (source_id, source_partition, first_offset, next_offset, missing)"
    " VALUES (1, 0, 0, 4, 1), (2, 0, 0, 2, 0)",
    "source_gaps": "INSERT INTO source_gaps VALUES (1, 0, 3, 4, 'skipped')",
    "law_parameters": "INSERT INTO law_parameters VALUES ('blocked_statuses', 'decommissioned')",
    "device_states": "INSERT INTO device_states VALUES"
    " (2, 0, 0, 1, '{\"patientId\": 7}', '2025-01-01Z', '2025-01-01Z', true, '2025-01-01Z', 1)",
    "patient_states": "INSERT INTO patient_states VALUES"
    " (2, 0, 1, 7, '{\"zipCode\": \"19137\"}', '2025-01-01Z', '2025-01-01Z', true, '2025-01-01Z', 1)",
    "device_identifiers": "INSERT INTO device_identifiers VALUES"
    " ('ABC', 1, '2025-01-01Z', '2025-01-01Z', 'kafka:b', 0, 0, 1)",
    "readings": "INSERT INTO readings (subject, reading_timestamp, device_id, patient_id, source_offset, source_id,"
    " source_partition, reading_type, manual, heart_rate_bpm) VALUES"
    " (1, '2025-03-09T12:00Z', 1, 7, 0, 1, 0, 'heartRate', false, 60),"
    " (-7, '2026-03-09T12:00Z', NULL, 7, 1, 1, 0, 'heartRate', true, 61)",
    "rejections": "INSERT INTO rejections (source_id, source_partition, source_offset, reason, payload)"
    " VALUES (1, 0, 2, 'malformed', 'x')",
    "corrections_pending": "INSERT INTO corrections_pending (about, registry_version) VALUES ('all_readings', 1)",
    "unregistered_mentions": "INSERT INTO unregistered_mentions VALUES (1, 'ABC', NULL)",
    "api_keys": "INSERT INTO api_keys (customer_id, name, key_sha256, expires_at) VALUES (1, 'a', 'x', '2030-01-01Z')",
    "webhook_receipts": "INSERT INTO webhook_receipts VALUES ('x', '2025-01-01Z')",
    "customer_roles": "INSERT INTO customer_roles VALUES ('somebody', 1)",
}
"""Something in every table, put in as soon as it is made."""
FILLED_BY_MIGRATIONS = {"registry_version", "schema_migrations"}


@pytest.fixture(params=["postgres", pytest.param("timescale", marks=ON_TIMESCALE)])
async def url(request: pytest.FixtureRequest, postgres_server: EmbeddedPostgres) -> Any:
    """The URL of an empty database, of one engine and of the other."""
    if request.param == "postgres":
        async with fresh_database(postgres_server) as fresh:
            yield fresh
        return
    timescale = request.getfixturevalue("timescale")
    await empty(timescale)
    yield timescale.url


async def contents(connection: asyncpg.Connection) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, by column."""
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    found = {}
    for (table,) in tables:
        rows = await connection.fetch(f"SELECT to_jsonb(t) FROM {table} t ORDER BY to_jsonb(t)::text")
        found[table] = [json.loads(row[0]) for row in rows]
    return found


async def test_every_migration_keeps_every_row_that_was_there_before_it(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE schema_migrations (number integer)")
        before: dict[str, list[dict[str, Any]]] = {}
        for migration in migrations():
            async with connection.transaction():
                await connection.execute(migration.sql)
            after = await contents(connection)
            for table, rows in before.items():
                kept = [{name: row[name] for name in old} for row, old in zip(after[table], rows, strict=True)]
                assert kept == rows, f"{migration.name} has changed {table}"
            made = after.keys() - before.keys() - FILLED_BY_MIGRATIONS
            assert made <= ROWS.keys(), "a new table needs its rows here"
            for table in [table for table in ROWS if table in made]:
                await connection.execute(ROWS[table])
            before = await contents(connection)
    finally:
        await connection.close()
    assert all(before[table] for table in ROWS)


async def test_migrating_twice_changes_nothing(url: str) -> None:
    database = Database(url, timeout_s=30)
    try:
        assert await migrate(database) == [migration.name for migration in migrations()]
        assert await migrate(database) == []
        await check_schema(database)
    finally:
        await database.close()


async def test_two_at_once_take_turns(database: str) -> None:
    """One of them does it all and the other finds it done."""
    both = [Database(database, timeout_s=30, application_name=f"migrate {n}") for n in range(2)]
    try:
        done = await asyncio.gather(*(migrate(one) for one in both))
    finally:
        await asyncio.gather(*(one.close() for one in both))
    assert sorted(done) == [[], [migration.name for migration in migrations()]]


# --- which TimescaleDB ------------------------------------------------------------------------------------------------


async def as_if(url: str, version: str) -> Database:
    """The extension says that it is of this version; it is not there at all, as one that is bears its name."""
    database = Database(url, timeout_s=30)
    await database.fetch(
        "UPDATE pg_extension SET extname = 'timescaledb', extversion = $1 WHERE extname = 'plpgsql'", version
    )
    return database


@pytest.mark.parametrize("version", ["1.7.5", "2.9.3", "2.22.1", "2.22.0-dev"])
async def test_a_timescaledb_that_is_too_old_is_refused_before_anything_is_done(database: str, version: str) -> None:
    old = await as_if(database, version)
    try:
        with pytest.raises(OperatorError, match=rf"^TimescaleDB {version} is too old: 2\.23 or newer is needed"):
            await migrate(old)
        with pytest.raises(OperatorError, match="is too old"):
            await check_schema(old)
        assert await old.fetch("SELECT FROM pg_tables WHERE schemaname = 'public'") == []
    finally:
        await old.close()


@pytest.mark.parametrize("version", ["2.23.0", "2.23.0-dev", "2.100.0", "3.0.0-rc1"])
async def test_a_timescaledb_that_is_new_enough_is_taken(database: str, version: str) -> None:
    new = await as_if(database, version)
    try:
        assert await check_timescale(await new.connection())
    finally:
        await new.close()


async def test_a_timescaledb_without_what_its_licence_adds_is_refused(database: str) -> None:
    free = await as_if(database, "2.28.3")
    try:
        await free.fetch("SELECT set_config('timescaledb.license', 'apache', false)")
        with pytest.raises(OperatorError, match="license = apache, which has neither columnstore nor continuous"):
            await migrate(free)
    finally:
        await free.close()


async def test_another_law_is_adopted_and_what_it_asks_of_the_operator_is_told(database: str) -> None:
    """A new database has nothing to judge again, and nobody who has to start anything again."""
    code, out, _ = await run(database, "migrate")
    assert (code, out.count("law parameter adopted"), ANOTHER_LAW[0] in out) == (0, 8, False)
    code, out, _ = await run(database, "migrate", FUTURE_LIMIT_H=48)
    assert (code, out.splitlines()) == (0, ["law parameter adopted: future_limit_s: 86400 -> 172800", *ANOTHER_LAW])
