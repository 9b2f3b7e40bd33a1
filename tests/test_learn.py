"""The registry, learnt as it is asked for: who is not known yet is never taken for nobody."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

import enrich.registry
from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.learn import asked, begin, hold, learn_wanted
from schemas.states import NOBODY, Names
from sinks.database import Database
from sinks.errors import OperatorError
from sinks.registry import change_law
from tests.build import NOON, envelope
from tests.test_corrections import PAGE, Clinic

LATER = NOON + timedelta(days=1)


@pytest.fixture
async def clinic(migrated: str) -> AsyncIterator[Clinic]:
    made = Clinic(migrated, PAGE)
    yield made
    await made.database.close()


async def settled(clinic: Clinic) -> None:
    async with clinic.database.transaction() as connection:
        await hold(connection, clinic.registry, since=clinic.registry.version)
        await learn_wanted(connection, clinic.registry)


async def test_whoever_is_asked_for_in_vain_is_wanted_until_learnt(clinic: Clinic) -> None:
    await clinic.device(3, deviceIdentifiers=[{"value": "A"}], patientId=7)
    await clinic.patient(7, zipCode="19137")
    registry = clinic.registry = Registry(table_zones())
    assert (registry.owner("A"), registry.owner("Z"), registry.device(9, at=LATER)) == (None, None, None)
    assert (registry.missed, registry.wanted) == (3, Names(frozenset({"A", "Z"}), frozenset({9})))
    await settled(clinic)
    assert registry.wanted == NOBODY
    missed = registry.missed
    assert (registry.owner("A"), registry.owner("Z"), registry.device(9, at=LATER)) == (3, None, None)
    # Whose an identifier is, and who had the device, come with it.
    device, patient = registry.device(3, at=LATER), registry.patient(7, at=LATER)
    assert device is not None
    assert (device.patient_id, patient.time_zone) == (7, "America/New_York")
    assert registry.missed == missed


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


async def test_a_registry_of_too_many_begins_anew_and_answers_as_ever(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Identifiers can be made up without end; memory has one."""
    monkeypatch.setattr(enrich.registry, "_MOST", 20)
    await clinic.device(1, deviceIdentifiers=[{"value": "A"}])
    for number in range(15):
        names = [{"deviceIdentifier": f"{number}-{made_up}"} for made_up in range(5)]
        taken = NOON - timedelta(minutes=number)
        await clinic.give_together([envelope(taken=taken, **name) for name in [*names, {"deviceIdentifier": "A"}]])
        assert len(clinic.registry._owners) <= 20 + len(names) + 1
    await clinic.holds()


async def test_nothing_is_learnt_at_a_version_that_another_task_has_left(clinic: Clinic) -> None:
    """A lock is lost with its connection: what was read under it may be old by now."""
    await clinic.device(1, patientId=7)
    registry = clinic.registry = Registry(table_zones())
    registry.device(1, at=LATER)
    async with clinic.database.transaction() as connection:
        await hold(connection, registry, since=registry.version)
        fetch = connection.fetch

        class Lost:
            """What answers once more before it is known to be gone."""

            async def fetch(self, *arguments: object) -> object:
                rows = await fetch(*arguments)
                registry.forget(NOBODY, version=registry.version + 1)
                return rows

        await learn_wanted(Lost(), registry)  # type: ignore[arg-type]
    assert registry.wanted == Names(devices=frozenset({1}))


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
