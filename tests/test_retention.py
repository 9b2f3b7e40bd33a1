"""`readings retention`: what is old goes, the ledger adds up after every step, and nothing that went comes back."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

import sinks.retention
from enrich.law import Law
from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.batch import Batch
from ingest.law_parameters import adopt_parameters, parameters
from ingest.patience import patiently
from ingest.retention import Retained, retain
from ingest.settings import Settings
from ingest.store import store
from ingest.verify import verify
from schemas.record import Place, Record
from sinks.database import Database
from sinks.errors import OperatorError
from sinks.ledger import Move, begin_partition, open_source
from sinks.migrate import migrate
from sinks.registry import have_registry_alone
from sinks.retention import chunks_before, drop_chunk, drop_readings, drop_rejections
from sinks.roles import make_roles
from tests.build import LAW, at, envelope
from tests.conftest import ON_TIMESCALE, execute
from tests.fill import DEVICES, PATIENTS, RAW, fill
from tests.practice import given, insert_what_is_copied, opened, pressure, told
from tests.service import readings
from tests.test_backfill import environment

JUNE = at("2025-06-01T00:00")


def settings(url: str) -> Settings:
    return Settings(database_url=url, connect_timeout_s=5)


async def dropped(url: str, before: datetime, *, dry_run: bool = False) -> Retained:
    return await retain(settings(url), before, dry_run=dry_run, tell=lambda *_: None)


async def ask(url: str, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query, *arguments)]
    finally:
        await connection.close()


async def holds(url: str) -> None:
    found = await verify(settings(url), table_zones(), sample=None, wait_s=0, tell=lambda *_: None)
    assert [check.first for check in found.checks if check.differ] == []


@pytest.fixture
async def practice(migrated: str) -> str:
    """The URL of the practice's store: of its 46 records 33 readings are of before June, and all 5 refused ones."""
    await opened(migrated)
    return migrated


LEFT = "SELECT (SELECT count(*) FROM readings), (SELECT count(*) FROM rejections), (SELECT sum(expired) FROM source_positions)"


async def test_what_is_older_goes_and_is_counted_where_it_came_from(practice: str) -> None:
    assert (await dropped(practice, JUNE)).readings.total() == 33
    assert await ask(practice, LEFT) == [(8, 0, 38)]
    assert await ask(practice, "SELECT min(reading_timestamp) FROM readings") == [(at("2025-06-01T03:59"),)]
    assert await ask(
        practice, "SELECT source, expired FROM source_positions JOIN sources USING (source_id) WHERE expired > 0"
    ) == [(RAW, 38)]
    assert await ask(practice, "SELECT DISTINCT local_day::text FROM daily_summaries ORDER BY 1") == [
        ("2025-05-31",),
        ("2025-06-01",),
        ("2025-11-02",),
        ("2025-11-03",),
    ]
    await holds(practice)


async def test_the_second_run_finds_nothing_left(practice: str) -> None:
    await dropped(practice, JUNE)
    again = await dropped(practice, JUNE)
    assert (again.readings.total(), again.rejections.total()) == (0, 0)
    assert await ask(practice, LEFT) == [(8, 0, 38)]


async def test_a_dry_run_counts_the_same_and_drops_nothing(practice: str) -> None:
    before = await ask(practice, "SELECT * FROM ledger ORDER BY source, source_offset")
    dry = await dropped(practice, JUNE, dry_run=True)
    assert await ask(practice, "SELECT * FROM ledger ORDER BY source, source_offset") == before
    assert dry == await dropped(practice, JUNE)


async def test_killed_after_any_page_the_ledger_holds_and_the_next_run_goes_on(
    practice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages of three, and a look at everything after each: rule 9's winners outlive those beside them, never the other
    way round."""
    monkeypatch.setattr(sinks.retention, "PAGE", 3)
    late = [pressure("2025-03-09T04:30", 100 + n, 80) for n in range(7)]
    await fill(practice, [], given(late, partition=1))
    database, steps = Database(practice, timeout_s=30), 0
    for drop in (drop_rejections, drop_readings):
        after: Any = None
        while True:
            gone, after = await drop(database, JUNE, after)
            assert gone.readings.total() + gone.rejections.total() <= 3
            await holds(practice)
            if after is None:
                break
            steps += 1
            if steps % 2:  # a new process begins at the beginning
                after = None
    await database.close()
    assert steps == 4 + 11
    assert await ask(practice, LEFT) == [(8, 0, 45)]


async def test_a_page_that_does_not_commit_has_dropped_nothing(practice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(*_: object) -> None:
        raise KeyboardInterrupt

    before = await ask(practice, LEFT)
    monkeypatch.setattr(sinks.retention, "_count_expired", dies)
    database = Database(practice, timeout_s=30)
    with pytest.raises(KeyboardInterrupt):
        await drop_readings(database, JUNE, None)
    await database.close()
    assert await ask(practice, LEFT) == before
    await holds(practice)


async def test_no_correction_brings_back_what_is_dropped(practice: str) -> None:
    """The cuff turns out to have been decommissioned, and then not: all that is left of it is judged again."""
    await dropped(practice, JUNE)
    words = [
        ("2025-03-01T00:00", {"deviceId": 1, "currentStatus": "decommissioned"}),
        ("2025-03-01T00:00", {"deviceId": 1, "currentStatus": "withPatient", "recordedAt": "2025-04-01T00:00:00Z"}),
    ]
    await fill(practice, told(DEVICES, words[:1], partition=1), [])
    assert await ask(practice, LEFT) == [(3, 5, 38)]
    await fill(practice, told(DEVICES, words[1:], partition=2), [])
    assert await ask(practice, LEFT) == [(8, 0, 38)]
    await holds(practice)


async def test_what_was_refused_is_dropped_before_news_can_release_it(practice: str) -> None:
    unknown = [("2025-03-09T04:00", {"kind": "heartRate", "deviceId": 99, "heartRate": 60})]
    await fill(practice, [], given(unknown, partition=1))
    await dropped(practice, JUNE)
    await fill(practice, told(DEVICES, [("2025-01-01T00:00", {"deviceId": 99})], partition=1), [])
    assert await ask(practice, "SELECT count(*) FROM readings WHERE subject = 99") == [(0,)]
    await holds(practice)


async def test_a_new_record_of_an_old_reading_is_taken_as_any_other_until_the_next_run(practice: str) -> None:
    """The law knows no retention: what is stored does not depend on when somebody tidied up."""
    await dropped(practice, JUNE)
    await fill(practice, [], given([pressure("2025-03-09T04:30", 120, 80)], partition=1))
    assert await ask(practice, LEFT) == [(9, 0, 38)]
    await holds(practice)
    assert (await dropped(practice, JUNE)).readings.total() == 1
    assert await ask(practice, LEFT) == [(8, 0, 39)]
    await holds(practice)


async def test_what_tells_no_plausible_time_is_as_old_as_its_receipt(practice: str) -> None:
    """And where nobody knows when it was received, as old as its source."""
    new, old = at("2025-07-01T00:00"), at("2025-04-01T00:00")
    values = [
        (old, b"junk"),
        (new, b"junk"),
        (None, b"junk"),
        (old, envelope(taken=at("1999-01-01T00:00"))),
        (new, envelope(taken=at("1999-01-01T00:00"))),
        (old, envelope(taken=at("2025-08-01T00:00"))),
    ]
    records = [Record(Place("archive:aa", 0, n), received, value) for n, (received, value) in enumerate(values)]
    for first_seen, kept in ((new, [1, 2, 4]), (old, [1, 4])):
        name = f"archive:{first_seen:%m}"
        mine = [Record(one.place._replace(source=name), one.received_at, one.value) for one in records]
        await fill(practice, [], mine, first_seen=lambda _, seen=first_seen: seen)
        await dropped(practice, JUNE)
        query = "SELECT source_offset FROM rejections JOIN sources USING (source_id) WHERE source = $1 ORDER BY 1"
        assert [row[0] for row in await ask(practice, query, name)] == kept
    await holds(practice)


async def test_writers_and_retention_at_once_leave_a_ledger_that_holds(
    practice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old readings are sent again while they go: each resend is the duplicate of one that stands, or the reading."""
    monkeypatch.setattr(sinks.retention, "PAGE", 2)
    going = asyncio.Event()

    async def sends(partition: int) -> None:
        database, registry = Database(practice, timeout_s=30), Registry(table_zones())
        async with database.transaction() as connection:
            source = await open_source(connection, RAW, first_seen=JUNE)
            await begin_partition(connection, source, partition, 0)
        offset = 0
        while not going.is_set() or offset < 40:
            day = offset % 20 + 1
            value = envelope(
                kind="bloodPressure", taken=at(f"2025-03-{day:02}T09:30"), deviceId=11, systolic=partition, diastolic=70
            )
            record = Record(Place(RAW, partition, offset), at("2025-04-01T00:00") + timedelta(seconds=offset), value)
            batch = Batch([record], [Move(source, partition, offset, offset + 1)], {RAW: source})
            await patiently(partial(store, batch, database=database, registry=registry, law=LAW))
            offset += 1
            await asyncio.sleep(0.005)
        await database.close()

    async def tidies() -> None:
        for _ in range(4):
            await dropped(practice, JUNE)
        going.set()

    await asyncio.gather(tidies(), *(sends(partition) for partition in (1, 2)))
    await holds(practice)
    await dropped(practice, JUNE)
    assert (await ask(practice, LEFT))[0][:2] == (8, 0)
    await holds(practice)


async def test_who_has_the_registry_before_its_position_is_not_in_the_way(practice: str) -> None:
    """As a change of a device over HTTP has. It gives way before the server would notice a deadlock, and ends one of us."""
    await execute(practice, f"ALTER DATABASE {urlsplit(practice).path[1:]} SET deadlock_timeout = '30s'")
    connection = await asyncpg.connect(practice)
    try:
        async with connection.transaction():
            await have_registry_alone(connection)
            tidying = asyncio.create_task(dropped(practice, JUNE))
            await asyncio.sleep(0.3)  # it has the positions, and waits for the registry
            await connection.execute("UPDATE source_positions SET moved_at = now()", timeout=10)
        assert (await tidying).readings.total() == 33
    finally:
        await connection.close()
    await holds(practice)


# --- the command ------------------------------------------------------------------------------------------------------


async def run(url: str, *arguments: str, **more: object) -> tuple[int, str, str]:
    async with readings("retention", *arguments, env=environment(url, **more)) as process:
        return await process.ended()


async def test_the_command_says_what_it_would_drop_and_what_it_dropped(practice: str) -> None:
    words = """\
33 readings would be dropped, taken before 2025-06-01T00:00:00Z
5 refused records would be dropped, older than 2025-06-01T00:00:00Z
"""
    assert await run(practice, "--before", "2025-06-01T00:00:00Z", "--dry-run") == (0, words, "")
    code, out, err = await run(practice, "--before", "2025-06-01T00:00:00Z", "--json")
    told_then = {
        "dry_run": False,
        "before": "2025-06-01T00:00:00Z",
        "readings_before": "2025-06-01T00:00:00Z",
        "readings": 33,
        "rejections": 5,
    }
    assert (code, json.loads(out), err) == (0, told_then, "")


async def test_days_are_counted_back_from_now(practice: str) -> None:
    """From the option, else from the setting."""
    days = (datetime.now(UTC) - JUNE).days + 1
    for arguments, more in ((["--days", str(days)], {}), ([], {"RETENTION_DAYS": days})):
        code, out, _ = await run(practice, "--dry-run", "--json", *arguments, **more)
        told_then = json.loads(out)
        assert (code, told_then["readings"]) == (0, 33)
        assert timedelta() < JUNE - datetime.fromisoformat(told_then["before"]) <= timedelta(days=1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "say how much to keep: --days N, --before T, or READINGS_RETENTION_DAYS"),
        (["--days", "1", "--before", "2025-06-01T00:00:00Z"], "not together with --days"),
        (["--before", "2999-06-01T00:00:00Z"], "lies in the future"),
        (["--before", "June"], "must be RFC 3339"),
        (["--days", "0"], "greater than or equal to 1"),
    ],
)
async def test_what_is_asked_wrongly_is_refused_and_drops_nothing(
    practice: str, arguments: list[str], says: str
) -> None:
    code, _, err = await run(practice, *arguments)
    assert code == 2
    assert says in " ".join(err.replace("│", "").split())
    assert await ask(practice, LEFT) == [(41, 5, 0)]


# --- on TimescaleDB ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def on_timescale(timescale_database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The practice on TimescaleDB, half of its chunks columnar, its summaries refreshed."""
    insert_what_is_copied(monkeypatch)
    database = Database(timescale_database, timeout_s=30)
    await migrate(database)
    await adopt_parameters(database, parameters(Law(), table_zones()))
    await database.close()
    await opened(timescale_database)
    connection = await asyncpg.connect(timescale_database)
    await connection.execute("CALL refresh_continuous_aggregate('hourly_summaries_utc', NULL, NULL)")
    await connection.execute(
        "SELECT compress_chunk(chunk) FROM show_chunks('readings', older_than => '2025-03-15Z'::timestamptz) AS chunk"
    )
    await connection.close()
    return timescale_database


@pytest.mark.usefixtures("on_timescale")
class TestOnTimescale:
    pytestmark = ON_TIMESCALE

    async def test_chunks_go_once_all_of_them_is_old_enough(self, on_timescale: str) -> None:
        """Weeks begin on Thursdays: of what is older than Tuesday, 18 March, readings go to Thursday the 13th."""
        retained = await dropped(on_timescale, at("2025-03-18T00:00"))
        assert retained.readings_before == at("2025-03-13T00:00")
        assert (retained.readings.total(), retained.rejections.total()) == (22, 3)
        assert await ask(on_timescale, LEFT) == [(19, 2, 25)]
        assert await ask(on_timescale, "SELECT min(reading_timestamp) FROM readings") == [(at("2025-03-13T09:30"),)]

    async def test_the_ledger_holds_and_the_summaries_forget_at_once(self, on_timescale: str) -> None:
        dry = await dropped(on_timescale, JUNE, dry_run=True)
        retained = await dropped(on_timescale, JUNE)
        assert retained == dry
        assert retained.readings_before == at("2025-03-27T00:00")  # the end of the last that there is
        assert await ask(on_timescale, LEFT) == [(8, 0, 38)]
        standing = (
            "SELECT date_trunc('hour', min(reading_timestamp)), count(*) FROM readings WHERE patient_id IS NOT NULL"
        )
        summed = await ask(on_timescale, "SELECT min(hour_utc), sum(readings)::bigint FROM hourly_summaries_utc")
        assert summed == await ask(on_timescale, standing)
        assert summed[0][0] == at("2025-06-01T03:00")
        await holds(on_timescale)

    async def test_a_correction_of_what_is_summed_up_and_a_late_reading_are_neither_lost_nor_kept(
        self, on_timescale: str
    ) -> None:
        """Retention brings up to date what it drops, the next refresh what stands; nothing is between the two."""
        await fill(on_timescale, [], given([pressure("2025-03-26T23:30", 120, 80)], partition=1))
        news = [("2025-05-31T00:00", {"patientId": 7, "zipCode": "96813"})]
        await fill(on_timescale, told(PATIENTS, news, partition=1), [])
        await dropped(on_timescale, JUNE)
        stand = "SELECT count(*) FROM readings WHERE patient_id IS NOT NULL"
        connection = await asyncpg.connect(on_timescale)
        await connection.execute("CALL refresh_continuous_aggregate('hourly_summaries_utc', NULL, NULL)")
        summed = await connection.fetch(
            "SELECT local_day, sum(readings)::int FROM daily_summaries GROUP BY 1 ORDER BY 1"
        )
        assert sum(row[1] for row in summed) == await connection.fetchval(stand) == 8
        await connection.close()
        # 1 June 3:59 and 6:00 in Honolulu, 2 June 5:30 in Phoenix.
        assert [(str(day), number) for day, number in summed if day.month < 7] == [("2025-05-31", 2), ("2025-06-01", 1)]
        await holds(on_timescale)

    async def test_the_writers_role_drops_nothing(self, on_timescale: str) -> None:
        """Chunks are the owner's: refused as a whole, with nothing counted."""
        database = Database(on_timescale, timeout_s=30)
        async with database.transaction() as connection:
            await make_roles(connection, [])
        connection = await database.connection()
        try:
            await connection.execute("SET ROLE readings_writer")
            chunks = await chunks_before(connection, JUNE)
            assert chunks
            with pytest.raises(OperatorError, match="42501"):
                await drop_chunk(database, chunks[0])
        finally:
            await connection.execute("RESET ROLE")
            await connection.execute("DROP OWNED BY readings_reader, readings_customer, readings_writer")
            await connection.execute("DROP ROLE readings_reader, readings_customer, readings_writer")
            await database.close()
        assert await ask(on_timescale, LEFT) == [(41, 5, 0)]
        await holds(on_timescale)

    async def test_where_no_chunk_is_old_enough_it_says_so(self, on_timescale: str) -> None:
        retained = await dropped(on_timescale, at("2025-02-27T12:00"))
        assert (retained.readings_before, retained.readings.total()) == (None, 0)
        assert await ask(on_timescale, LEFT) == [(41, 5, 0)]
