"""A row that the database refuses is set aside alone, and costs none of the others anything."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sinks.readings
from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.batch import Batch
from ingest.correct import correct
from ingest.patience import Patience
from ingest.pieces import store_in_pieces
from ingest.registry_feed import store_states, topic_state
from ingest.store import store
from schemas.judgement import Accepted, Entry
from schemas.record import Place, Record
from sinks import copy_format
from sinks.database import Database
from sinks.errors import OUR_KEYS, AwayError, OperatorError, RefusedRowError, StatementCancelledError
from sinks.ledger import Gap, Move, Source, begin_partition, open_source
from sinks.registry import add_states
from tests.build import LAW, NOON, device, envelope, record

RAW, DEVICES = "kafka:readings.raw", "kafka:registry.devices"
PLACES = "SELECT source_partition, source_offset FROM {} ORDER BY 1, 2"


class Store:
    """A database, and what is given to it as a consumer gives it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url, timeout_s=10)
        self.registry = Registry(table_zones())
        self.sources: dict[str, Source] = {}
        self.transactions = 0

    async def open(self) -> "Store":
        async with self.database.transaction() as connection:
            for name, holds in ((RAW, "readings"), (DEVICES, "registry")):
                self.sources[name] = await open_source(connection, name, first_seen=NOON, holds=holds)
                for partition in range(3):
                    await begin_partition(connection, self.sources[name], partition, 0)
        return self

    async def execute(self, statement: str) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(statement)

    async def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.database.fetch(statement)]

    def batch(self, *partitions: Sequence[bytes | None], gaps: Sequence[Gap] = ()) -> Batch:
        """These records of partition 0, 1 and so on, from their beginnings; gaps lie behind those of partition 0."""
        records = [
            record(value, partition=number, offset=offset)
            for number, values in enumerate(partitions)
            for offset, value in enumerate(values)
        ]
        moves = [Move(self.sources[RAW], number, 0, len(values)) for number, values in enumerate(partitions) if values]
        if gaps:
            moves[0] = moves[0]._replace(next_offset=gaps[-1].next_offset, gaps=gaps)
        return Batch(records, moves, self.sources)

    async def once(self, batch: Batch) -> None:
        self.transactions += 1
        await store(batch, database=self.database, registry=self.registry, law=LAW)

    async def give(self, batch: Batch) -> None:
        await store_in_pieces(batch, self.once, patiently=Patience())

    async def correct(self) -> None:
        while await correct(database=self.database, registry=self.registry, law=LAW):
            pass


@pytest.fixture
async def opened(migrated: str) -> AsyncIterator[Store]:
    made = await Store(migrated).open()
    yield made
    await made.database.close()


def reading(number: int, **payload: Any) -> bytes:
    return envelope(patientId=7, taken=NOON + timedelta(seconds=number), **payload)


async def test_one_refused_row_in_five_thousand_is_set_aside_and_the_others_are_stored(opened: Store) -> None:
    """Kafka Connect's JDBC sink fails the batch; others drop it whole, or the row without a trace."""
    await opened.execute("ALTER TABLE readings ADD CONSTRAINT not_66 CHECK (heart_rate_bpm <> 66)")
    values = [reading(n) for n in range(5_000)]
    values[3_141] = reading(3_141, heartRate=66)
    await opened.give(opened.batch(values))
    assert await opened.rows("SELECT count(*), count(DISTINCT source_offset) FROM readings") == [(4_999, 4_999)]
    columns = "source_partition, source_offset, reason::text, detail, payload, received_at, reading_type, device_id, patient_id, reading_timestamp"
    assert await opened.rows(f"SELECT {columns} FROM rejections") == [
        (0, 3_141, "unstorable", "SQLSTATE 23514 table_name readings constraint_name not_66", values[3_141], NOON, None, None, None, None)
    ]  # fmt: skip
    assert await opened.rows("SELECT max(next_offset) FROM source_positions") == [(5_000,)]
    assert opened.transactions <= 2 * 14 + 1, "halves, not single records"


async def test_several_refused_rows_of_several_partitions_leave_every_other_in_its_place(opened: Store) -> None:
    await opened.execute("ALTER TABLE readings ADD CONSTRAINT not_66 CHECK (heart_rate_bpm <> 66)")
    bad = {(0, 0), (0, 6), (1, 3), (2, 0)}
    sizes = (7, 5, 1)
    partitions = [
        [reading(100 * p + n, heartRate=66 if (p, n) in bad else 60) for n in range(size)]
        for p, size in enumerate(sizes)
    ]
    gaps = [Gap(7, 9, "marker")]
    await opened.give(opened.batch(*partitions, gaps=gaps))
    assert set(await opened.rows(PLACES.format("rejections"))) == bad
    assert (
        set(await opened.rows(PLACES.format("readings")))
        == {(p, n) for p, s in enumerate(sizes) for n in range(s)} - bad
    )
    assert await opened.rows("SELECT next_offset, missing FROM source_positions WHERE source_id = 1 ORDER BY source_partition") == [(9, 2), (5, 0), (1, 0)]  # fmt: skip
    assert await opened.rows("SELECT first_offset, next_offset FROM source_gaps") == [(7, 9)]


async def test_a_refused_row_takes_no_part_in_rule_9(opened: Store) -> None:
    """The next in rank, which the database takes, is the reading."""
    await opened.execute("ALTER TABLE readings ADD CONSTRAINT not_66 CHECK (heart_rate_bpm <> 66)")
    await opened.give(opened.batch([reading(1, heartRate=66), reading(1), reading(1)]))
    assert await opened.rows("SELECT source_offset FROM readings") == [(1,)]
    assert await opened.rows("SELECT source_offset, reason::text FROM rejections ORDER BY 1") == [
        (0, "unstorable"),
        (2, "duplicate"),
    ]


async def test_a_value_that_cannot_be_encoded_is_a_refused_row(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the packing says of it would tell the value."""

    def packed(entries: list[Entry[Accepted]], sources: Mapping[str, Source]) -> bytes:
        entries = list(entries)
        if any(entry.judgement.reading.reading_timestamp == NOON + timedelta(seconds=1) for entry in entries):
            raise ValueError("4711")
        return copy_format.packed(entries, sources)

    monkeypatch.setattr(sinks.readings, "packed", packed)
    await opened.give(opened.batch([reading(n) for n in range(3)]))
    assert await opened.rows(PLACES.format("readings")) == [(0, 0), (0, 2)]
    assert await opened.rows("SELECT source_offset, reason::text, detail FROM rejections") == [
        (1, "unstorable", "readings: a value cannot be encoded for its column")
    ]


async def test_where_the_database_takes_not_even_the_rejection_the_operator_is_told(opened: Store) -> None:
    """Nothing moves past it: a record that stands nowhere is a lost one."""
    await opened.execute("ALTER TABLE readings ADD CONSTRAINT none CHECK (false)")
    await opened.execute("ALTER TABLE rejections ADD CONSTRAINT none_either CHECK (false)")
    with pytest.raises(OperatorError, match=r"refuses even to set a record aside: SQLSTATE 23514 .*none_either"):
        await opened.give(opened.batch([reading(1)]))
    assert await opened.rows("SELECT max(next_offset) FROM source_positions") == [(0,)]


async def test_a_state_that_the_database_refuses_is_set_aside_and_the_others_are_told(opened: Store) -> None:
    await opened.execute("ALTER TABLE device_states ADD CONSTRAINT not_13 CHECK (device_id <> 13)")
    records = [
        Record(Place(DEVICES, 0, n), NOON, b'{"deviceId":%d}' % subject) for n, subject in enumerate((12, 13, 14))
    ]
    batch = Batch(records, [Move(opened.sources[DEVICES], 0, 0, 3)], opened.sources)

    async def once(piece: Batch) -> None:
        def understand(told: Record) -> Any:
            return topic_state(told, piece, devices_topic="registry.devices", law=LAW)

        await store_states(piece, understand, database=opened.database)

    await store_in_pieces(batch, once, patiently=Patience())
    assert await opened.rows("SELECT source_offset, device_id FROM device_states ORDER BY 1") == [(0, 12), (2, 14)]
    assert await opened.rows("SELECT source_offset, reason::text, payload FROM rejections") == [
        (1, "unstorable", b'{"deviceId":13}')
    ]


async def test_a_correction_that_the_database_refuses_sets_that_line_aside_and_corrects_the_rest(opened: Store) -> None:
    """A late state would move three readings to a patient; a constraint of the operator's forbids one of them."""
    async with opened.database.transaction() as connection:
        await add_states(connection, [device(1, patientId=7)], opened.sources)
    values = [envelope(deviceId=1, taken=NOON + timedelta(seconds=n), heartRate=60 + n) for n in range(3)]
    # A duplicate of the one that will be refused: it is the reading then.
    await opened.give(opened.batch([*values, values[1]]))
    await opened.correct()
    await opened.execute(
        "ALTER TABLE readings ADD CONSTRAINT c CHECK (patient_id <> 8 OR heart_rate_bpm <> 61 OR source_offset <> 1)"
    )
    async with opened.database.transaction() as connection:
        await add_states(connection, [device(1, patientId=8, offset=1)], opened.sources)
    await opened.correct()
    assert await opened.rows("SELECT source_offset, patient_id FROM readings ORDER BY 1") == [(0, 8), (2, 8), (3, 8)]
    told = await opened.rows("SELECT source_offset, reason::text, detail, payload FROM rejections")
    assert [(n, why, detail) for n, why, detail, _ in told] == [
        (1, "unstorable", "SQLSTATE 23514 table_name readings constraint_name c")
    ]
    assert b'"heartRate":61' in told[0][3]
    assert await opened.rows("SELECT count(*) FROM corrections_pending") == [(0,)]


async def test_a_statement_that_is_cancelled_is_tried_again_with_half_the_batch(opened: Store) -> None:
    """57014: an operator's statement_timeout, say, that a whole batch does not keep."""
    sizes = []

    async def once(batch: Batch) -> None:
        sizes.append(len(batch.records))
        if len(batch.records) > 2:
            raise StatementCancelledError("SQLSTATE 57014")
        await opened.once(batch)

    await store_in_pieces(opened.batch([reading(n) for n in range(8)]), once, patiently=Patience())
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    assert await opened.rows("SELECT count(*) FROM readings") == [(8,)]


async def test_a_single_record_whose_statement_is_cancelled_is_waited_for(opened: Store) -> None:
    turns = iter([StatementCancelledError("SQLSTATE 57014"), None])

    async def once(batch: Batch) -> None:
        if (error := next(turns)) is not None:
            raise error
        await opened.once(batch)

    await store_in_pieces(opened.batch([reading(1)]), once, patiently=Patience())
    assert await opened.rows(PLACES.format("readings")) == [(0, 0)]


async def test_a_lock_time_out_of_the_server_s_is_met_by_halves(opened: Store) -> None:
    """Not made up: the server itself cancels what takes longer than its statement_timeout."""
    await opened.execute("""
        CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END $$""")
    await opened.execute("CREATE TRIGGER slow BEFORE INSERT ON readings FOR EACH ROW EXECUTE FUNCTION slow()")
    connection = await opened.database.connection()
    await connection.execute("SET statement_timeout = '300ms'")
    await opened.give(opened.batch([reading(n) for n in range(12)]))
    assert await opened.rows("SELECT count(*) FROM readings") == [(12,)]
    assert opened.transactions > 1


@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) >= 2),
    holes=st.lists(st.integers(0, 3), min_size=24, max_size=24),
    behind=st.lists(st.integers(0, 2), min_size=4, max_size=4),
)
def test_halves_go_the_whole_way_each_its_own_part(sizes: list[int], holes: list[int], behind: list[int]) -> None:
    """Every record once, every gap once, and the later half expects what the earlier one reaches."""
    source = Source(1, RAW, NOON)
    records, moves, hole = [], [], iter(holes)
    for partition, size in enumerate(sizes):
        at, gaps = 0, []
        for _ in range(size):
            if missing := next(hole):
                gaps.append(Gap(at, at + missing, "skipped"))
            at += missing
            records.append(record(b"", partition=partition, offset=at))
            at += 1
        if behind[partition]:
            gaps.append(Gap(at, at + behind[partition], "marker"))
            at += behind[partition]
        if at:
            moves.append(Move(source, partition, 0, at, gaps))
    batch = Batch(records, moves, {RAW: source})
    first, second = batch.halves
    assert [*first.records, *second.records] == records
    assert len(first.records) == len(records) // 2
    reached = dict.fromkeys(range(len(sizes)), 0)
    gaps = []
    for half in (first, second):
        for move in half.moves:
            assert move.expected == reached[move.partition]
            reached[move.partition] = move.next_offset
            gaps += [(move.partition, gap) for gap in move.gaps]
            inside = [r.place.offset for r in half.records if r.place.partition == move.partition]
            assert all(move.expected <= offset < move.next_offset for offset in inside)
            assert move.next_offset - move.expected == len(inside) + sum(
                g.next_offset - g.first_offset for g in move.gaps
            )
    assert {partition: at for partition, at in reached.items() if at} == {m.partition: m.next_offset for m in moves}
    assert sorted(gaps) == sorted((move.partition, gap) for move in moves for gap in move.gaps)


async def test_every_unique_key_of_ours_means_that_another_writer_was_first(migrated: str) -> None:
    """A key that the list forgets would make `unstorable` of a good record."""
    connection = await asyncpg.connect(migrated)
    try:
        rows = await connection.fetch("""
            SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
            WHERE x.indisunique AND t.relnamespace = 'public'::regnamespace""")
    finally:
        await connection.close()
    numbered_by_the_database_or_written_by_migrate = {
        "sources_pkey", "corrections_pending_pkey", "registry_version_pkey", "law_parameters_pkey", "schema_migrations_pkey",
        "api_keys_pkey", "customer_roles_pkey",
    }  # fmt: skip
    assert {row["relname"] for row in rows} == set(OUR_KEYS) | numbered_by_the_database_or_written_by_migrate


async def test_what_no_splitting_mends_ends_with_a_line(opened: Store) -> None:
    """A gap alone has no row to refuse: there is nothing to set aside."""

    async def once(_: Batch) -> None:
        raise RefusedRowError("SQLSTATE 23503 table_name source_gaps")

    alone = Batch([], [Move(opened.sources[RAW], 0, 0, 3, [Gap(0, 3, "marker")])], opened.sources)
    async with asyncio.timeout(5):
        with pytest.raises(OperatorError):
            await store_in_pieces(alone, once, patiently=Patience())


async def test_a_question_that_we_ask_wrongly_ends_the_process_and_is_not_waited_for(opened: Store) -> None:
    """asyncpg calls both InterfaceError: a connection that is gone, and a statement with too few arguments."""
    with pytest.raises(asyncpg.InterfaceError, match="expects 1 argument"):
        await opened.database.fetch("SELECT $1::int")
    (await opened.database.connection()).terminate()

    async def lost() -> None:
        async with opened.database.transaction() as connection:
            connection.terminate()
            await connection.execute("SELECT 1")

    with pytest.raises(AwayError):
        await lost()
    assert await opened.rows("SELECT 1") == [(1,)], "the next one opens another"

    async def not_even_rolled_back() -> None:
        async with opened.database.transaction() as connection:
            busy = asyncio.ensure_future(connection.execute("SELECT pg_sleep(1)"))
            await asyncio.sleep(0.1)
            busy.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise ConnectionResetError

    with pytest.raises(AwayError):
        await not_even_rolled_back()
    assert await opened.rows("SELECT 1") == [(1,)]
