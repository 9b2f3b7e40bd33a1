"""What each choice in the table `readings` costs the server: candidates beside a bare COPY of the same rows.

The rows are those that the pipeline writes (all ten kinds, in the order of receipt, sorted within a batch as the sink
does); the contract's table is the one that the migrations make, and a candidate differs from it in what its name says.
A batch is a transaction with its move of the position; the bare COPY has no key, index, check or position. Processor
time is that of the server's process for the connection, and each figure the median of interleaved runs. Last comes
rule 9's question about the keys of a batch, which is asked in front of every COPY.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import psutil

from enrich.judge import judge
from enrich.law import Law
from enrich.registry import Registry
from enrich.zones import table_zones
from schemas.judgement import Accepted
from schemas.kinds import Kind
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import About, State
from sinks.database import Database
from sinks.ledger import Move, Source, move
from sinks.rows import READING_COLUMNS, reading_row
from sinks.statements import sql
from tests.bench.found import Found, Row, medians, ratio
from tests.bench.parts import TIMEOUT_S, Parts
from tests.bench.run import Asked, interleaved, progress, run
from tests.bench.traffic import Fleet, Message

SOURCE, PARTITIONS, BATCH = "kafka:readings.raw", 4, 5_000
SOURCES = {SOURCE: Source(1, SOURCE, datetime(2026, 3, 1, tzinfo=UTC))}
Stored = tuple[Any, ...]
"""A row of `READING_COLUMNS`."""


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    rest: str


@dataclass(frozen=True)
class Layout:
    """One candidate for the table."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    check: str
    indexes: tuple[str, ...] = ()
    move: bool = True

    def statements(self) -> Iterator[str]:
        """What makes the table `candidate`."""
        parts = [f"{column.name} {column.type} {column.rest}" for column in self.columns]
        parts += [self.check] if self.check else []
        yield f"CREATE TABLE candidate ({', '.join(parts)})"
        if self.key:
            yield f"CREATE UNIQUE INDEX ON candidate ({', '.join(self.key)})"
        for index in self.indexes:
            yield f"CREATE INDEX ON candidate USING {index}"

    def retyped(self, name: str, type_: str) -> tuple[Column, ...]:
        return tuple(replace(column, type=type_) if column.name == name else column for column in self.columns)


@dataclass(frozen=True)
class Cost:
    """Of one row: microseconds and bytes."""

    server_us: float
    wall_us: float
    row_bytes: float
    """Of the row alone: pages that the server made ahead, and left empty, count in the table's."""
    table_bytes: float
    index_bytes: float
    wal_bytes: float


# --- the rows -------------------------------------------------------------------------------------------------------


def rows_of(count: int, devices: int) -> list[Stored]:
    """Rows of `READING_COLUMNS`, as the pipeline makes them of a fleet's readings."""
    fleet, law = Fleet(devices), Law()
    registry, first_seen = _registry(fleet, law), SOURCES[SOURCE].first_seen
    offsets = [0] * PARTITIONS
    rows, keys = [], set()
    for message in fleet.readings(count):
        partition = int(message.key) % PARTITIONS
        record = _record(message, SOURCE, partition, offsets[partition])
        offsets[partition] += 1
        entry = judge(record, first_seen=first_seen, registry=registry, law=law)
        if isinstance(entry.judgement, Accepted) and entry.judgement.key not in keys:
            keys.add(entry.judgement.key)
            rows.append(reading_row(entry, SOURCES))
    return rows


def _registry(fleet: Fleet, law: Law) -> Registry:
    states = [
        _state(about, number, message, law)
        for about, told in ((About.DEVICE, fleet.device_states()), (About.PATIENT, fleet.patient_states()))
        for number, message in enumerate(told)
    ]
    registry = Registry(table_zones())
    owners = {identifier: state.subject_id for state in states for identifier in state.identifiers}
    registry.learn(states, owners, version=1)
    return registry


def _state(about: About, number: int, message: Message, law: Law) -> State:
    record = _record(message, f"kafka:registry.{about}s", 0, number)
    assert record.received_at is not None
    limits = {"max_bytes": law.max_bytes, "max_depth": law.max_depth}
    understood = understand_state(about, record, told_at=record.received_at, from_file=False, **limits)
    assert isinstance(understood, State), understood
    return understood


def _record(message: Message, source: str, partition: int, offset: int) -> Record:
    received_at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=message.received_ms)
    return Record(Place(source, partition, offset), received_at, message.value)


# --- the candidates -------------------------------------------------------------------------------------------------


async def candidates(connection: asyncpg.Connection, zones: Sequence[str]) -> list[Layout]:
    """The contract's table as the migrations made it, and what might stand in its place."""
    columns = tuple(
        Column(row["name"], row["type"], "NOT NULL" if row["attnotnull"] else "")
        for row in await connection.fetch(
            "SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type, attnotnull FROM pg_attribute"
            " WHERE attrelid = 'readings'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
    )
    check = await connection.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'readings'::regclass AND contype = 'c'"
    )
    words = ", ".join(f"'{zone}'" for zone in zones)
    await connection.execute(f"CREATE TYPE zone AS ENUM ({words})")
    contract = Layout("the contract's", columns, ("subject", "reading_type", "reading_timestamp"), check)
    patient, place = "(patient_id, reading_type, reading_timestamp)", "(source_id, source_partition, source_offset)"
    as_written = {name: position for position, name in enumerate(READING_COLUMNS)}
    small_kind = contract.retyped("reading_type", "smallint")
    return [
        replace(contract, name="bare COPY", key=(), check="", move=False),
        replace(contract, name="no key", key=()),
        contract,
        replace(
            contract,
            name="columns as design.md lists them",
            columns=tuple(sorted(columns, key=lambda c: as_written[c.name])),
        ),
        replace(contract, name="kind as text", columns=contract.retyped("reading_type", "text")),
        replace(contract, name="kind as smallint", columns=small_kind),
        replace(contract, name="zone as enum", columns=contract.retyped("patient_time_zone", "zone")),
        replace(contract, name="no CHECK", check=""),
        replace(contract, name="key (time, subject, kind)", key=("reading_timestamp", "subject", "reading_type")),
        replace(contract, name="+ index on patient, kind, time", indexes=(f"btree {patient}",)),
        replace(
            contract,
            name="+ the same, where there is a patient",
            indexes=(f"btree {patient} WHERE patient_id IS NOT NULL",),
        ),
        replace(contract, name="+ BRIN on place", indexes=(f"brin {place}",)),
        replace(contract, name="+ btree on place", indexes=(f"btree {place}",)),
        replace(contract, name="+ BRIN on time", indexes=("brin (reading_timestamp)",)),
        replace(
            contract,
            name="+ BRIN on time, minmax-multi",
            indexes=("brin (reading_timestamp timestamptz_minmax_multi_ops)",),
        ),
        replace(contract, name="+ index on patient, time", indexes=("btree (patient_id, reading_timestamp)",)),
        replace(contract, name="+ hash index on patient", indexes=("hash (patient_id)",)),
        replace(
            contract,
            name="+ index on patient, where there is one",
            indexes=("btree (patient_id) WHERE patient_id IS NOT NULL",),
        ),
    ]


def fitted(rows: list[Stored], layout: Layout) -> list[list[Stored]]:
    """The rows in batches, sorted within each by the layout's key, with the kind as its type asks."""
    kind_at = READING_COLUMNS.index("reading_type")
    if next(column.type for column in layout.columns if column.name == "reading_type") == "smallint":
        numbers = {kind: number for number, kind in enumerate(Kind)}
        rows = [(*row[:kind_at], numbers[row[kind_at]], *row[kind_at + 1 :]) for row in rows]
    places = [READING_COLUMNS.index(name) for name in layout.key or ("subject", "reading_type", "reading_timestamp")]
    return [
        sorted(rows[first : first + BATCH], key=lambda row: [row[place] for place in places])
        for first in range(0, len(rows), BATCH)
    ]


# --- measuring ------------------------------------------------------------------------------------------------------


class Watch:
    """Processor and wall time of what the server does for one connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._server = psutil.Process(connection.get_server_pid())

    def start(self) -> None:
        self._began = self._processor_s(), time.perf_counter()

    def spent_us(self, rows: int) -> tuple[float, float]:
        """Server and wall, a row, since the start."""
        processor_s, wall_s = self._processor_s() - self._began[0], time.perf_counter() - self._began[1]
        return processor_s * 1e6 / rows, wall_s * 1e6 / rows

    def _processor_s(self) -> float:
        spent = self._server.cpu_times()
        return spent.user + spent.system


async def cost(connection: asyncpg.Connection, layout: Layout, rows: list[Stored]) -> Cost:
    """Fill the layout's table once."""
    batches, watch = fitted(rows, layout), Watch(connection)
    for statement in ("DROP TABLE IF EXISTS candidate", *layout.statements(), "CHECKPOINT"):
        await connection.execute(statement)
    await connection.reload_schema_state()  # the last candidate of this name had other types
    await connection.copy_records_to_table("candidate", records=[], columns=READING_COLUMNS)
    wal = await connection.fetchval("SELECT pg_current_wal_lsn()")
    watch.start()
    for batch in batches:
        async with connection.transaction():
            if layout.move:
                await move(connection, [Move(SOURCES[SOURCE], 0, 0, 0)], {})
            await connection.copy_records_to_table("candidate", records=batch, columns=READING_COLUMNS)
    spent = watch.spent_us(len(rows))
    sizes = await connection.fetchrow(
        "SELECT sum(pg_column_size(candidate)), pg_table_size('candidate'), pg_indexes_size('candidate'),"
        " pg_current_wal_lsn() - $1::pg_lsn FROM candidate",
        wal,
    )
    return Cost(*spent, *(float(size) / len(rows) for size in sizes))


async def look_ups(connection: asyncpg.Connection, rows: list[Stored], times: int) -> dict[str, tuple[float, float]]:
    """Rule 9's question about the keys of a batch, before and after the server knows the table's statistics."""
    for batch in fitted(rows, Layout("", (Column("reading_type", "", ""),), (), "")):
        await connection.copy_records_to_table("readings", records=batch, columns=READING_COLUMNS)
    standing = [row[:3] for row in rows[-times * BATCH :]]
    # As the stream brings them: of the same devices, a little later.
    unknown = [(subject, kind, taken + timedelta(microseconds=1)) for subject, kind, taken in standing]
    found, watch = {}, Watch(connection)
    for analysed in ("never analysed", "analysed"):
        if analysed == "analysed":
            await connection.execute("ANALYZE readings")
        for name, keys in (("none stands", unknown), ("all stand", standing)):
            await connection.reload_schema_state()  # forgets the prepared statement and its plan
            watch.start()
            for first in range(0, len(keys), BATCH):
                columns = [list(column) for column in zip(*sorted(keys[first : first + BATCH]), strict=True)]
                await connection.fetch(sql("readings_of_keys"), *columns, min(columns[2]), max(columns[2]))
            found[f"{name}, {analysed}"] = watch.spent_us(len(keys))
    return found


async def measured(parts: Parts, asked: Asked) -> Found:
    rows = rows_of(asked.readings, asked.devices)
    zones = sorted({zone for row in rows if (zone := row[READING_COLUMNS.index("patient_time_zone")]) is not None})
    async with parts.database() as url:
        database = Database(url, timeout_s=TIMEOUT_S)
        try:
            connection = await database.connection()
            await connection.execute("INSERT INTO sources (source, holds) VALUES ('kafka:readings.raw', 'readings')")
            await connection.execute("INSERT INTO source_positions VALUES (1, 0, 0, 0)")
            layouts = await candidates(connection, zones)
            every: dict[str, list[Row]] = {layout.name: [] for layout in layouts}
            for layout in interleaved(asked.runs, layouts):
                progress(layout.name)
                every[layout.name].append(asdict(await cost(connection, layout, rows)))
            found = {name: medians(costs) for name, costs in every.items()}
            questions = await look_ups(connection, rows, times=min(20, len(rows) // BATCH))
        finally:
            await database.close()
    bare = found["bare COPY"]["server_us"]
    table = [{"layout": name, "ratio": ratio(one["server_us"], bare), **one} for name, one in found.items()]
    asking = [{"rule 9": name, "server_us": us, "wall_us": wall} for name, (us, wall) in questions.items()]
    return Found({f"{len(rows):,} rows, {BATCH:,} a batch; µs and B a row": table, "look-ups": asking})


if __name__ == "__main__":
    sys.exit(run("table_layouts", __doc__, measured))
