"""From the broker to the database: `readings consume` beside a bare loop, with re-sends, and by several processes.

All is published before anybody starts, and the registry loaded. Each run of the consumer stands beside one of the bare
loop (bare_loop.py) over the same records, and a bare COPY: of the very rows that the consumer stored, in the same batches
and order, into the same tables with their indexes; at the consumer's pace, and once more without a pause, which is
cheaper: a server that has waited for its next batch finds its caches cold.
"""

import asyncio
import io
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict

import asyncpg

from tests.bench.bare_loop import BATCH, bare_loop, without_unique_keys
from tests.bench.found import Found, Row, Target, medians, ratio
from tests.bench.machine import processor_s, spent
from tests.bench.parts import TIMEOUT_S, Parts
from tests.bench.passage import Passage, consumed, passage
from tests.bench.registry_tables import load_registry
from tests.bench.run import Asked, interleaved, progress, run
from tests.bench.traffic import Fleet

RESENT = (0.0, 0.01, 0.3)
CONSUMERS = (1, 2, 3)
PARTITIONS = 6
USUAL = 0.01
"""The share of re-sends with which several processes are measured, and which the target of speed is for."""
_PACED, _BURST = "bare COPY us", "without a pause us"
_STORED = """
CREATE TEMPORARY TABLE stored AS
SELECT *, (row_number() OVER (ORDER BY received_at, source_partition, source_offset) - 1) / {batch} AS batch FROM {table}
"""


async def measured(parts: Parts, asked: Asked) -> Found:
    fleet = Fleet(asked.devices)
    cases = [(resent, 1) for resent in RESENT] + [(USUAL, consumers) for consumers in CONSUMERS[1:]]
    rows: dict[tuple[float, str], list[Row]] = {}
    copies: dict[float, list[Row]] = {}
    async with AsyncExitStack() as published:
        topics = {
            resent: await published.enter_async_context(
                parts.published(fleet.readings(asked.readings, resent=resent), partitions=PARTITIONS)
            )
            for resent in RESENT
        }
        for resent, consumers in interleaved(asked.runs, cases):
            progress(f"{resent:.0%} sent again, {consumers} consumers")
            async with parts.database() as url:
                await load_registry(url, fleet)
                found = await consumed(parts, url, topics[resent], count=asked.readings, consumers=consumers)
                rows.setdefault((resent, f"{consumers} x readings consume"), []).append(_row(found))
                if consumers == 1:
                    copies.setdefault(resent, []).append(await _bare_copies(parts, url, asked.readings, found.per_s))
            if consumers == 1:
                async with parts.database() as url:
                    await without_unique_keys(url)
                    loop = bare_loop(parts, url, topics[resent])
                    bare = await passage(parts, url, topics[resent], [loop], count=asked.readings)
                    rows.setdefault((resent, "bare loop"), []).append(_row(bare))
    return _compared(
        {case: medians(found) for case, found in rows.items()},
        {resent: medians(found) for resent, found in copies.items()},
    )


async def _bare_copies(parts: Parts, url: str, count: int, per_s: float) -> Row:
    """The database's µs a record for nothing but a COPY of what stands in `url`, a transaction each batch."""
    if parts.database_pid is None:
        return {_PACED: None, _BURST: None}
    packed, sources = [], await _fetched(url, "SELECT source_id, source, first_seen, holds FROM sources")
    for table, order in (("readings", "subject, reading_type, reading_timestamp"), ("rejections", "source_offset")):
        packed += [(table, *one) for one in await _packed(url, table, order)]
    return {
        _PACED: await _bare_copy(parts, parts.database_pid, packed, sources, count, each_s=BATCH / per_s),
        _BURST: await _bare_copy(parts, parts.database_pid, packed, sources, count, each_s=0),
    }


async def _bare_copy(
    parts: Parts,
    pid: int,
    packed: Sequence[tuple[str, list[str], bytes]],
    sources: Sequence[asyncpg.Record],
    count: int,
    *,
    each_s: float,
) -> float | None:
    """A batch of readings no sooner than `each_s` after the one before it was begun; the few rejections at the end."""
    async with parts.database() as empty:
        connection = await asyncpg.connect(empty, command_timeout=TIMEOUT_S)
        try:
            await connection.executemany("INSERT INTO sources OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4)", sources)
            await connection.execute("CHECKPOINT")
            before, due = processor_s(pid), time.monotonic()
            for table, columns, rows in packed:
                await asyncio.sleep(due - time.monotonic())
                due += each_s if table == "readings" else 0
                await connection.copy_to_table(table, source=io.BytesIO(rows), columns=columns, format="binary")
            took = spent(processor_s(pid), before)
        finally:
            await connection.close()
    return None if took is None else round(took * 1e6 / count, 2)


async def _packed(url: str, table: str, order: str) -> list[tuple[list[str], bytes]]:
    """The rows of a table in batches, each as COPY's binary format has them."""
    connection = await asyncpg.connect(url, command_timeout=TIMEOUT_S)
    try:
        columns = [
            row["attname"]
            for row in await connection.fetch(
                "SELECT attname::text FROM pg_attribute"
                " WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
                " ORDER BY attnum",
                table,
            )
        ]
        await connection.execute(_STORED.format(table=table, batch=BATCH))
        await connection.execute("CREATE INDEX ON stored (batch)")
        batches = []
        for batch in range(await connection.fetchval("SELECT coalesce(max(batch), -1) + 1 FROM stored")):
            rows = io.BytesIO()
            query = f"SELECT {', '.join(columns)} FROM stored WHERE batch = {batch} ORDER BY {order}"
            await connection.copy_from_query(query, output=rows, format="binary")
            batches.append((columns, rows.getvalue()))
    finally:
        await connection.close()
    return batches


def _row(found: Passage) -> Row:
    told = asdict(found)
    return {name: told[name] for name in ("per_s", "process_us", "database_us", "broker_us", "peak_rss_mb", "start_s")}


def _compared(rows: dict[tuple[float, str], Row], copies: dict[float, Row]) -> Found:
    passages = [{"": who, "sent again": f"{resent:.0%}", **row} for (resent, who), row in rows.items()]
    ours = {resent: rows[resent, "1 x readings consume"] for resent in RESENT}
    bare = {resent: rows[resent, "bare loop"] for resent in RESENT}
    ratios = [
        {
            "sent again": f"{resent:.0%}",
            "consumer us": ours[resent]["process_us"],
            "bare loop us": bare[resent]["process_us"],
            "consumer / bare loop": ratio(ours[resent]["process_us"], bare[resent]["process_us"]),
            "database us": ours[resent]["database_us"],
            **copies[resent],
            "database / bare COPY": ratio(ours[resent]["database_us"], copies[resent][_PACED]),
        }
        for resent in RESENT
    ]
    speed = Target(f"readings/s of one consumer, {USUAL:.0%} sent again", ours[USUAL]["per_s"], 100_000, at_most=False)
    held_to = [
        ("consumer's processor time / bare loop's", "consumer / bare loop", 1.3),
        ("database's processor time / bare COPY's at that pace", "database / bare COPY", 1.3),
        ("consumer's processor time a reading, µs", "consumer us", 9),
    ]
    targets = [
        Target(f"{words}, {row['sent again']} sent again", row[figure], limit)
        for resent, row in zip(RESENT, ratios, strict=True)
        for words, figure, limit in held_to
        if resent <= USUAL and row[figure] is not None
    ]
    return Found(
        {"readings/s, and processor time in µs a reading": passages, "beside the bare loop": ratios}, [speed, *targets]
    )


async def _fetched(url: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


if __name__ == "__main__":
    sys.exit(run("end_to_end", __doc__, measured))
