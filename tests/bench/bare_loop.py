"""The least that a consumer can do: fetch, decode, make rows, COPY them with the position. Nothing is judged.

What `readings consume` is held against: the same client libraries, records and table, and Python as it comes. It knows
no registry, so nothing is looked up; it finds no re-sends, so `readings` has its key as an index that takes all (see
`without_unique_keys`). A record that is no JSON is dropped.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from pydantic_core import from_json

from ingest.settings import Settings
from schemas.reading import MEASURES
from sinks.rows import READING_COLUMNS
from tests.bench.parts import Parts
from tests.service import Process

BATCH = Settings.model_fields["batch_records"].default
"""As many at once as a consumer stores."""
_FIELDS = tuple(MEASURES.values())


def bare_loop(parts: Parts, url: str, topic: str) -> Process:
    """It as a process, until SIGTERM."""
    return Process("-m", "tests.bench.bare_loop", parts.bootstrap, url, topic, env=dict(os.environ))


async def without_unique_keys(url: str) -> None:
    """The indexes stay, and let re-sends stand beside each other."""
    connection = await asyncpg.connect(url)
    try:
        for name, definition in await connection.fetch(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'readings' AND schemaname = 'public'"
        ):
            if definition.startswith("CREATE UNIQUE INDEX"):
                await connection.execute(f"DROP INDEX {name}")
                await connection.execute(definition.replace("CREATE UNIQUE INDEX", "CREATE INDEX", 1))
    finally:
        await connection.close()


def bare_rows(records: Iterable[ConsumerRecord[bytes, bytes]], source_id: int, partition: int) -> list[tuple[Any, ...]]:
    """Of `READING_COLUMNS`, as far as the records themselves tell them."""
    rows = []
    for record in records:
        try:
            envelope = from_json(record.value)
        except ValueError:
            continue
        payload, device = envelope["payload"], int(record.key)
        identifiers = None
        if (nested := payload.get("device")) is not None:
            identifiers = [identifier["value"] for identifier in nested["deviceIdentifiers"]]
        elif (identifier := payload.get("deviceIdentifier")) is not None:
            identifiers = [identifier]
        row = (
            device,
            envelope["type"].removeprefix("reading."),
            datetime.fromisoformat(payload["readingTimestamp"]),
            datetime.fromtimestamp(record.timestamp / 1000, UTC),
            device,
            None,
            None,
            payload.get("id"),
            payload.get("deviceId"),
            identifiers,
            None,
            source_id,
            partition,
            record.offset,
            payload.get("deviceTimeZoneOffset"),
            None,
            None,
            payload["manual"],
            *map(payload.get, _FIELDS),
        )
        rows.append(row)
    return rows


async def _run(bootstrap: str, url: str, topic: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    connection = await asyncpg.connect(url)
    # Without a group it has every partition.
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_bytes=16_777_216,
    )
    await consumer.start()
    try:
        partitions = consumer.assignment()
        assert partitions, f"{topic} has no partitions"
        source_id = await connection.fetchval(
            "INSERT INTO sources (source, holds) VALUES ($1, 'readings') RETURNING source_id", f"kafka:{topic}"
        )
        await connection.executemany(
            "INSERT INTO source_positions (source_id, source_partition, first_offset, next_offset) VALUES ($1, $2, 0, 0)",
            [(source_id, tp.partition) for tp in partitions],
        )
        while not stop.is_set():
            fetched = await consumer.getmany(timeout_ms=200, max_records=BATCH)
            if not fetched:
                continue
            rows: list[tuple[Any, ...]] = []
            for tp, records in fetched.items():
                rows += bare_rows(records, source_id, tp.partition)
            async with connection.transaction():
                await connection.executemany(
                    "UPDATE source_positions SET next_offset = $3, moved_at = now()"
                    " WHERE source_id = $1 AND source_partition = $2",
                    [(source_id, tp.partition, records[-1].offset + 1) for tp, records in fetched.items()],
                )
                await connection.copy_records_to_table("readings", records=rows, columns=READING_COLUMNS)
    finally:
        await consumer.stop()
        await connection.close()


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
