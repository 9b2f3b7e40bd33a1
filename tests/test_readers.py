"""Whoever reads, and forgets to end the transaction, keeps nobody from writing."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import asyncpg
import pytest

from ingest.retention import retain
from ingest.settings import Settings
from tests.build import at
from tests.fill import DEVICES, fill
from tests.practice import given, opened, pressure, told
from tests.test_retention import holds

WITHIN_S = 10.0
"""The database's own time-outs are three times as long: what waits for a lock does not come in time."""


@pytest.fixture
async def idle_reader(migrated: str) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that has read every view and table, and is left open."""
    await opened(migrated)
    connection = await asyncpg.connect(migrated)
    transaction = connection.transaction(isolation="repeatable_read")
    await transaction.start()
    names = await connection.fetch(
        "SELECT format('%I.%I', schemaname, viewname) FROM pg_views WHERE schemaname IN ('public', 'customer')"
        " UNION SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'"
    )
    for (name,) in names:
        await connection.fetch(f"SELECT * FROM {name}")
    yield connection
    await transaction.rollback()
    await connection.close()


async def test_an_idle_reader_delays_neither_readings_nor_corrections_nor_retention(
    migrated: str, idle_reader: asyncpg.Connection
) -> None:
    seen = await idle_reader.fetchval("SELECT count(*) FROM readings")
    began = monotonic()
    async with asyncio.timeout(WITHIN_S):
        late = [pressure("2025-03-09T04:30", 121, 80), pressure("2025-04-09T04:30", 121, 80)]
        await fill(migrated, [], given(late, partition=1))
        gone = told(DEVICES, [("2025-03-10T00:00", {"deviceId": 1, "currentStatus": "decommissioned"})], partition=1)
        await fill(migrated, gone, [])
        settings = Settings(database_url=migrated)
        await retain(settings, at("2025-03-12T00:00"), dry_run=False, tell=lambda *_: None)
    assert monotonic() - began < WITHIN_S
    assert await idle_reader.fetchval("SELECT count(*) FROM readings") == seen == 41
    await holds(migrated)
