"""What a reading costs as the table grows: into an empty one, and again whenever it is five times larger.

The readings that stand are put there by SQL, for the same devices, in the order of time and before all that is measured;
`--rows` says how many there are at last: those of a year, however many, so that TimescaleDB has the chunks of one. Takes long.
"""

import sys
from datetime import timedelta

import asyncpg

from tests.bench.found import Found, Row, Target, medians, ratio
from tests.bench.parts import TIMEOUT_S, Parts
from tests.bench.passage import consumed
from tests.bench.registry_tables import load_registry
from tests.bench.run import Asked, progress, run
from tests.bench.traffic import FIRST_RECEIVED, Fleet

FLAT = 1.2
"""The cost of a reading into the largest table beside that into the empty one."""
_AT_ONCE = 1_000_000
_FILL = """
INSERT INTO readings (subject, reading_timestamp, received_at, device_id, source_offset, source_id, source_partition,
    reading_type, heart_rate_bpm, systolic_mmhg, diastolic_mmhg, manual)
SELECT n % $1::bigint + 1, $2::timestamptz + n * $3::interval, $2::timestamptz + n * $3::interval, n % $1::bigint + 1, n, $4, 0, 'bloodPressure', 52 + n % 44, 104 + n % 64, 62 + n % 37,
    false
FROM generate_series($5::bigint, $6::bigint - 1) AS n
"""


async def measured(parts: Parts, asked: Asked) -> Found:
    fleet, rows = Fleet(asked.devices), list[Row]()
    async with parts.database() as url:
        await load_registry(url, fleet)
        for standing in (0, *sorted({asked.rows // 5**power for power in range(3)} - {0})):
            progress(f"{standing:,} rows")
            await _fill(url, fleet, standing, asked.rows)
            runs = [await _passed(parts, url, fleet, asked.readings) for _ in range(asked.runs)]
            rows.append({"rows": standing, **medians(runs), **await _sizes(url)})
    targets = []
    for figure, whose in (("process_us", "consumer"), ("database_us", "database")):
        if (grown := ratio(rows[-1][figure], rows[0][figure])) is not None:
            targets.append(Target(f"{whose}'s processor time a reading, {rows[-1]['rows']:,} rows / none", grown, FLAT))
    return Found({"by size of the table": rows}, targets)


async def _passed(parts: Parts, url: str, fleet: Fleet, count: int) -> Row:
    """What so many readings cost; they are gone again after it."""
    await _settle(url)
    async with parts.published(fleet.readings(count), partitions=4) as topic:
        found = await consumed(parts, url, topic, count=count)
    await _forget(url, topic)
    return {"per_s": found.per_s, "process_us": found.process_us, "database_us": found.database_us}


async def _fill(url: str, fleet: Fleet, upto: int, last: int) -> None:
    """So many of the `last` readings that end a day before those of the fleet."""
    connection = await asyncpg.connect(url, command_timeout=TIMEOUT_S)
    gap = timedelta(days=365) / last
    began = FIRST_RECEIVED - timedelta(days=367)
    try:
        source = await connection.fetchval(
            "INSERT INTO sources (source, holds) VALUES ('archive:filled', 'readings') ON CONFLICT (source)"
            " DO UPDATE SET holds = excluded.holds RETURNING source_id"
        )
        first = await connection.fetchval(
            "SELECT coalesce(max(source_offset) + 1, 0) FROM readings WHERE source_id = $1", source
        )
        for since in range(first, upto, _AT_ONCE):
            until = min(since + _AT_ONCE, upto)
            await connection.execute(_FILL, fleet.devices, began, gap, source, since, until)
    finally:
        await connection.close()


async def _sizes(url: str) -> Row:
    """With all chunks, where there are any."""
    connection = await asyncpg.connect(url)
    try:
        table, indexes = await connection.fetchrow(
            "WITH part AS (SELECT 'readings'::regclass AS oid UNION SELECT inhrelid FROM pg_inherits"
            " WHERE inhparent = 'readings'::regclass)"
            " SELECT sum(pg_table_size(part.oid)), sum(pg_indexes_size(part.oid)) FROM part"
        )
    finally:
        await connection.close()
    return {"table_mb": round(table / 2**20), "indexes_mb": round(indexes / 2**20)}


async def _settle(url: str) -> None:
    """What was filled in, or taken out again, costs the ones that are measured nothing."""
    connection = await asyncpg.connect(url, command_timeout=TIMEOUT_S)
    try:
        await connection.execute("VACUUM ANALYZE readings")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _forget(url: str, topic: str) -> None:
    """Take the measured ones out again: the next ones are the same."""
    connection = await asyncpg.connect(url, command_timeout=TIMEOUT_S)
    measured_ones = "source_id = (SELECT source_id FROM sources WHERE source = $1)"
    try:
        await connection.execute(
            f"DELETE FROM readings WHERE reading_timestamp > $2 AND {measured_ones}",
            f"kafka:{topic}",
            FIRST_RECEIVED - timedelta(days=2),
        )
        await connection.execute(f"DELETE FROM rejections WHERE {measured_ones}", f"kafka:{topic}")
    finally:
        await connection.close()


if __name__ == "__main__":
    sys.exit(run("growth", __doc__, measured))
