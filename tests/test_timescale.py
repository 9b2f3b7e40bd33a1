"""The law on TimescaleDB: late readings and late changes find, and move, what lies in compressed chunks."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, NamedTuple

import asyncpg
import pytest

from enrich.law import Law
from enrich.zones import table_zones
from ingest.correct import PAGE
from ingest.law_parameters import adopt_parameters, parameters
from schemas.judgement import Accepted, Entry
from schemas.record import Place
from sinks.database import Database
from sinks.errors import CollisionError, RefusedRowError
from sinks.hypertable import Storage, arrange
from sinks.ledger import Source
from sinks.migrate import migrate, migrations
from sinks.readings import candidates, insert_readings, load_readings, remove_readings, standing_readings
from tests import test_law_against_oracle
from tests.build import NOON
from tests.conftest import ON_TIMESCALE
from tests.histories import History
from tests.practice import insert_what_is_copied
from tests.test_corrections import Clinic, hour
from tests.test_law_against_oracle import test_the_store_holds_what_the_oracle_says as holds_what_the_oracle_says
from tests.test_law_under_concurrency import unlike
from tests.test_store import line, opened


def on_timescale(test: Any) -> Any:
    for mark in ON_TIMESCALE:
        test = mark(test)
    return test


async def compress(url: str) -> None:
    """Every chunk as a whole."""
    database = Database(url, timeout_s=30)
    try:
        await database.fetch("SELECT compress_chunk(chunk) FROM show_chunks('readings') AS chunk")
        chunks = await database.fetch("SELECT is_compressed FROM timescaledb_information.chunks")
        assert all(chunk["is_compressed"] for chunk in chunks)
    finally:
        await database.close()


@pytest.fixture
async def schema(timescale_database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a database with the schema; what the store would copy is inserted."""
    insert_what_is_copied(monkeypatch)
    database = Database(timescale_database, timeout_s=30)
    await migrate(database)
    await adopt_parameters(database, parameters(Law(), table_zones()))
    await database.close()
    return timescale_database


@pytest.fixture
async def database(schema: str) -> AsyncIterator[Database]:
    made = Database(schema, timeout_s=30)
    yield made
    await made.close()


# --- the schema -------------------------------------------------------------------------------------------------------


@on_timescale
async def test_readings_are_a_hypertable_of_weeks_with_the_one_key_and_few_other_indexes(database: Database) -> None:
    """All migrations run on it, and once is enough."""
    assert await migrate(database) == []
    rows = await database.fetch(
        "SELECT hypertable_name, column_name, time_interval FROM timescaledb_information.dimensions"
        " WHERE hypertable_schema = 'public'"
    )
    assert [tuple(row) for row in rows] == [("readings", "reading_timestamp", timedelta(days=7))]
    indexes = await database.fetch("SELECT indexname FROM pg_indexes WHERE tablename = 'readings' ORDER BY 1")
    assert [row["indexname"] for row in indexes] == [
        "readings_by_patient",
        "readings_by_place",
        "readings_by_reading_id",
        "readings_by_time",
        "readings_key",
    ]


WEEK, DAY = timedelta(days=7), timedelta(days=1)
AS_EVER = Storage(chunk=WEEK, columnstore_after=30 * DAY, refresh_every=timedelta(minutes=5))


@on_timescale
async def test_storage_is_arranged_as_the_settings_say_and_once_is_enough(database: Database) -> None:
    async def arranged(storage: Storage) -> list[str]:
        async with database.transaction() as connection:
            return await arrange(connection, storage)

    assert await arranged(AS_EVER) == ["columnstore: after 30 d", "summaries are refreshed: every 300 s"]
    assert await arranged(AS_EVER) == []
    other = Storage(chunk=DAY, columnstore_after=90 * DAY, refresh_every=timedelta(seconds=30))
    assert await arranged(other) == [
        "chunks to come hold 1 d",
        "columnstore: after 90 d",
        "summaries are refreshed: every 30 s",
    ]
    assert await arranged(other) == []
    never = Storage(chunk=DAY, columnstore_after=None, refresh_every=None)
    assert await arranged(never) == ["columnstore: never", "summaries are refreshed: never"]
    assert await arranged(never) == []


@on_timescale
async def test_the_policies_take_in_whatever_has_changed_however_old(clinic: Clinic) -> None:
    """A reading of last year into a columnar chunk that is summed up already: a window of time would leave it out."""
    async with clinic.database.transaction() as connection:
        await arrange(connection, AS_EVER)

    async def in_turn() -> None:
        """What TimescaleDB's scheduler does in the background."""
        await clinic.database.close()
        connection = await asyncpg.connect(clinic.url)
        try:
            for name in ("policy_refresh_continuous_aggregate", "policy_compression"):
                job = await connection.fetchval(
                    "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = $1", name
                )
                await connection.execute(f"CALL run_job({job})")
        finally:
            await connection.close()

    async def summed() -> list[tuple[int, int]]:
        query = "SELECT readings, heart_rate_bpm_sum FROM hourly_summaries_utc"
        return [tuple(row) for row in await clinic.database.fetch(query)]

    year = timedelta(days=365)
    await clinic.device(1, patientId=7, since=hour(0) - 2 * year)
    await clinic.give(heartRate=60, taken=hour(0) - year, received=hour(0) - year)
    await in_turn()
    assert [
        row[0]
        for row in await clinic.database.fetch(
            "SELECT is_compressed FROM timescaledb_information.chunks WHERE hypertable_name = 'readings'"
        )
    ] == [True]
    await clinic.give(heartRate=70, taken=hour(0.25) - year)
    assert await summed() == [(1, 60)]
    await in_turn()
    assert await summed() == [(2, 130)]


@on_timescale
async def test_what_was_columnar_before_columns_knew_patients_goes_on_as_it_was(clinic: Clinic) -> None:
    """Chunks are divided as they were when they became columnar, until they are made so anew."""
    (by_subject,) = [one.sql for one in migrations() if one.number == 11]
    (by_patient,) = [one.sql for one in migrations() if one.number == 19]

    async def divided() -> list[str]:
        rows = await clinic.database.fetch("SELECT segmentby FROM timescaledb_information.chunk_columnstore_settings")
        return [row["segmentby"] for row in rows]

    await clinic.database.fetch(by_subject[by_subject.index("DO $$") :])
    await clinic.device(1, patientId=7, since=hour(-9))
    given = [await clinic.give(taken=hour(n), received=hour(n)) for n in range(3)]
    await compressed(clinic)
    await clinic.database.fetch(by_patient)
    assert await divided() == ["subject"]
    again = await clinic.give(taken=hour(1), received=hour(3))
    first = await clinic.give(taken=hour(2), received=hour(1), heartRate=99)
    await clinic.device(1, patientId=8, since=hour(1))
    await clinic.correct()
    assert await clinic.became(*given, again, first) == ["reading"] * 2 + [
        "conflicting_duplicate",
        "duplicate",
        "reading",
    ]
    assert [(await clinic.row(place))["patient_id"] for place in (*given[:2], first)] == [7, 8, 8]
    await compressed(clinic)
    assert await divided() == ["subject"]
    await clinic.database.fetch("SELECT compress_chunk(decompress_chunk(chunk)) FROM show_chunks('readings') AS chunk")
    assert await divided() == ["subject,patient_id"]
    assert await unlike_the_oracle(clinic) == []


# --- what the store and corrections ask, of a compressed chunk --------------------------------------------------------


class Stands(NamedTuple):
    reading: Entry[Accepted]
    others: list[Entry[Accepted]]
    """Its neighbours, unlike it in subject, kind or time."""
    sources: dict[str, Source]


@pytest.fixture
async def stands(schema: str, database: Database) -> Stands:
    """A reading among others, all of them compressed."""
    sources = await opened(database)
    reading = line(Place("kafka:a", 0, 0))
    others = [line(Place("kafka:a", 0, n), taken=NOON + timedelta(seconds=n)) for n in range(1, 50)]
    others += [line(Place("kafka:b", 0, 0), kind="weight"), line(Place("kafka:b", 0, 1), patientId=8)]
    async with database.transaction() as connection:
        await insert_readings(connection, [reading, *others], sources)
    await database.close()
    await compress(schema)
    return Stands(reading, others, sources)


async def places(database: Database) -> set[Place]:
    rows = await database.fetch(
        "SELECT source, source_partition, source_offset FROM readings JOIN sources USING (source_id)"
    )
    return {Place(*row) for row in rows}


@on_timescale
async def test_a_key_that_is_taken_is_a_collision_and_never_unstorable(database: Database, stands: Stands) -> None:
    """A violation in compressed rows names neither table nor constraint."""
    again = Entry(Place("kafka:b", 0, 9), NOON, stands.reading.judgement)
    with pytest.raises(CollisionError):
        async with database.transaction() as connection:
            await insert_readings(connection, [again], stands.sources)
    assert again.place not in await places(database)


@on_timescale
async def test_what_a_chunk_refuses_is_told_as_of_the_table(database: Database) -> None:
    """The reason stands in the ledger, which is the same however many chunks there were before."""
    sources = await opened(database)
    one = line(Place("kafka:a", 0, 0))
    async with database.transaction() as connection:
        await insert_readings(connection, [one], sources)
    with pytest.raises(CollisionError, match=r"^SQLSTATE 23505 table_name readings constraint_name readings_key$"):
        async with database.transaction() as connection:
            await insert_readings(connection, [one], sources)
    with pytest.raises(RefusedRowError, match=r"^SQLSTATE 23514 table_name readings constraint_name readings_check$"):
        async with database.transaction() as connection:
            await connection.execute("UPDATE readings SET patient_id = 8")


@on_timescale
async def test_what_gives_way_is_taken_out_once_and_its_key_is_free(database: Database, stands: Stands) -> None:
    with pytest.raises(CollisionError):
        async with database.transaction() as connection:
            await remove_readings(
                connection, [Entry(Place("kafka:b", 0, 9), NOON, stands.reading.judgement)], stands.sources
            )
    async with database.transaction() as connection:
        await remove_readings(connection, [stands.reading], stands.sources)
    with pytest.raises(CollisionError):
        async with database.transaction() as connection:
            await remove_readings(connection, [stands.reading], stands.sources)
    other = Entry(Place("kafka:b", 0, 9), NOON, stands.reading.judgement)
    async with database.transaction() as connection:
        await insert_readings(connection, [other], stands.sources)
    assert await places(database) == {entry.place for entry in [other, *stands.others]}


@on_timescale
async def test_what_is_taken_out_leaves_other_chunks_compressed(
    schema: str, database: Database, stands: Stands
) -> None:
    """And of its own chunk other subjects: to unpack more would reach the limit that ends a transaction."""
    elsewhere = line(Place("kafka:b", 0, 9), taken=NOON - timedelta(days=30))
    async with database.transaction() as connection:
        await insert_readings(connection, [elsewhere], stands.sources)
    await database.close()
    await compress(schema)
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 51")
        await remove_readings(connection, [stands.reading], stands.sources)
    partial = "SELECT status & 8 > 0 FROM _timescaledb_catalog.chunk WHERE compressed_chunk_id IS NOT NULL ORDER BY id"
    assert [row[0] for row in await database.fetch(partial)] == [True, False]


@on_timescale
async def test_a_correction_reads_the_readings_of_a_subject_in_the_order_of_their_key(
    database: Database, stands: Stands
) -> None:
    key = stands.others[9].judgement.key
    async with database.transaction() as connection:
        found = await load_readings(
            connection, "readings_of_subject", -7, 7, None, hour(-1), key.kind, key.reading_timestamp, 12
        )
    assert found.entries == stands.others[10:22]


@on_timescale
async def test_what_stands_is_found(database: Database, stands: Stands) -> None:
    async with database.transaction() as connection:
        found = await standing_readings(
            connection, [entry.judgement.key for entry in [stands.reading, stands.others[-1]]]
        )
    assert list(found.by_key.values()) == [stands.others[-1], stands.reading]


@on_timescale
async def test_what_is_about_to_be_arranged_anew_is_found(database: Database, stands: Stands) -> None:
    async with database.transaction() as connection:
        standing, aside = await candidates(connection, [stands.reading.judgement.key])
    assert (standing.entries, aside.entries) == ([stands.reading], [])


# --- the law ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def clinic(schema: str) -> AsyncIterator[Clinic]:
    made = Clinic(schema, PAGE)
    yield made
    await made.database.close()


async def compressed(clinic: Clinic) -> None:
    await clinic.database.close()
    await compress(clinic.url)


async def unlike_the_oracle(clinic: Clinic) -> list[str]:
    await clinic.database.close()
    return await unlike(clinic.url, History(tuple(clinic.records), tuple(clinic.told)), seen=lambda _: NOON)


@on_timescale
async def test_what_is_sent_again_is_set_aside(clinic: Clinic) -> None:
    first = await clinic.give(patientId=7, heartRate=60)
    await compressed(clinic)
    same = await clinic.give(patientId=7, heartRate=60, received=hour(1))
    other = await clinic.give(patientId=7, heartRate=61, received=hour(2))
    assert await clinic.became(first, same, other) == ["reading", "duplicate", "conflicting_duplicate"]
    assert await unlike_the_oracle(clinic) == []


@on_timescale
async def test_a_reading_gives_way_to_one_received_before_it(clinic: Clinic) -> None:
    """And the reasons of those set aside beside it follow."""
    late = await clinic.give(patientId=7, heartRate=60, received=hour(2))
    later = await clinic.give(patientId=7, heartRate=61, received=hour(3))
    assert await clinic.became(late, later) == ["reading", "conflicting_duplicate"]
    await compressed(clinic)
    first = await clinic.give(patientId=7, heartRate=61, received=hour(1))
    assert await clinic.became(first, late, later) == ["reading", "conflicting_duplicate", "duplicate"]
    assert await unlike_the_oracle(clinic) == []


@on_timescale
async def test_a_late_decommission_takes_back_readings_and_is_itself_taken_back(clinic: Clinic) -> None:
    """Of many in one chunk those received from its moment on, in either direction."""
    await clinic.device(1, since=hour(-9))
    given = [await clinic.give(taken=hour(n), received=hour(n)) for n in range(10)]
    await compressed(clinic)
    await clinic.device(1, currentStatus="decommissioned", since=hour(4))
    await clinic.correct()
    assert await clinic.became(*given) == ["reading"] * 4 + ["device_decommissioned"] * 6
    assert await unlike_the_oracle(clinic) == []
    await compressed(clinic)
    await clinic.device(1, currentStatus="withPatient", since=hour(4), recorded=hour(1))
    await clinic.correct()
    assert await clinic.became(*given) == ["reading"] * 10
    assert await unlike_the_oracle(clinic) == []


@on_timescale
async def test_a_patient_that_is_told_late_is_written_into_what_stands(clinic: Clinic) -> None:
    await clinic.device(1, since=hour(-9))
    given = [await clinic.give(taken=hour(n), received=hour(n)) for n in range(4)]
    await compressed(clinic)
    await clinic.device(1, patientId=7, since=hour(2))
    await clinic.patient(7, zipCode="19137", since=hour(-9))
    await clinic.correct()
    assert [(await clinic.row(place))["patient_id"] for place in given] == [None, None, 7, 7]
    assert await unlike_the_oracle(clinic) == []


@pytest.fixture
def all_is_compressed_at_every_step(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each batch and each page of corrections."""
    for name in ("store", "correct"):
        monkeypatch.setattr(
            test_law_against_oracle, name, then_compress(getattr(test_law_against_oracle, name), schema)
        )


def then_compress(step: Any, url: str) -> Any:
    async def both(*arguments: Any, database: Database, **named: Any) -> Any:
        done = await step(*arguments, database=database, **named)
        await database.close()
        await compress(url)
        return done

    return both


@on_timescale
@pytest.mark.usefixtures("all_is_compressed_at_every_step")
@pytest.mark.parametrize("seed", range(5))
async def test_the_store_holds_what_the_oracle_says(schema: str, seed: int) -> None:
    await holds_what_the_oracle_says(schema, seed)
