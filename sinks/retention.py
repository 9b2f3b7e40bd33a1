"""What is older than asked is dropped, and counted in the transaction that drops it: the ledger goes on adding up.

Whatever rule 9 has set aside under a key goes before the reading that stands there, or together with it: nothing
outlives a reading and takes its place. While a page is dropped nobody else writes: not a batch, which would judge by a
reading that is about to go, nor a correction.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import asyncpg

from schemas.wire import EARLIEST_INSTANT
from sinks.database import Connection, Database
from sinks.errors import AwayError, CollisionError
from sinks.hypertable import check_timescale
from sinks.registry import have_registry_alone
from sinks.statements import sql
from sinks.tally import SCAN_TIMEOUT_S

PAGE: Final = 10_000
"""Most rows that one transaction deletes; a chunk of TimescaleDB goes as a whole, whatever it holds."""
_WRITERS_TIMEOUT: Final = "500ms"
"""How long others wait with us for whoever is writing; less than a deadlock takes to be noticed."""
_READERS_TIMEOUT: Final = "2s"
"""How long writers may have to wait with us for somebody who reads a chunk that is to go."""

Counts = Counter[tuple[int, int]]
"""Rows by source and partition."""
Marker = Any
"""How far a table is gone through; None at its beginning, and at its end."""


class Chunk(NamedTuple):
    """A span of time of TimescaleDB's."""

    table: str
    begins: datetime
    ends: datetime


class Old(NamedTuple):
    """Rows that are due, or were dropped."""

    readings: Counts
    rejections: Counts


async def chunks_before(connection: Connection, before: datetime) -> list[Chunk] | None:
    """The chunks that lie before a moment as a whole, the oldest first; None where readings lie in no chunks."""
    if not await check_timescale(connection) or not await connection.fetch(sql("storage_standing")):
        return None
    return [Chunk(*row) for row in await connection.fetch(sql("chunks_before"), before)]


async def count_due(connection: Connection, before: datetime, chunks: Sequence[Chunk] | None) -> Old:
    """How much is older than asked."""
    ends = before if chunks is None else max((chunk.ends for chunk in chunks), default=EARLIEST_INSTANT)
    readings = await connection.fetch(sql("readings_due_counted"), ends, timeout=SCAN_TIMEOUT_S)
    rejections = await connection.fetch(sql("rejections_due_counted"), before, timeout=SCAN_TIMEOUT_S)
    return Old(_counted(readings), _counted(rejections))


async def drop_rejections(database: Database, before: datetime, after: Marker) -> tuple[Old, Marker]:
    """Drop the next page of what was refused, from behind `after`; how much that was, and where it ended.

    :raises SinkError: as `sinks.errors` tells; nothing of the page is dropped then.
    """
    begins = after or (-1, -1, -1)
    ends = await _fetch(database, "rejections_due_page", before, *begins, PAGE)
    if not ends:
        return Old(Counter(), Counter()), None
    async with database.transaction() as connection:
        await _keep_writers_out(connection)
        gone = _counted(await connection.fetch(sql("rejections_due_dropped"), before, *begins, *ends[0]))
        await _count_expired(connection, gone)
    return Old(Counter(), gone), tuple(ends[0])


async def drop_readings(database: Database, before: datetime, after: Marker) -> tuple[Old, Marker]:
    """Drop the next page of readings, from behind `after` as they lie in the table; as above."""
    rows = await _fetch(database, "readings_due_page", before, after or (0, 0), PAGE)
    if not rows:
        return Old(Counter(), Counter()), None
    places = [row["place"] for row in rows]
    async with database.transaction() as connection:
        await _keep_writers_out(connection)
        gone = _told_apart(await connection.fetch(sql("readings_due_dropped"), before, places))
        await _count_expired(connection, gone.readings + gone.rejections)
    return gone, max(places)


async def drop_chunk(database: Database, chunk: Chunk) -> Old:
    """Drop a chunk of readings; how much that was.

    :raises AwayError: when somebody reads it; writers are not kept waiting for that.
    """
    async with database.transaction() as connection:
        await _keep_writers_out(connection)
        await connection.execute(f"SET LOCAL lock_timeout = '{_READERS_TIMEOUT}'")
        try:
            await connection.execute(f"LOCK TABLE {chunk.table} IN ACCESS EXCLUSIVE MODE")
        except asyncpg.LockNotAvailableError:
            raise AwayError(f"readings from {chunk.begins:%Y-%m-%d} on are being read by another session") from None
        rows = await connection.fetch(sql("chunk_emptied"), chunk.begins, chunk.ends, timeout=SCAN_TIMEOUT_S)
        gone = _told_apart(rows)
        await _count_expired(connection, gone.readings + gone.rejections)
        await connection.execute("SELECT drop_chunks('readings', older_than => $1::timestamptz)", chunk.ends)
    return gone


async def forget_summaries(connection: Connection, before: datetime) -> None:
    """Let the summaries of TimescaleDB follow at once; not inside a transaction, as it commits by itself."""
    until = (before + timedelta(hours=1)).isoformat()
    await connection.execute(
        f"CALL refresh_continuous_aggregate('hourly_summaries_utc', NULL, '{until}'::timestamptz)",
        timeout=SCAN_TIMEOUT_S,
    )


async def _keep_writers_out(connection: Connection) -> None:
    """Until this transaction ends.

    :raises CollisionError: when it takes long: batches have the position before the registry, as here, and who changes
        a device over HTTP has it the other way round.
    """
    await connection.execute(f"SET LOCAL lock_timeout = '{_WRITERS_TIMEOUT}'")
    try:
        await connection.execute("LOCK TABLE source_positions IN EXCLUSIVE MODE")
        await have_registry_alone(connection)
    except asyncpg.LockNotAvailableError:
        raise CollisionError("others keep writing") from None


async def _count_expired(connection: Connection, gone: Counts) -> None:
    rows = [(*partition, number) for partition, number in sorted(gone.items())]
    if rows:
        status = await connection.execute(sql("count_expired"), *map(list, zip(*rows, strict=True)))
        assert status == f"UPDATE {len(rows)}", "every row comes of a partition that has a position"


async def _fetch(database: Database, statement: str, *arguments: Any) -> list[asyncpg.Record]:
    async with database.transaction(readonly=True) as connection:
        # Else the index on time is gone through once more for every page.
        await connection.execute("SET LOCAL enable_bitmapscan = off")
        return await connection.fetch(sql(statement), *arguments, timeout=SCAN_TIMEOUT_S)


def _told_apart(rows: Sequence[asyncpg.Record]) -> Old:
    return Old(
        _counted(row for row in rows if row["was_reading"]), _counted(row for row in rows if not row["was_reading"])
    )


def _counted(rows: Iterable[asyncpg.Record]) -> Counts:
    return Counter({(row["source_id"], row["source_partition"]): row["number"] for row in rows})
