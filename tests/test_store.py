"""What the store itself promises: ties told in SQL, and that nothing is moved or taken out but what was read."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import ingest.store
from enrich.rank import set_aside
from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.batch import Batch
from ingest.newest import Newest
from ingest.store import store
from schemas.judgement import Accepted, Entry, ReadingKey
from schemas.kinds import Kind
from schemas.record import Place
from schemas.states import About, State
from schemas.wire import EARLIEST_INSTANT
from sinks.database import Database
from sinks.errors import CollisionError, PositionMovedError
from sinks.ledger import Move, Source, begin_partition, open_source
from sinks.readings import (
    SetAside,
    change_reasons,
    insert_readings,
    insert_rejections,
    remove_readings,
    remove_rejections,
    set_aside_under,
    standing_readings,
)
from sinks.registry import add_states
from tests.build import LAW, NOON, envelope, record
from tests.test_judge import accepted

SOURCES = ("kafka:Z", "kafka:a", "kafka:b")


async def test_a_reading_gives_way_to_one_of_another_source_that_was_received_before_it(migrated: str) -> None:
    """The later batch knows nothing of the first one's source but what stands in the database."""
    database, registry = Database(migrated, timeout_s=10), Registry(table_zones())
    for name, received in (("kafka:one", NOON), ("kafka:two", NOON - timedelta(seconds=1))):
        async with database.transaction() as connection:
            source = await open_source(connection, name, first_seen=NOON)
            await begin_partition(connection, source, 0, 0)
        given = record(envelope(patientId=7), received=received, source=name)
        batch = Batch([given], [Move(source, 0, 0, 1)], {name: source})
        await store(batch, database=database, registry=registry, law=LAW)
    which = "SELECT source FROM {} JOIN sources USING (source_id)"
    assert [row["source"] for row in await database.fetch(which.format("readings"))] == ["kafka:two"]
    assert [row["source"] for row in await database.fetch(which.format("rejections"))] == ["kafka:one"]
    await database.close()


async def waits(database: Database, on: str) -> None:
    """Until somebody waits for a lock of that kind."""
    while not await database.fetch("SELECT FROM pg_locks WHERE NOT granted AND locktype = $1", on):
        await asyncio.sleep(0.01)


async def test_what_is_set_aside_beside_a_reading_that_is_giving_way_is_told_apart_from_the_new_one(
    migrated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One batch takes the reading out while another looks at it: whichever comes second sees what the first has done."""
    database, registry = Database(migrated, timeout_s=10), Registry(table_zones())
    async with database.transaction() as connection:
        sources = {name: await open_source(connection, name, first_seen=NOON) for name in SOURCES}
        for source in sources.values():
            await begin_partition(connection, source, 0, 0)

    async def give(name: str, seconds: int, heart_rate: int) -> None:
        received = NOON + timedelta(seconds=seconds)
        given = record(envelope(patientId=7, heartRate=heart_rate), received=received, source=name)
        batch = Batch([given], [Move(sources[name], 0, 0, 1)], sources)
        its_own = Database(migrated, timeout_s=10)
        await store(batch, database=its_own, registry=registry, law=LAW)
        await its_own.close()

    await give("kafka:a", 1, 60)
    hold, looked, go_on = ingest.store.hold_subjects, asyncio.Event(), asyncio.Event()

    async def hold_when_told(*arguments: Any, **keys: Any) -> None:
        await hold(*arguments, **keys)
        if keys["alone"]:
            looked.set()
            await go_on.wait()

    monkeypatch.setattr(ingest.store, "hold_subjects", hold_when_told)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(give("kafka:b", 0, 61))  # received before it: the one that stands has to give way
        await looked.wait()
        tasks.create_task(give("kafka:Z", 2, 60))  # as the one says that still stands, but not for long
        await waits(database, "advisory")
        go_on.set()
    found = await database.fetch(
        "SELECT source, 'reading' AS became FROM readings JOIN sources USING (source_id)"
        " UNION ALL SELECT source, reason::text FROM rejections JOIN sources USING (source_id) ORDER BY source"
    )
    assert [tuple(row) for row in found] == [
        ("kafka:Z", "conflicting_duplicate"),
        ("kafka:a", "conflicting_duplicate"),
        ("kafka:b", "reading"),
    ]
    await database.close()


async def test_a_newer_reading_is_not_looked_for_and_one_that_stands_all_the_same_is_set_aside_at_the_second_try(
    migrated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this process takes for the newest is a guess: another one may have stored what is newer."""
    database, others = Database(migrated, timeout_s=10), Database(migrated, timeout_s=10)
    async with database.transaction() as connection:
        mine, theirs = [await open_source(connection, name, first_seen=NOON) for name in ("kafka:b", "kafka:a")]
        for source in (mine, theirs):
            await begin_partition(connection, source, 0, 0)
    looked_for: list[int] = []

    async def look(connection: Any, keys: Any) -> Any:
        looked_for.append(len(list(keys)))
        return await standing_readings(connection, keys)

    monkeypatch.setattr(ingest.store, "standing_readings", look)
    registry, newest = Registry(table_zones()), Newest()

    async def give(source: Source, offset: int, minutes: list[int], database: Database, newest: Newest | None) -> None:
        given = [
            record(envelope(patientId=7, taken=NOON + timedelta(minutes=n)), offset=offset + i, source=source.name)
            for i, n in enumerate(minutes)
        ]
        batch = Batch(given, [Move(source, 0, offset, offset + len(given))], {source.name: source})
        await store(batch, database=database, registry=registry, law=LAW, newest=newest)

    await give(mine, 0, [1], database, newest)
    await give(mine, 1, [2, 1, 3], database, newest)
    assert looked_for == [1, 1, 1]  # the first of its patient; then one that is not newer, which stands, held
    await give(theirs, 0, [4], others, None)
    looked_for.clear()
    with pytest.raises(CollisionError):
        await give(mine, 4, [4, 5], database, newest)
    assert looked_for == [0]
    await give(mine, 4, [4, 5], database, newest)
    await give(mine, 6, [6], database, newest)
    assert looked_for == [0, 2, 1, 1]  # all of them, for a while
    looked_for.clear()
    await give(mine, 7, [4, 5, 6], database, Newest())
    assert looked_for == [3, 3], "of whom it hears for the first time, all are looked for"
    fates = await database.fetch("SELECT count(*) FROM readings UNION ALL SELECT count(*) FROM rejections")
    assert [row["count"] for row in fates] == [6, 5]
    await others.close()
    await database.close()


@pytest.fixture
async def database(migrated: str) -> AsyncIterator[Database]:
    made = Database(migrated, timeout_s=10)
    yield made
    await made.close()


async def opened(database: Database) -> dict[str, Source]:
    """Three sources, the first partition of each begun."""
    async with database.transaction() as connection:
        sources = {name: await open_source(connection, name, first_seen=NOON) for name in SOURCES}
        for source in sources.values():
            await begin_partition(connection, source, 0, 0)
    return sources


@pytest.mark.parametrize("wrong", ["behind", "ahead", "one of two", "another partition"])
async def test_a_batch_whose_position_has_moved_stores_nothing(database: Database, wrong: str) -> None:
    """Compare and set: of two owners of a partition only one can write, and a batch is stored whole or not at all."""
    sources = await opened(database)
    source, other = sources["kafka:a"], sources["kafka:b"]
    known = Registry(table_zones())
    first = Batch([record(envelope(patientId=7), source="kafka:a")], [Move(source, 0, 0, 1)], sources)
    await store(first, database=database, registry=known, law=LAW)
    moves = {
        "behind": [Move(source, 0, 0, 2)],
        "ahead": [Move(source, 0, 2, 3)],
        "one of two": [Move(other, 0, 0, 1), Move(source, 0, 0, 2)],
        "another partition": [Move(source, 1, 1, 2)],
    }[wrong]
    again = Batch(
        [record(envelope(patientId=8), offset=1, source="kafka:a"), record(None, offset=2, source="kafka:a")],
        moves,
        sources,
    )
    with pytest.raises(PositionMovedError):
        await store(again, database=database, registry=known, law=LAW)
    positions = await database.fetch("SELECT next_offset FROM source_positions ORDER BY source_id")
    assert [row["next_offset"] for row in positions] == [0, 1, 0]
    assert [row["patient_id"] for row in await database.fetch("SELECT patient_id FROM readings")] == [7]
    assert await database.fetch("SELECT FROM rejections") == []


def line(place: Place, *, taken: datetime = NOON, kind: str = "heartRate", **payload: Any) -> Entry[Accepted]:
    measures = {"weight": 180} if kind == "weight" else {}
    return Entry(place, NOON, accepted(envelope(kind, taken=taken, **{"patientId": 7} | measures | payload)))


ELSEWHERE = [Place("kafka:b", 1, 5), Place("kafka:a", 2, 5), Place("kafka:a", 1, 6)]
"""Each unlike (`kafka:a`, 1, 5) in one part of the place."""


async def test_a_reading_is_taken_out_only_if_it_is_the_one_that_was_read(database: Database) -> None:
    """Another record may have become the reading of that key meanwhile: its source, partition or offset tells."""
    sources = await opened(database)
    stands = line(Place("kafka:a", 1, 5))
    async with database.transaction() as connection:
        await insert_readings(connection, [stands], sources)
    for place in ELSEWHERE:
        with pytest.raises(CollisionError):
            async with database.transaction() as connection:
                await remove_readings(connection, [Entry(place, NOON, stands.judgement)], sources)
    with pytest.raises(CollisionError):
        async with database.transaction() as connection:
            await remove_readings(connection, [line(stands.place, kind="weight")], sources)
    assert len(await database.fetch("SELECT FROM readings")) == 1
    async with database.transaction() as connection:
        await remove_readings(connection, [stands], sources)
    assert await database.fetch("SELECT FROM readings") == []


async def test_readings_of_years_are_found_and_taken_out_together(database: Database) -> None:
    """They are asked for a month at a time; the edges of one belong to it."""
    sources = await opened(database)
    moments = [NOON - timedelta(days=days) for days in (0, 1, 30, 31, 60, 61, 365, 7_000)]
    standing = [line(Place("kafka:a", 0, n), taken=moment) for n, moment in enumerate(moments)]
    by_key = {entry.judgement.key: entry for entry in standing}
    async with database.transaction() as connection:
        await insert_readings(connection, standing, sources)
        assert (await standing_readings(connection, by_key)).by_key == by_key
        assert (await standing_readings(connection, [])).by_key == {}
    moved = Entry(Place("kafka:b", 0, 0), NOON, standing[0].judgement)  # the last to come to: the others were taken out
    with pytest.raises(CollisionError):
        async with database.transaction() as connection:
            await remove_readings(connection, [moved, *standing[1:]], sources)
    assert len(await database.fetch("SELECT FROM readings")) == len(standing)
    async with database.transaction() as connection:
        await remove_readings(connection, standing, sources)
    assert await database.fetch("SELECT FROM readings") == []


async def test_a_rejection_is_relabelled_and_taken_out_by_its_whole_place(database: Database) -> None:
    """Its neighbours in source, partition and offset stay as they are."""
    sources = await opened(database)
    first = line(Place("kafka:Z", 0, 0))
    asked, *others = (set_aside(line(place), first) for place in (Place("kafka:a", 1, 5), *ELSEWHERE))
    async with database.transaction() as connection:
        await insert_rejections(connection, [asked, *others], sources)
        aside = SetAside(sources["kafka:a"].source_id, (1, 5), "duplicate", first.judgement.key, b"")
        await change_reasons(connection, [(aside, "conflicting_duplicate")])
    reasons = "SELECT source, source_partition, source_offset, reason FROM rejections JOIN sources USING (source_id)"
    found = {tuple(row)[:3]: row["reason"] for row in await database.fetch(reasons)}
    assert found == {asked.place: "conflicting_duplicate"} | {other.place: "duplicate" for other in others}
    async with database.transaction() as connection:
        await remove_rejections(connection, [asked], sources)
    assert {tuple(row)[:3] for row in await database.fetch(reasons)} == {other.place for other in others}


async def test_of_a_key_stands_and_is_set_aside_what_has_its_subject_its_kind_and_its_moment(
    database: Database,
) -> None:
    """All three, of a device or a patient, and of the refused only what rule 9 refused."""
    sources = await opened(database)
    later = NOON + timedelta(microseconds=1)
    said = [{}, {"patientId": 8}, {"kind": "weight"}, {"taken": later}, {"deviceId": 1}]
    standing = [line(Place("kafka:a", 0, n), **says) for n, says in enumerate(said)]
    aside = [set_aside(line(Place("kafka:b", 0, n), **says), standing[0]) for n, says in enumerate(said)]
    async with database.transaction() as connection:
        await insert_readings(connection, standing, sources)
        await insert_rejections(connection, aside, sources)
        for entry in standing:
            found = await standing_readings(connection, [entry.judgement.key])
            assert found.by_key == {entry.judgement.key: entry}
        for n, entry in enumerate(standing):
            under = await set_aside_under(connection, [entry.judgement.key])
            assert [(one.place, one.key) for one in under] == [((0, n), entry.judgement.key)]
        await connection.execute("UPDATE rejections SET reason = 'readings_disabled'")
        assert await set_aside_under(connection, [ReadingKey(-7, Kind.HEART_RATE, NOON)]) == []


# --- rule 5: whose an identifier is -----------------------------------------------------------------------------------


CLAIMS = {  # the smallest, one between, the greatest: unlike in what the name says, and the other way round in what counts less
    "effectiveAt": [{"effective": n, "recorded": 9 - n} for n in range(3)],
    "always": [{"effective": n, "recorded": 9 - (n or 0)} for n in (None, 0, 1)],
    "recordedAt": [{"recorded": n, "source": 2 - n} for n in range(3)],
    "source": [{"source": n, "partition": 9 - n} for n in range(3)],
    "partition": [{"partition": n, "offset": 9 - n} for n in (2, 10, 11)],
    "offset": [{"offset": n} for n in (2, 10, 11)],
}


async def test_an_identifier_belongs_to_the_smallest_claim_whatever_order_they_are_told_in(database: Database) -> None:
    """(`effectiveAt`, `recordedAt`, source by code point, partition, offset), told in one batch or in several.

    What decided stands beside the identifier: a claim between a greater and a smaller one comes too late.
    """
    sources, expected, batches = await opened(database), {}, [list[State]() for _ in range(4)]
    orders = list(itertools.permutations(range(3)))
    for n, ((what, claims), order, together) in enumerate(itertools.product(CLAIMS.items(), orders, (True, False))):
        identifier = f"{what} {order} {together}"
        for turn, size in enumerate(order):
            claim = {"effective": 5, "recorded": 5, "source": 0, "partition": 0, "offset": 50 - size} | claims[size]
            effective = claim["effective"]
            place = Place(SOURCES[claim["source"]], claim["partition"], n * 100 + claim["offset"])
            state = State(
                about=About.DEVICE,
                subject_id=1 + size,
                says={"deviceIdentifiers": [{"value": identifier}]},
                effective_at=EARLIEST_INSTANT if effective is None else NOON + timedelta(hours=effective),
                blocking_effective_at=NOON,
                effective_at_sent=True,
                recorded_at=NOON + timedelta(hours=claim["recorded"]),
                place=place,
            )
            batches[0 if together else 1 + turn].append(state)
            if size == 0:
                expected[identifier] = (1, state.effective_at, state.recorded_at, *place)
    for batch in batches:
        async with database.transaction() as connection:
            await add_states(connection, batch, sources)
    found = await database.fetch(
        "SELECT identifier, device_id, effective_at, recorded_at, source, source_partition, source_offset"
        " FROM device_identifiers"
    )
    assert {row[0]: (row[1], row[2].replace(tzinfo=UTC), *tuple(row)[3:]) for row in found} == expected
