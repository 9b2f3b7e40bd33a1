"""What each step of a batch costs in this process, beside the least that the same step could be.

Processor time, µs a reading, of batches of 10,000 that are kept whole, as a consumer keeps them: decode is `understand`
beside pydantic_core.from_json; judge is rules 4 to 8; encode is rows and COPY of what was judged, beside COPY of ready
rows; store is the whole of a batch, transaction and all, beside decoding, making rows and COPY (see bare_loop.py).
"""

import gc
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from pydantic_core import from_json

from enrich.judge import judge
from enrich.law import Law
from enrich.registry import Registry
from ingest.batch import Batch
from ingest.garbage import keep_what_is_here
from ingest.newest import Newest
from ingest.store import store
from schemas.envelope import understand
from schemas.judgement import Accepted, Entry, Judgement, told_apart
from schemas.record import Place, Record
from sinks.database import Database
from sinks.ledger import Move, Source, begin_partition, open_source
from sinks.readings import insert_readings
from sinks.rows import READING_COLUMNS
from tests.bench.bare_loop import BATCH, bare_rows, without_unique_keys
from tests.bench.found import Found, Row, medians, ratio
from tests.bench.machine import processor_s, spent
from tests.bench.parts import TIMEOUT_S, Parts
from tests.bench.registry_tables import load_registry
from tests.bench.run import Asked, progress, run
from tests.bench.traffic import Fleet, Message
from tests.knowing import learned

LAW = Law()
SOURCE = "kafka:readings.raw"


async def measured(parts: Parts, asked: Asked) -> Found:
    fleet = Fleet(asked.devices)
    messages = list(fleet.readings(asked.readings))
    records = [record_of(message, offset) for offset, message in enumerate(messages)]
    runs, thresholds = [], gc.get_threshold()
    try:
        for number in range(asked.runs):
            progress(f"run {number + 1}")
            runs.append(await _one(parts, fleet, messages, records))
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
    ours = medians(runs)
    judging = ours["judged"] - ours["decode"]
    rest = ours["store"] - ours["judged"] - ours["encode"]

    def line(stage: str, us: float, bare: float | None = None) -> Row:
        return {"stage": stage, "us": round(us, 2), "bare us": bare and round(bare, 2), "ratio": ratio(us, bare)}

    found = Found({
        "processor time of one process, µs a reading": [
            line("decode", ours["decode"], ours["bare decode"]),
            line("judge", judging),
            line("encode", ours["encode"], ours["bare encode"]),
            line("rest of the transaction", rest),
            line("store: all of it", ours["store"], ours["bare store"]),
        ],
    })  # fmt: skip
    if parts.database_pid is not None:
        found.tables["processor time of the database, µs a reading"] = [
            line(stage, ours[f"{stage} in database"], ours[f"bare {stage} in database"])
            for stage in ("encode", "store")
        ]
    return found


async def _one(parts: Parts, fleet: Fleet, messages: Sequence[Message], records: Sequence[Record]) -> Row:
    found: Row = {}
    batches = [records[first : first + BATCH] for first in range(0, len(records), BATCH)]
    given = [messages[first : first + BATCH] for first in range(0, len(messages), BATCH)]

    def begin() -> float:
        keep_what_is_here()  # as a consumer does, and not what this benchmark holds beside it
        return time.process_time()

    def timed(name: str, step: Callable[[Sequence[Any]], object], batches: Sequence[Sequence[Any]]) -> None:
        began = begin()
        for batch in batches:
            step(batch)
        found[name] = (time.process_time() - began) * 1e6 / len(records)

    async def stored(name: str, step: Callable[[Any], Awaitable[object]], batches: Sequence[Any]) -> None:
        server, began = processor_s(parts.database_pid), begin()
        for batch in batches:
            await step(batch)
        found[name] = (time.process_time() - began) * 1e6 / len(records)
        in_database = spent(processor_s(parts.database_pid), server)
        found[f"{name} in database"] = None if in_database is None else in_database * 1e6 / len(records)

    async with parts.database() as url:
        await load_registry(url, fleet)
        database = Database(url, timeout_s=TIMEOUT_S)
        try:
            registry = await learned(database)
            async with database.transaction() as connection:
                source = await open_source(connection, SOURCE, first_seen=datetime.now(UTC))
                await begin_partition(connection, source, 0, 0)

            timed("bare decode", lambda batch: [_decoded(record.value) for record in batch], batches)
            timed("decode", lambda batch: [_understood(record) for record in batch], batches)
            timed("judged", lambda batch: [_judged(record, source, registry) for record in batch], batches)

            sources = {SOURCE: source}
            entries = [told_apart([_judged(record, source, registry) for record in batch])[0] for batch in batches]

            async def encode(batch: Sequence[Entry[Accepted]]) -> None:
                async with database.transaction() as connection:
                    await insert_readings(connection, batch, sources)

            await stored("encode", encode, entries)
            columns = ", ".join(READING_COLUMNS)
            order = "subject, reading_type, reading_timestamp"
            rows = [
                list(map(tuple, await database.fetch(
                    f"SELECT {columns} FROM readings WHERE source_offset >= $1 AND source_offset < $2 ORDER BY {order}",
                    first, first + BATCH,
                )))
                for first in range(0, len(records), BATCH)
            ]  # fmt: skip

            async def copy(rows: Sequence[tuple[Any, ...]]) -> None:
                async with database.transaction() as connection:
                    await connection.copy_records_to_table("readings", records=rows, columns=READING_COLUMNS)

            await database.fetch("TRUNCATE readings")
            await stored("bare encode", copy, rows)
            await database.fetch("TRUNCATE readings")

            async def everything(batch: Sequence[Record]) -> None:
                first = batch[0].place.offset
                moves = [Move(source, 0, first, first + len(batch))]
                await store(Batch(batch, moves, sources), database=database, registry=registry, law=LAW, newest=newest)

            newest = Newest()
            await stored("store", everything, batches)
            await database.fetch("TRUNCATE readings")
            await without_unique_keys(url)

            async def barely(batch: Sequence[Message]) -> None:
                as_fetched = [
                    SimpleNamespace(key=m.key, timestamp=m.received_ms, value=m.value, offset=0) for m in batch
                ]
                await copy(bare_rows(as_fetched, source.source_id, 0))

            await stored("bare store", barely, given)
        finally:
            await database.close()
    return found


def record_of(message: Message, offset: int) -> Record:
    received_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=message.received_ms)
    return Record(Place(SOURCE, 0, offset), received_at, message.value)


def _decoded(value: bytes | None) -> object:
    try:
        return from_json(value or b"")
    except ValueError:
        return None


def _understood(record: Record) -> object:
    return understand(record.value, max_bytes=LAW.max_bytes, max_depth=LAW.max_depth)


def _judged(record: Record, source: Source, registry: Registry) -> Entry[Judgement]:
    return judge(record, first_seen=source.first_seen, registry=registry, law=LAW)


if __name__ == "__main__":
    sys.exit(run("stages", __doc__, measured))
