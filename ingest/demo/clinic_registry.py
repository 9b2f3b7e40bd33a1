"""The demo's clinic: its patients, its devices, and what the registry is told of them.

Nothing here asks `enrich`: zones appear only as what a wall clock there shows, by the published rules of 2026.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

from schemas.kinds import Kind
from schemas.states import About

OPENING: Final = datetime(2026, 2, 16, 14, tzinfo=UTC)
"""From when on the clinic's registry speaks."""

# What happens to devices and patients; the readings are laid around these moments.
DECOMMISSIONED_AT: Final = datetime(2026, 10, 29, 15, tzinfo=UTC)
DISABLED_AT: Final = datetime(2026, 10, 27, 12, tzinfo=UTC)
ENABLED_AT: Final = datetime(2026, 10, 31, 12, tzinfo=UTC)
RETURNED_AT: Final = datetime(2026, 10, 27, 16, tzinfo=UTC)
HANDED_ON_AT: Final = datetime(2026, 10, 29, 18, 30, tzinfo=UTC)
MOVED_AT: Final = datetime(2026, 10, 30, 15, tzinfo=UTC)
ZIP_TOLD_AT: Final = datetime(2026, 10, 28, 9, tzinfo=UTC)
ZIP_WITHDRAWN_AT: Final = datetime(2026, 10, 29, 9, tzinfo=UTC)
REGISTERED_AT: Final = datetime(2026, 10, 30, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class WallClock:
    """What the clocks of a place show in 2026.

    Where daylight saving is kept, it is one hour from 02:00 of 8 March to 02:00 of 1 November, local time (Energy
    Policy Act of 2005: second Sunday of March, first Sunday of November).
    """

    standard_s: int
    saves_daylight: bool

    def offset_s(self, at: datetime) -> int:
        """Seconds east of UTC."""
        standard = timedelta(seconds=self.standard_s)
        begins = datetime(2026, 3, 8, 2, tzinfo=UTC) - standard
        ends = datetime(2026, 11, 1, 1, tzinfo=UTC) - standard
        return self.standard_s + (3_600 if self.saves_daylight and begins <= at < ends else 0)


EASTERN: Final = WallClock(-18_000, saves_daylight=True)
CENTRAL: Final = WallClock(-21_600, saves_daylight=True)
MOUNTAIN: Final = WallClock(-25_200, saves_daylight=True)
ARIZONA: Final = WallClock(-25_200, saves_daylight=False)
PACIFIC: Final = WallClock(-28_800, saves_daylight=True)
ALASKA: Final = WallClock(-32_400, saves_daylight=True)
ALEUTIAN: Final = WallClock(-36_000, saves_daylight=True)
HAWAII: Final = WallClock(-36_000, saves_daylight=False)
ATLANTIC: Final = WallClock(-14_400, saves_daylight=False)
CHAMORRO: Final = WallClock(36_000, saves_daylight=False)


@dataclass(frozen=True, slots=True)
class Patient:
    id: int
    home: str
    zip_code: str | None
    wall_clock: WallClock
    """Of where the device's own clock is set: the home's, if it is in the United States."""
    country: str | None = None
    customer_id: int = 1


MOVER: Final = Patient(19, "Philadelphia, then Phoenix", "19137", EASTERN)
FIRST_HOLDER: Final = Patient(20, "Philadelphia", "19104", EASTERN)
NEXT_HOLDER: Final = Patient(21, "Seattle", "98101", PACIFIC)
ZIP_TOLD_LATE: Final = Patient(22, "Denver", None, MOUNTAIN)
ZIP_WITHDRAWN: Final = Patient(23, "St. Louis", "63101", CENTRAL)
OF_ANOTHER_CUSTOMER: Final = Patient(24, "Miami", "33101", EASTERN, customer_id=2)
UNKNOWN_PATIENT_ID: Final = 990
"""Named by readings, but nobody ever told the registry of them."""

PATIENTS: Final = (
    Patient(1, "Philadelphia", "19137", EASTERN),
    Patient(2, "Philadelphia", "19137-1234", EASTERN),
    Patient(3, "Cambridge, Massachusetts", "2139", EASTERN, country="US"),  # 02139 that has lost its zero
    Patient(4, "Phoenix", "85001", ARIZONA),
    Patient(5, "Navajo Nation, Arizona", "86515", MOUNTAIN),
    Patient(6, "Indianapolis", "46204", EASTERN, country="USA"),
    Patient(7, "Gary, Indiana", "46402", CENTRAL),
    Patient(8, "Chicago", "60601", CENTRAL),
    Patient(9, "Denver", "80202", MOUNTAIN),
    Patient(10, "Los Angeles", "90012", PACIFIC),
    Patient(11, "Anchorage", "99501", ALASKA),
    Patient(12, "Adak, Aleutian Islands", "99546", ALEUTIAN),
    Patient(13, "Honolulu", "96813", HAWAII, country="United States"),
    Patient(14, "San Juan, Puerto Rico", "00901", ATLANTIC, country="PR"),
    Patient(15, "Guam", "96910", CHAMORRO, country="GU"),
    Patient(16, "Berlin", "10115", EASTERN, country="DEU"),  # the same five digits are a zip code of New York
    Patient(17, "not told", "", EASTERN),
    Patient(18, "military mail", "09012", EASTERN),
    MOVER,
    FIRST_HOLDER,
    NEXT_HOLDER,
    ZIP_TOLD_LATE,
    ZIP_WITHDRAWN,
    OF_ANOTHER_CUSTOMER,
    Patient(25, "somewhere in 191", "191", EASTERN),  # a prefix, as de-identified records keep
)


class Habit(Enum):
    """What a device says of its own clock."""

    FOLLOWS_THE_NETWORK = "the wall clock's offset"
    NEVER_SET_BACK = "the offset of the summer, all year"
    ALWAYS_UTC = "0, which is a value"
    SILENT = "nothing"


class Naming(Enum):
    """How a device's readings name it."""

    ID = "deviceId"
    IDENTIFIER = "deviceIdentifier"
    WEBHOOK = "nested device, with id and identifiers, and nested patient"
    NESTED_IDENTIFIERS = "nested device, with identifiers only"


@dataclass(frozen=True, slots=True)
class Device:
    id: int
    kind: Kind
    held_by: Patient | None
    status: str = "withPatient"
    habit: Habit = Habit.FOLLOWS_THE_NETWORK
    customer_id: int = 1

    @property
    def serial(self) -> str:
        return f"{_SERIAL_PREFIX[self.kind]}-{self.id:06}"

    @property
    def identifiers(self) -> list[dict[str, str]]:
        """As the platform writes them; two of them, by which readings may name the device."""
        if self.id % 2:
            return [{"type": "serial", "value": self.serial}, {"type": "imei", "value": f"35420911{self.id:07}"}]
        mac_address = f"A4:C1:38:00:{self.id // 256:02X}:{self.id % 256:02X}"
        return [{"type": "serial", "value": self.serial}, {"type": "macAddress", "value": mac_address}]

    @property
    def naming(self) -> Naming:
        return list(Naming)[self.id % len(Naming)]


_SERIAL_PREFIX: Final = {
    Kind.HEART_RATE: "HR",
    Kind.HEART_RATE_VARIABILITY: "HV",
    Kind.BLOOD_PRESSURE: "BP",
    Kind.BLOOD_GLUCOSE: "BG",
    Kind.BLOOD_OXYGEN: "OX",
    Kind.WEIGHT: "WS",
    Kind.TEMPERATURE: "TH",
    Kind.PEAK_FLOW: "PF",
    Kind.SLEEP_MAT_ACTIVITY: "SA",
    Kind.SLEEP_MAT_DURATION: "SD",
}
_BY_ID: Final = {patient.id: patient for patient in PATIENTS}
_HABITS: Final = {2: Habit.NEVER_SET_BACK, 9: Habit.ALWAYS_UTC, 16: Habit.SILENT, 17: Habit.SILENT}

WEARABLES: Final = tuple(
    Device(500 + patient.id, Kind.HEART_RATE, patient, habit=_HABITS.get(patient.id, Habit.FOLLOWS_THE_NETWORK))
    for patient in PATIENTS
    if patient not in (FIRST_HOLDER, NEXT_HOLDER, OF_ANOTHER_CUSTOMER)
)
"""One on each wrist but three: they measure through the nights on which daylight saving begins and ends."""

AT_HOME: Final = (
    Device(551, Kind.BLOOD_PRESSURE, _BY_ID[1]),
    Device(552, Kind.WEIGHT, _BY_ID[1], habit=Habit.SILENT),
    Device(553, Kind.BLOOD_GLUCOSE, _BY_ID[3]),
    Device(554, Kind.BLOOD_PRESSURE, _BY_ID[4]),
    Device(555, Kind.BLOOD_OXYGEN, _BY_ID[5]),
    Device(556, Kind.TEMPERATURE, _BY_ID[7]),
    Device(557, Kind.PEAK_FLOW, _BY_ID[9], habit=Habit.ALWAYS_UTC),
    Device(558, Kind.HEART_RATE_VARIABILITY, _BY_ID[10]),
    Device(559, Kind.SLEEP_MAT_ACTIVITY, _BY_ID[11]),
    Device(560, Kind.SLEEP_MAT_DURATION, _BY_ID[13]),
    Device(561, Kind.BLOOD_GLUCOSE, _BY_ID[15]),
    Device(562, Kind.WEIGHT, _BY_ID[14], habit=Habit.SILENT),
)
"""Used a few times a day."""

RETIRED: Final = Device(571, Kind.BLOOD_PRESSURE, _BY_ID[2])
LONG_RETIRED: Final = Device(572, Kind.WEIGHT, None, "decommissioned")
PAUSED: Final = Device(573, Kind.BLOOD_GLUCOSE, _BY_ID[8])
HANDED_OVER: Final = Device(576, Kind.BLOOD_PRESSURE, FIRST_HOLDER)
IN_STOCK: Final = Device(575, Kind.WEIGHT, None, "available", Habit.ALWAYS_UTC)
AT_SITE: Final = Device(574, Kind.BLOOD_PRESSURE, None, "availableAtSite")
ON_ITS_WAY: Final = Device(577, Kind.TEMPERATURE, None, "inTransit")  # a status that no list names
REGISTERED_LATE: Final = Device(578, Kind.BLOOD_OXYGEN, _BY_ID[6])
CUSTOMER_TWO: Final = Device(579, Kind.WEIGHT, OF_ANOTHER_CUSTOMER, customer_id=2)

DEVICES: Final = (
    *WEARABLES,
    *AT_HOME,
    RETIRED,
    LONG_RETIRED,
    PAUSED,
    HANDED_OVER,
    IN_STOCK,
    AT_SITE,
    ON_ITS_WAY,
    REGISTERED_LATE,
    CUSTOMER_TWO,
)


def holder(device: Device, at: datetime) -> Patient | None:
    """Who held the device when it measured."""
    if device is HANDED_OVER and at >= RETURNED_AT:
        return NEXT_HOLDER if at >= HANDED_ON_AT else None
    if device is REGISTERED_LATE and at < REGISTERED_AT:
        return None
    return device.held_by


def device_offset_s(device: Device, at: datetime) -> int | None:
    """What the device says of its own clock when it measures; None where it says nothing."""
    patient = holder(device, at)
    match device.habit:
        case Habit.SILENT:
            return None
        case Habit.ALWAYS_UTC:
            return 0
        case Habit.NEVER_SET_BACK:
            return EASTERN.standard_s + 3_600
        case Habit.FOLLOWS_THE_NETWORK:
            moved = patient is MOVER and at >= MOVED_AT
            wall_clock = ARIZONA if moved else EASTERN if patient is None else patient.wall_clock
            return wall_clock.offset_s(at)


@dataclass(frozen=True, slots=True)
class RegistryMessage:
    """One record for a registry topic."""

    about: About
    key: bytes
    value: bytes
    recorded_at: datetime
    """The record's timestamp: the registry may be told later than it is true."""


def registry_messages() -> list[RegistryMessage]:
    """What the registry is told, in the order of telling."""
    return sorted([*_patient_messages(), *_device_messages()], key=lambda message: message.recorded_at)


def _patient_messages() -> Iterator[RegistryMessage]:
    for patient in PATIENTS:
        says = {"externalIdentifier": f"mrn-{patient.id}", "customerId": patient.customer_id}
        if patient.zip_code is not None:
            says["zipCode"] = patient.zip_code
        if patient.country is not None:
            says["country"] = patient.country
        yield _told(About.PATIENT, patient.id, says, OPENING)
    # The family told the clinic three days after the move: what was measured since was in Phoenix all the same.
    yield _told(About.PATIENT, MOVER.id, {"zipCode": "85001"}, MOVED_AT, later=timedelta(days=3))
    yield _told(About.PATIENT, ZIP_TOLD_LATE.id, {"zipCode": "80202"}, ZIP_TOLD_AT)
    yield _told(About.PATIENT, ZIP_WITHDRAWN.id, {"zipCode": " "}, ZIP_WITHDRAWN_AT)


def _device_messages() -> Iterator[RegistryMessage]:
    for device in DEVICES:
        says = {
            "deviceIdentifiers": device.identifiers,
            "currentStatus": device.status,
            "disabledReadings": False,
            "patientId": None if device.held_by is None else device.held_by.id,
            "siteId": 3,
            "platformSite": device is IN_STOCK,
            "customerId": device.customer_id,
        }
        yield _told(About.DEVICE, device.id, says, REGISTERED_AT if device is REGISTERED_LATE else OPENING)

    def later(device: Device, at: datetime, **says: Any) -> RegistryMessage:
        return _told(About.DEVICE, device.id, says, at)

    yield later(RETIRED, DECOMMISSIONED_AT, currentStatus="decommissioned", note="cuff leaks")
    yield later(PAUSED, DISABLED_AT, disabledReadings=True)
    yield later(PAUSED, ENABLED_AT, disabledReadings=False)
    yield later(HANDED_OVER, RETURNED_AT, currentStatus="availableAtSite", patientId=None)
    handed_on = later(HANDED_OVER, HANDED_ON_AT, currentStatus="withPatient", patientId=NEXT_HOLDER.id)
    yield handed_on
    yield handed_on  # told twice is one change


def _told(
    about: About, subject_id: int, says: Mapping[str, Any], effective_at: datetime, later: timedelta = timedelta()
) -> RegistryMessage:
    subject = "deviceId" if about is About.DEVICE else "patientId"
    message = {subject: subject_id, **says, "effectiveAt": effective_at.isoformat().replace("+00:00", "Z")}
    return RegistryMessage(about, str(subject_id).encode(), json.dumps(message).encode(), effective_at + later)
