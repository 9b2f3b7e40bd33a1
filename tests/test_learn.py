"""The registry, learnt as it is asked for: who is not known yet is never taken for nobody."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

import enrich.registry
import ingest.learn
import sinks.told
from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.backfill_run import settle
from ingest.batch import Batch
from ingest.judging import Ahead
from ingest.law_parameters import adopt_parameters, parameters
from ingest.learn import asked, begin, hold, learn
from ingest.newest import Newest
from ingest.patience import Patience
from ingest.pieces import store_in_pieces
from ingest.settings import Settings, SettingsError
from ingest.store import store
from schemas.judgement import Entry
from schemas.record import Place, Record
from schemas.states import NOBODY, Names
from sinks.copy_format import row_of
from sinks.database import Connection, Database
from sinks.errors import OperatorError, RefusedRowError
from sinks.ledger import Move
from sinks.registry import change_law
from tests.build import LAW, NOON, SOURCE, envelope
from tests.test_corrections import PAGE, Clinic
from tests.test_judge import accepted

LATER = NOON + timedelta(days=1)


@pytest.fixture
async def clinic(migrated: str) -> AsyncIterator[Clinic]:
    made = Clinic(migrated, PAGE)
    yield made
    await made.database.close()


async def settled(clinic: Clinic, names: Names = NOBODY) -> None:
    async with clinic.database.transaction() as connection:
        await hold(connection, clinic.registry, since=clinic.registry.version)
        await learn(connection, clinic.registry, names)


async def test_whoever_is_asked_for_in_vain_is_to_be_learnt(clinic: Clinic) -> None:
    await clinic.device(3, deviceIdentifiers=[{"value": "A"}], patientId=7)
    await clinic.patient(7, zipCode="19137")
    registry = clinic.registry = Registry(table_zones())
    assert (registry.owner("A"), registry.owner("Z"), registry.device(9, at=LATER)) == (None, None, None)
    wanted = registry.take_wanted()
    assert (registry.missed, wanted) == (3, Names(frozenset({"A", "Z"}), frozenset({9})))
    assert registry.take_wanted() == NOBODY
    await settled(clinic, wanted)
    assert (registry.owner("A"), registry.owner("Z"), registry.device(9, at=LATER)) == (3, None, None)
    device = registry.device(3, at=LATER)  # whose an identifier is comes with it
    assert device is not None
    assert device.patient_id == 7
    assert (registry.missed, registry.lacking(wanted)) == (3, NOBODY)


async def test_of_many_all_are_learnt(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.learn, "_AT_ONCE", 2)
    for device_id in range(1, 6):
        await clinic.device(device_id, deviceIdentifiers=[{"value": str(device_id)}])
    everybody = Names(frozenset("12345"), frozenset(range(1, 9)), frozenset({7, 8, 9}))
    clinic.registry = Registry(table_zones())
    await settled(clinic, everybody)
    assert clinic.registry.lacking(everybody) == NOBODY
    assert [clinic.registry.owner(str(device_id)) for device_id in range(1, 6)] == [1, 2, 3, 4, 5]


async def test_of_those_who_had_a_device_only_the_one_asked_for_is_learnt(clinic: Clinic) -> None:
    """A scale in a waiting room has had thousands."""
    for patient_id in range(1, 6):
        await clinic.device(1, since=NOON + timedelta(hours=patient_id), patientId=patient_id)
        await clinic.patient(patient_id, zipCode="19137")
    await clinic.give(taken=NOON + timedelta(hours=3.5), received=LATER)
    assert clinic.registry.lacking(Names(patients=frozenset(range(1, 6)))) == Names(patients=frozenset({1, 2, 4, 5}))
    await clinic.holds()


async def test_what_is_told_later_of_nobody_is_learnt(clinic: Clinic) -> None:
    assert await clinic.became(await clinic.give(deviceIdentifier="B")) == ["unknown_device"]
    await clinic.device(4, deviceIdentifiers=[{"value": "B"}])
    assert await clinic.became(await clinic.give(deviceIdentifier="B", taken=LATER)) == ["reading"]
    await clinic.correct()
    await clinic.holds()


async def test_only_those_that_changed_are_forgotten(clinic: Clinic) -> None:
    for device_id in (1, 2):
        await clinic.device(device_id)
        await clinic.give(deviceId=device_id)
    await clinic.device(2, currentStatus="decommissioned")
    missed = clinic.registry.missed
    await settled(clinic)
    clinic.registry.device(1, at=LATER)
    assert clinic.registry.missed == missed
    clinic.registry.device(2, at=LATER)
    assert clinic.registry.missed == missed + 1


async def test_of_nobodies_not_too_many_are_remembered(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    """Identifiers can be made up without end; memory has one."""
    monkeypatch.setattr(enrich.registry, "_MOST_NOBODIES", 20)
    await clinic.device(1, deviceIdentifiers=[{"value": "A"}])
    for number in range(15):
        names = [{"deviceIdentifier": f"{number}-{made_up}"} for made_up in range(5)]
        taken = NOON - timedelta(minutes=number)
        await clinic.give_together([envelope(taken=taken, **name) for name in [*names, {"deviceIdentifier": "A"}]])
        assert len(clinic.registry._owners) <= 20 + 2 * len(names) + 1
    await clinic.holds()


async def test_nobodies_are_not_forgotten_while_somebody_waits_for_an_answer(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who names more of them than are remembered would ask for ever, since other tasks begin their transactions."""
    monkeypatch.setattr(enrich.registry, "_MOST_NOBODIES", 3)
    registry, names, asking = Registry(table_zones()), [f"made up {number}" for number in range(10)], 0

    def ask() -> list[int | None]:
        nonlocal asking
        asking += 1
        assert asking < 5, "it asks on and on"
        registry.forget_nobodies()  # as another task would between two look-ups
        return [registry.owner(name) for name in names]

    async with clinic.database.transaction() as connection:
        await hold(connection, registry, since=registry.version)
        assert await asked(connection, registry, ask) == [None] * len(names)
    assert len(registry._owners) == len(names)
    registry.forget_nobodies()
    assert not registry._owners


async def test_nothing_is_learnt_at_a_version_that_another_task_has_left(clinic: Clinic) -> None:
    """A lock is lost with its connection: what was read under it may be old by now."""
    await clinic.device(1, patientId=7)
    registry, names = Registry(table_zones()), Names(devices=frozenset({1}))
    async with clinic.database.transaction() as connection:
        await hold(connection, registry, since=registry.version)
        fetch = connection.fetch

        class Lost:
            """What answers once more before it is known to be gone."""

            async def fetch(self, *arguments: object) -> object:
                rows = await fetch(*arguments)
                registry.forget(NOBODY, version=registry.version + 1)
                return rows

        await learn(Lost(), registry, names)
    assert registry.lacking(names) == names


async def test_one_name_that_cannot_be_looked_up_is_one_record_s_trouble(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    device_ids_of = sinks.told.device_ids_of

    async def refusing(connection: Connection, identifiers: Collection[str]) -> dict[str, int]:
        if "poison" in identifiers:
            raise RefusedRowError("the database does not take it")
        return await device_ids_of(connection, identifiers)

    monkeypatch.setattr(sinks.told, "device_ids_of", refusing)
    await clinic.device(1, deviceIdentifiers=[{"value": "A"}])
    clinic.registry = Registry(table_zones())
    who = ["B", "A", "poison", "C", "A", "D"]
    place = await clinic.place(SOURCE, 0, "readings")
    records = [
        Record(Place(SOURCE, 0, number), NOON, envelope(deviceIdentifier=name, taken=NOON - timedelta(hours=number)))
        for number, name in enumerate(who)
    ]
    batch = Batch(records, [Move(clinic.sources[SOURCE], 0, 0, len(who))], clinic.sources)

    async def store_piece(piece: Batch) -> None:
        await store(piece, database=clinic.database, registry=clinic.registry, law=LAW)

    assert place.offset == 0
    await store_in_pieces(batch, store_piece, patiently=Patience())
    unknown, stored = "unknown_device", "reading"
    assert await clinic.became(*(record.place for record in records)) == [
        unknown, stored, "unstorable", unknown, stored, unknown
    ]  # fmt: skip


async def test_what_is_judged_ahead_is_settled_by_what_is_told_meanwhile(clinic: Clinic) -> None:
    """And by what another batch has learnt between: who is learnt for one is asked for by all."""
    for device_id in (1, 2, 3):
        await clinic.device(device_id, since=NOON)
    await settled(clinic, Names(devices=frozenset({1, 2})))
    await clinic.place(SOURCE, 0, "readings")
    batches = [
        Batch([Record(Place(SOURCE, 0, n), LATER, envelope(deviceId=who)) for n, who in enumerate(device_ids)], [],
              clinic.sources)
        for device_ids in ((1, 2, 9), (3, 1, 2, 9))
    ]  # fmt: skip
    ahead = Ahead(clinic.registry, LAW, Newest(), at_once=1)
    await asyncio.gather(*map(ahead.judge, batches))  # one waits for its turn, and the next is begun already
    await clinic.device(2, since=NOON, currentStatus="decommissioned")
    fates = []
    for batch in batches:
        judging = ahead.taken(batch)
        assert judging is not None
        assert ahead.taken(batch) is None, "what is stored again is judged anew"
        async with clinic.database.transaction() as connection:
            entries = await judging.settled(connection)
        fates.append([getattr(entry.judgement, "reason", "reading") for entry in entries])
    assert fates == [
        ["reading", "device_decommissioned", "unknown_device"],
        ["reading", "reading", "device_decommissioned", "unknown_device"],
    ]


async def test_a_row_made_ahead_is_stored_only_of_what_is_judged_the_same_in_its_turn(clinic: Clinic) -> None:
    """The device has gone to somebody else between: what stands is by what is known now, and the other row as made."""
    for device_id in (1, 2):
        await clinic.device(device_id, since=NOON, patientId=7)
    await clinic.place(SOURCE, 0, "readings")
    newest = Newest()
    ahead = Ahead(clinic.registry, LAW, newest)

    def batch(offset: int, taken: datetime) -> Batch:
        given = [
            Record(Place(SOURCE, 0, offset + n), LATER + timedelta(hours=1), envelope(deviceId=device_id, taken=taken))
            for n, device_id in enumerate((1, 2))
        ]
        return Batch(given, [Move(clinic.sources[SOURCE], 0, offset, offset + 2)], clinic.sources)

    first, second = batch(0, LATER), batch(2, LATER + timedelta(minutes=10))
    named = {"database": clinic.database, "registry": clinic.registry, "law": LAW, "newest": newest, "ahead": ahead}
    await store(first, **named)
    await ahead.judge(second)
    (judging,) = ahead._begun
    assert None not in [entry.row for entry in judging.entries]
    marked = accepted(
        envelope(deviceId=2, taken=LATER + timedelta(minutes=10), heartRate=99), clinic.registry, received=LATER
    )
    judging.entries[1].row = row_of(Entry(second.records[1].place, LATER, marked), clinic.sources)
    await clinic.device(1, since=LATER + timedelta(minutes=5), patientId=8)
    await store(second, **named)
    assert judging.entries[0].row is None
    stored = await clinic.database.fetch(
        "SELECT device_id, patient_id, heart_rate_bpm FROM readings WHERE source_offset > 1 ORDER BY 1"
    )
    assert [tuple(row) for row in stored] == [(1, 8, 60), (2, 7, 99)]


async def test_a_database_that_has_lost_what_it_told_ends_the_process(clinic: Clinic) -> None:
    await clinic.device(1, patientId=7)
    await clinic.give()
    async with clinic.database.transaction() as connection:
        await connection.execute("UPDATE registry_version SET version = version - 1")
    with pytest.raises(OperatorError, match="knows less of the registry"):
        await clinic.give(taken=LATER)


async def test_an_answer_is_given_when_nobody_is_asked_for_in_vain(clinic: Clinic) -> None:
    await clinic.device(1, patientId=7)
    registry, answers = Registry(table_zones()), []

    def ask() -> int | None:
        device = registry.device(1, at=LATER)
        answers.append(device and device.patient_id)
        return answers[-1]

    async with clinic.database.transaction() as connection:
        await hold(connection, registry, since=registry.version)
        assert await asked(connection, registry, ask) == 7
        assert await asked(connection, registry, ask) == 7
    assert answers == [None, 7, 7]


async def test_a_law_changed_since_the_beginning_is_noticed(clinic: Clinic) -> None:
    database, registry = Database(clinic.url, timeout_s=10), Registry(table_zones())
    await begin(database, registry)
    async with database.transaction() as connection:
        await change_law(connection)
    with pytest.raises(OperatorError, match="law parameters were changed"):
        async with database.transaction() as connection:
            await hold(connection, registry, since=registry.version)
    await database.close()


async def test_corrections_after_a_backfill_are_by_the_law_that_is_stored(clinic: Clinic) -> None:
    """The files may take hours to read; what another law asks for is left to those who have it."""
    settings = Settings(database_url=clinic.url)
    await adopt_parameters(clinic.database, parameters(replace(LAW, future_limit=timedelta(hours=1)), table_zones()))
    pending = await clinic.pending()
    with pytest.raises(SettingsError):
        await settle(settings, table_zones(), stop=asyncio.Event())
    assert pending
    assert await clinic.pending() == pending
