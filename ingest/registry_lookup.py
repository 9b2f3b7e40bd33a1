"""What the registry holds of one device or patient as of a moment, and the state that says it, field by field."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from enrich.as_of import Said, as_of, changes, customer_of_patient, history, home, value_of
from enrich.law import Law
from enrich.zones import ZipAnswer, Zones, offset_s
from schemas.reasons import Reason
from schemas.states import About, State
from sinks.database import Database
from sinks.told import Owned, owners_of, states_of

DEVICE_FIELDS: Final = (
    "deviceIdentifiers",
    "currentStatus",
    "disabledReadings",
    "patientId",
    "siteId",
    "platformSite",
    "customerId",
    "note",
)
PATIENT_FIELDS: Final = ("externalIdentifier", "zipCode", "country", "customerId")

Fields = dict[str, Said | None]
"""What each field says as of a moment; None: nothing said it. One that counts from later covers the time before."""


class Home(NamedTuple):
    """A patient's zone at a moment: what `patient_time_zone_offset` of a reading taken then is."""

    answer: ZipAnswer
    offset_s: int | None


@dataclass(frozen=True, slots=True)
class DeviceFound:
    fields: Fields
    states: int
    identifiers: list[Owned]
    """Every identifier that its states ever named, with the device that it belongs to."""
    refuses: Reason | None
    """Why a reading received at that moment is refused."""


@dataclass(frozen=True, slots=True)
class PatientFound:
    fields: Fields
    states: int
    home: Home


async def find_device(database: Database, device_id: int, *, at: datetime, law: Law) -> DeviceFound | None:
    """The device as of `at`; None if no state tells of it."""
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        states = await states_of(connection, About.DEVICE, device_id)
        owned = await owners_of(connection, {identifier for state in states for identifier in state.identifiers})
    return device_as_of(states, owned, at=at, law=law) if states else None


def device_as_of(states: Sequence[State], owned: list[Owned], *, at: datetime, law: Law) -> DeviceFound:
    """As rule 6 takes it."""
    told = changes(states)
    fields = {name: as_of(history(told, name), at) for name in DEVICE_FIELDS}
    refuses = None
    if value_of(fields["currentStatus"]) in law.blocked_statuses:
        refuses = Reason.DEVICE_DECOMMISSIONED
    elif value_of(fields["disabledReadings"]):
        refuses = Reason.READINGS_DISABLED
    return DeviceFound(fields, len(states), owned, refuses)


async def find_patient(database: Database, patient_id: int, *, at: datetime, zones: Zones) -> PatientFound | None:
    """The patient as of `at`; None if no state tells of them."""
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        states = await states_of(connection, About.PATIENT, patient_id)
    return patient_as_of(states, at=at, zones=zones) if states else None


def patient_as_of(states: Sequence[State], *, at: datetime, zones: Zones) -> PatientFound:
    """As rules 7 and 8 take them: the first zip code, country and all, and the first customer cover the time before."""
    recorded = changes(states)
    told = {name: history(recorded, name) for name in PATIENT_FIELDS}
    fields = {name: as_of(told[name], at) for name in PATIENT_FIELDS}
    fields["zipCode"], fields["country"] = home(told["zipCode"], told["country"], at)
    fields["customerId"] = customer_of_patient(told["customerId"], at)
    answer = zones.of(value_of(fields["zipCode"]), value_of(fields["country"]))
    return PatientFound(fields, len(states), Home(answer, None if answer.zone is None else offset_s(answer.zone, at)))
