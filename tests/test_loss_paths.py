"""How others lose a reading, each as a test of ours.

Found in the issue trackers and documentation of connectors, agents and stream processors that write to PostgreSQL. Where
a path is the subject of a whole file of ours, its line below says so; the others are here.

| how it is lost elsewhere | ours |
|---|---|
| an unparsable record ends the task, or is skipped when errors are tolerated | here |
| one bad row takes its batch along: a NUL byte, a time out of range, an integer overflow, an oversize value | here, `test_pieces` |
| a crash between the queue and the write, the offset committed already | `test_kill` |
| a duplicate inside a batch makes an upsert fail; across batches it is stored twice | here |
| a failed batch is dropped, and the next good one commits past it | here |
| the table or statement is made of the first row, and what it lacks is never stored | here |
| an exception in a handler is logged, and the record counts as done | here |
| a negative acknowledgement goes unheard, or the record goes round for ever | here |
| the partition is lost in the middle of a batch, and both owners write | here, `test_store`, `test_chaos` |
| errors are tolerated, and nothing tells of what was dropped | here |
| a reading comes before the registry knows its device | here, `test_corrections` |
| a database error is printed and passed over | here |
| a conflict in a compressed chunk | `test_timescale` |
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

import ingest.store
from ingest.batch import Batch
from ingest.patience import Patience
from ingest.pieces import store_in_pieces
from ingest.store import store
from sinks.database import Database
from sinks.errors import AwayError, PositionMovedError
from sinks.registry import add_states
from tests.build import LAW, NOON, device, envelope
from tests.conftest import Broker, MakeTopics, Produce
from tests.service import environment, readings
from tests.test_pieces import PLACES, Store, reading


@pytest.fixture
async def opened(migrated: str) -> AsyncIterator[Store]:
    made = await Store(migrated).open()
    yield made
    await made.database.close()


async def reasons(opened: Store) -> list[tuple[Any, ...]]:
    return await opened.rows("SELECT source_offset, reason::text FROM rejections ORDER BY 1")


async def position(opened: Store) -> int:
    return (await opened.rows("SELECT max(next_offset) FROM source_positions"))[0][0]


BAD = {
    "not JSON": (b"{", "malformed"),
    "not UTF-8": (b"\xff\xfe", "malformed"),
    "a NUL byte in a text": (reading(1, deviceIdentifier="a\0b"), "malformed"),
    "half a surrogate pair": (b'{"type":"reading.heartRate","payload":{"x":"\\ud800"}}', "malformed"),
    "a tombstone": (None, "malformed"),
    "an integer that overflows its column": (reading(1, heartRate=2**31), "invalid"),
    "an id that overflows bigint": (envelope(deviceId=2**63), "invalid"),
    "a double that is none": (reading(1, heartRate=float("nan")), "malformed"),
    "a time that no calendar has": (envelope(readingTimestamp="2026-02-30T00:00:00Z"), "invalid"),
    "a time that PostgreSQL's own range would take and ours does not": (
        envelope(readingTimestamp="9999-12-31T23:59:59Z"),
        "timestamp_implausible",
    ),
    "a time before there were devices": (envelope(readingTimestamp="0001-01-01T00:00:00Z"), "timestamp_implausible"),
    "a record larger than any should be": (reading(1, note="x" * 1_048_576), "malformed"),
    "one nested deeper than any should be": (b'{"type":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "malformed"),
}


@pytest.mark.parametrize("what", BAD)
async def test_one_bad_record_in_a_batch_of_five_hundred_costs_none_of_the_others(opened: Store, what: str) -> None:
    value, reason = BAD[what]
    values: list[bytes | None] = [reading(n) for n in range(500)]
    values[250] = value
    await opened.give(opened.batch(values))
    assert await reasons(opened) == [(250, reason)]
    assert await opened.rows(PLACES.format("readings")) == [(0, n) for n in range(500) if n != 250]
    assert opened.transactions == 1, "found before the database is asked"


async def test_what_is_set_aside_is_kept_byte_for_byte_with_its_reason(opened: Store) -> None:
    """Errors tolerated without a trace: here the trace is a row, and conservation counts it."""
    values = [value for value, _ in BAD.values()]
    await opened.give(opened.batch(values))
    kept = await opened.rows("SELECT payload FROM rejections ORDER BY source_offset")
    assert [row[0] for row in kept] == [value or b"" for value in values]
    told = await opened.rows("SELECT count(*) FROM rejections WHERE reason <> 'malformed' AND detail IS NULL")
    assert told == [(0,)], "each says which field broke which rule"
    assert await position(opened) == len(values)


async def test_a_duplicate_inside_a_batch_and_across_batches_is_stored_once(opened: Store) -> None:
    """ON CONFLICT DO UPDATE fails with "cannot affect row a second time"; a plain INSERT fails the batch."""
    await opened.give(opened.batch([reading(1), reading(1), reading(2), reading(1, heartRate=61)]))
    again = opened.batch([None] * 4 + [reading(2), reading(3), reading(3)])
    moved = [move._replace(expected=4) for move in again.moves]
    await opened.give(Batch(again.records[4:], moved, again.sources))
    assert await opened.rows(PLACES.format("readings")) == [(0, 0), (0, 2), (0, 5)]
    assert await reasons(opened) == [(1, "duplicate"), (3, "conflicting_duplicate"), (4, "duplicate"), (6, "duplicate")]


async def test_a_good_batch_after_a_failed_one_does_not_pass_it_over(opened: Store) -> None:
    """Whoever commits the later offset commits all before it: here the later batch expects the earlier to be there."""
    earlier, whole = [reading(n) for n in range(3)], [reading(n) for n in range(6)]
    both = opened.batch(whole)
    later = Batch(both.records[3:], [both.moves[0]._replace(expected=3)], both.sources)
    with pytest.raises(PositionMovedError):
        await opened.give(later)
    assert await position(opened) == 0
    await opened.give(opened.batch(earlier))
    await opened.give(later)
    assert await opened.rows(PLACES.format("readings")) == [(0, n) for n in range(6)]


async def test_what_the_first_row_lacks_is_stored_of_the_others(opened: Store) -> None:
    """A sparse first row makes the columns of the whole batch elsewhere."""
    sparse = envelope("bloodPressure", patientId=7, systolic=120, diastolic=80)
    full = envelope(
        "bloodPressure", patientId=7, taken=NOON + timedelta(seconds=1), systolic=121, diastolic=81, heartRate=66,
        deviceTimeZoneOffset=-18000, manual=True, id=5,
    )  # fmt: skip
    await opened.give(opened.batch([sparse, full, reading(2)]))
    columns = "systolic_mmhg, heart_rate_bpm, device_time_zone_offset, manual, reading_id"
    assert await opened.rows(f"SELECT {columns} FROM readings ORDER BY source_offset") == [
        (120, None, None, False, None),
        (121, 66, -18000, True, 5),
        (None, 60, None, False, None),
    ]


async def test_an_exception_in_our_own_code_ends_the_process_and_moves_nothing(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug is no reading's fault: the record is neither done nor dead, and stands there for the next version."""
    real = ingest.store.told_apart

    def buggy(entries: list[Any]) -> Any:
        if any(entry.place.offset == 2 for entry in entries):
            raise ZeroDivisionError
        return real(entries)

    with monkeypatch.context() as patched:
        patched.setattr(ingest.store, "told_apart", buggy)
        with pytest.raises(ZeroDivisionError):
            await opened.give(opened.batch([reading(n) for n in range(4)]))
    assert (await position(opened), await opened.rows(PLACES.format("readings"))) == (0, [])
    await opened.give(opened.batch([reading(n) for n in range(4)]))
    assert len(await opened.rows(PLACES.format("readings"))) == 4


async def test_a_batch_that_is_refused_for_now_is_given_again_until_it_is_taken(opened: Store) -> None:
    """A negative acknowledgement: neither unheard, nor round and round through the topic behind newer readings."""
    refusals = iter([AwayError("57P03"), AwayError("08006"), None])

    async def once(batch: Batch) -> None:
        if (refusal := next(refusals)) is not None:
            raise refusal
        await opened.once(batch)

    await store_in_pieces(opened.batch([reading(n) for n in range(3)]), once, patiently=Patience())
    assert await opened.rows(PLACES.format("readings")) == [(0, 0), (0, 1), (0, 2)]


async def test_an_owner_that_lost_its_partition_in_mid_batch_cannot_write(opened: Store, migrated: str) -> None:
    """It judged, slept, and wakes in its transaction while the next owner has stored the same records and more."""
    values = [reading(n) for n in range(4)]
    sleeping, awake = Database(migrated, timeout_s=10), asyncio.Event()

    async def write_late() -> None:
        def look(_: Any) -> None:
            raise_later.set_result(None)

        raise_later: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        batch = opened.batch(values[:3])
        task = asyncio.ensure_future(
            store(batch, database=Late(sleeping, awake), registry=opened.registry, law=LAW, look=look)
        )  # type: ignore[arg-type]
        await raise_later
        await opened.give(opened.batch(values))
        awake.set()
        await task

    with pytest.raises(PositionMovedError):
        await write_late()
    await sleeping.close()
    assert await opened.rows(PLACES.format("readings")) == [(0, n) for n in range(4)]
    assert await position(opened) == 4


class Late:
    """A database whose transactions begin when told to."""

    def __init__(self, database: Database, awake: asyncio.Event) -> None:
        self._database, self._awake = database, awake

    def transaction(self) -> Any:
        return self

    async def __aenter__(self) -> Any:
        await self._awake.wait()
        self._transaction = self._database.transaction()
        return await self._transaction.__aenter__()

    async def __aexit__(self, *error: object) -> Any:
        return await self._transaction.__aexit__(*error)


async def test_a_reading_that_comes_before_the_registry_knows_its_device_is_stored_when_it_does(opened: Store) -> None:
    """Elsewhere a look-up that finds nothing drops the record, or stores it without its patient for ever."""
    await opened.give(opened.batch([envelope(deviceId=1)]))
    assert await reasons(opened) == [(0, "unknown_device")]
    async with opened.database.transaction() as connection:
        await add_states(connection, [device(1, patientId=7, told=NOON)], opened.sources)
    await opened.correct()
    assert await reasons(opened) == []
    assert await opened.rows("SELECT device_id, patient_id FROM readings") == [(1, 7)]


@pytest.mark.thorough
async def test_a_database_error_is_neither_printed_nor_passed_over(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce
) -> None:
    """A privilege that somebody took away: one clear line, exit 1, nothing moved; given back, all of it is stored."""
    raw, devices, patients = await make_topics(raw=1, devices=1, patients=1)
    topics = {"READINGS_RAW_TOPIC": raw, "READINGS_DEVICES_TOPIC": devices, "READINGS_PATIENTS_TOPIC": patients}
    await produce(raw, [(b"7", reading(n), None) for n in range(5)])
    connection = await asyncpg.connect(migrated)
    try:
        await connection.execute("CREATE ROLE writer LOGIN")
        await connection.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO writer")
        await connection.execute("REVOKE INSERT ON readings FROM writer")
        env = environment(migrated.replace("postgres@", "writer@", 1), broker, topics)
        async with readings("consume", "--until-caught-up", env=env) as consumer:
            code, _, err = await consumer.ended()
        assert code == 1, err
        assert [line for line in err.splitlines() if line.startswith("readings: ")] == [
            "readings: SQLSTATE 42501: the database user lacks a privilege"
        ]
        assert await connection.fetchval("SELECT next_offset FROM source_positions WHERE source_id = $1", await connection.fetchval("SELECT source_id FROM sources WHERE source = $1", f"kafka:{raw}")) == 0  # fmt: skip
        await connection.execute("GRANT INSERT ON readings TO writer")
        async with readings("consume", "--until-caught-up", env=env) as consumer:
            code, _, err = await consumer.ended()
        assert code == 0, err
        assert await connection.fetchval("SELECT count(*) FROM readings") == 5
    finally:
        await connection.execute("DROP OWNED BY writer")
        await connection.execute("DROP ROLE writer")
        await connection.close()


def test_the_table_names_tests_that_are_there() -> None:
    here = Path(__file__).parent
    assert __doc__ is not None
    for word in __doc__.split("`"):
        if word.startswith("test_"):
            assert (here / f"{word}.py").is_file(), word
