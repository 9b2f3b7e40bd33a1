"""What happens at the demo's clinic, story by story: each writes raw readings and says what they should become."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ingest.demo.clinic_readings import Notebook, envelope, measures, written_time
from ingest.demo.clinic_registry import (
    AT_HOME,
    AT_SITE,
    CUSTOMER_TWO,
    DECOMMISSIONED_AT,
    DISABLED_AT,
    ENABLED_AT,
    HANDED_ON_AT,
    HANDED_OVER,
    IN_STOCK,
    LONG_RETIRED,
    OF_ANOTHER_CUSTOMER,
    ON_ITS_WAY,
    PATIENTS,
    PAUSED,
    REGISTERED_LATE,
    RETIRED,
    UNKNOWN_PATIENT_ID,
    WEARABLES,
)
from schemas.kinds import Kind
from schemas.reasons import Reason

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
SOON: Final = timedelta(seconds=5)

SPRING: Final = datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 3, 12, tzinfo=UTC)
AUTUMN: Final = datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 11, 6, tzinfo=UTC)
# From before the first until after the last clock of the United States changes.
SPRING_NIGHT: Final = datetime(2026, 3, 8, 6, tzinfo=UTC), datetime(2026, 3, 8, 13, tzinfo=UTC)
AUTUMN_NIGHT: Final = datetime(2026, 11, 1, 4, tzinfo=UTC), datetime(2026, 11, 1, 12, tzinfo=UTC)

CUFF, SCALE, GLUCOSE_METER = AT_HOME[0], AT_HOME[1], AT_HOME[2]


def every(step: timedelta, begin: datetime, end: datetime) -> Iterator[datetime]:
    """The moments from `begin` on and before `end`."""
    while begin < end:
        yield begin
        begin += step


def everyday(notebook: Notebook) -> None:
    """Morning, noon and evening where the patient lives."""
    for device in (*WEARABLES, *AT_HOME, CUSTOMER_TWO):
        assert device.held_by is not None
        ahead = timedelta(seconds=device.held_by.wall_clock.standard_s)
        local_hours = (7, 20) if device in WEARABLES else (7, 13, 20)
        for day in (*every(DAY, *SPRING), *every(DAY, *AUTUMN)):
            for hour in local_hours:
                # Never on a full minute: that is where the other stories take theirs.
                seconds = 60 * notebook.random.randrange(55) + notebook.random.randint(1, 59)
                notebook.take(device, day + hour * HOUR + timedelta(seconds=seconds) - ahead, "an everyday reading")


def nights_of_changing_clocks(notebook: Notebook) -> None:
    """Every wrist, every ten minutes, through the nights on which daylight saving begins and ends."""
    for device in WEARABLES:
        for at in (*every(10 * MINUTE, *SPRING_NIGHT), *every(10 * MINUTE, *AUTUMN_NIGHT)):
            notebook.take(device, at, "a night on which clocks change", received_at=at + SOON)


def decommissioned(notebook: Notebook) -> None:
    """The moment of receipt decides, to the millisecond; when the reading was taken does not."""

    def take(taken_at: datetime, received_at: datetime, story: str) -> None:
        refused = Reason.DEVICE_DECOMMISSIONED if received_at >= DECOMMISSIONED_AT else None
        notebook.take(RETIRED, taken_at, story, received_at=received_at, becomes=refused)

    for at in every(6 * HOUR, AUTUMN[0], AUTUMN[1]):
        take(at, at + SOON, "a device decommissioned halfway")
    at = DECOMMISSIONED_AT
    take(at - 10 * MINUTE, at - timedelta(milliseconds=1), "received a millisecond before it was decommissioned")
    take(at - 9 * MINUTE, at, "received the very moment it was decommissioned")
    take(at - 20 * HOUR, at + HOUR, "taken before it was decommissioned, received after")
    for at in every(DAY, *AUTUMN):
        notebook.take(
            LONG_RETIRED, at + 15 * HOUR, "a device decommissioned long ago", becomes=Reason.DEVICE_DECOMMISSIONED
        )


def disabled_and_enabled_again(notebook: Notebook) -> None:
    def take(taken_at: datetime, received_at: datetime, story: str) -> None:
        refused = Reason.READINGS_DISABLED if DISABLED_AT <= received_at < ENABLED_AT else None
        notebook.take(PAUSED, taken_at, story, received_at=received_at, becomes=refused)

    for at in every(4 * HOUR, *AUTUMN):
        take(at, at + SOON, "readings disabled for four days")
    take(DISABLED_AT - HOUR, DISABLED_AT + HOUR, "taken before readings were disabled, received while they were")
    take(ENABLED_AT - 3 * HOUR, ENABLED_AT + MINUTE, "taken while readings were disabled, received when they were not")


def handed_over(notebook: Notebook) -> None:
    """The patient is the one who held the device when it measured, whoever holds it when that arrives."""
    for at in every(4 * HOUR, *AUTUMN):
        notebook.take(HANDED_OVER, at, "a device handed from one patient to another", received_at=at + SOON)
    for hours in (70, 71):
        at = HANDED_ON_AT.replace(minute=0) - hours * HOUR
        story = "taken by the first holder, received when the next one had the device"
        notebook.take(HANDED_OVER, at + MINUTE, story, received_at=HANDED_ON_AT + hours * MINUTE)


def without_a_patient(notebook: Notebook) -> None:
    for device in (IN_STOCK, AT_SITE, ON_ITS_WAY):
        for at in every(DAY, *AUTUMN):
            notebook.take(device, at + 16 * HOUR, f"nobody holds it ({device.status}); no reason to refuse")
    for at in every(6 * HOUR, datetime(2026, 10, 29, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)):
        notebook.take(REGISTERED_LATE, at, "a device the registry came to know only later", received_at=at + SOON)


def unknown_devices(notebook: Notebook) -> None:
    strangers: tuple[dict[str, Any], ...] = (
        {"deviceId": 9001},
        {"deviceIdentifier": "BP-009002"},
        {"device": {"deviceIdentifiers": [{"type": "imei", "value": "990000862471854"}]}},
        {"deviceIdentifier": CUFF.serial.lower()},  # identifiers are compared exactly
        {"deviceId": 9003, "patientId": 1},  # a known patient does not vouch for it
    )
    for day in every(DAY, *AUTUMN):
        for number, names in enumerate(strangers):
            at = day + (9 + number) * HOUR
            said = {
                **names,
                "readingTimestamp": written_time(at, number),
                **measures(Kind.BLOOD_PRESSURE, notebook.random),
            }
            value = notebook.envelope(Kind.BLOOD_PRESSURE, said)
            notebook.write("stranger", value, at + SOON, Reason.UNKNOWN_DEVICE, "a device that nobody registered")


def sent_again(notebook: Notebook) -> None:
    """Webhooks are retried after 15, 30 and 60 minutes."""
    acknowledged_late = [
        given for given in notebook.written if given.becomes is None and given.story.startswith("an every")
    ]
    for given in notebook.random.sample(acknowledged_late, 45):
        tries = notebook.random.randint(1, 3)
        for minutes in (15, 30, 60)[:tries]:
            received_at = given.received_at + minutes * MINUTE
            notebook.write(given.key.decode(), given.value, received_at, Reason.DUPLICATE, "the same bytes again")
    for number, at in enumerate(every(12 * HOUR, *AUTUMN)):
        taken = notebook.take(CUFF, at, "a reading that is told again in other words", received_at=at + SOON)
        said = json.loads(taken.value or b"")["payload"]
        in_other_words = {
            **{name: float(value) if name in ("systolic", "diastolic") else value for name, value in said.items()},
            "readingTimestamp": written_time(at, number),
            "firmware": "2.1.7",
            "manual": None,
        }
        value = notebook.envelope(Kind.BLOOD_PRESSURE, in_other_words)
        # Under another key it lies in another partition, as likely as not: the place is no part of what it says.
        story = "the same reading in other words, by another road"
        notebook.write(f"gateway {number}", value, at + HOUR, Reason.DUPLICATE, story)


def told_otherwise(notebook: Notebook) -> None:
    """Of two that differ the first received stands."""
    for number, at in enumerate(every(8 * HOUR, *AUTUMN)):
        meter = notebook.payload(GLUCOSE_METER, at)
        first = notebook.envelope(GLUCOSE_METER.kind, meter)
        otherwise: tuple[dict[str, Any], ...] = (
            {"glucose": meter["glucose"] + 11},
            {"deviceTimeZoneOffset": 0},
            {"manual": True},
        )
        second = notebook.envelope(GLUCOSE_METER.kind, {**meter, **otherwise[number % 3]})
        notebook.accept_once(GLUCOSE_METER.id, GLUCOSE_METER.kind, at)
        key = str(GLUCOSE_METER.id)
        conflict = Reason.CONFLICTING_DUPLICATE
        if number % 4:
            notebook.write(key, first, at + SOON, None, "the first of two that differ")
            notebook.write(key, second, at + MINUTE, conflict, "the second of two that differ")
        else:
            notebook.write(key, second, at + MINUTE, conflict, "received later, though first in the log")
            story, published_at = "received first, though a gateway kept it back", at + 2 * HOUR
            notebook.write(key, first, at + SOON, None, story, published_at=published_at)


def broken(notebook: Notebook) -> None:
    at = datetime(2026, 10, 28, 12, tzinfo=UTC)
    whole = envelope("reading.bloodPressure", notebook.payload(CUFF, at), number=1)
    values: dict[str, bytes | None] = {
        "no JSON at all": b"BP 128/84 HR 71",
        "cut off on the way": whole[:-9],
        "two documents in one": whole + whole,
        "a list of readings": b"[" + whole + b"]",
        "JSON, but no object": b'"hello"',
        "NaN": envelope("reading.weight", {**notebook.payload(SCALE, at), "weight": float("nan")}, number=2),
        "an infinity": envelope("reading.weight", {**notebook.payload(SCALE, at), "weight": float("inf")}, number=3),
        "NUL in a string": whole.replace(b'"manual"', b'"note":"\\u0000","manual"'),
        "NUL between": whole.replace(b",", b"\x00", 1),
        "half of a surrogate pair": whole.replace(b'"manual"', b'"note":"\\ud800","manual"'),
        "Latin-1": whole.replace(b'"manual"', b'"note":"\xe9","manual"'),
        "nested deeper than anybody means": whole[:-1] + b',"x":' + b"[" * 400 + b"]" * 400 + b"}",
        "65 levels": b'{"x":' * 65 + b"1" + b"}" * 65,
        "larger than 1 MiB": whole[:-1] + b',"x":"' + b"x" * 1_048_576 + b'"}',
        "nothing": b"",
        "a null value": None,
    }
    for round_of in range(3):
        for number, (story, value) in enumerate(values.items()):
            received_at = at + round_of * DAY + number * MINUTE
            notebook.write(str(CUFF.id), value, received_at, Reason.MALFORMED, story)


def of_no_known_type(notebook: Notebook) -> None:
    for number, at in enumerate(every(6 * HOUR, *AUTUMN)):
        types = ("reading.ecg", "reading.ecg", "device.lowBattery", "bloodPressure", "reading.", None, 7)
        value = envelope(types[number % len(types)], notebook.payload(CUFF, at), number=number)
        notebook.write(
            str(CUFF.id), value, at + SOON, Reason.UNKNOWN_READING_TYPE, f"type {types[number % len(types)]!r}"
        )


def against_the_schema(notebook: Notebook) -> None:
    day = datetime(2026, 10, 26, 11, tzinfo=UTC)
    faults: dict[str, dict[str, Any]] = {
        "a number as text": {"systolic": "128"},
        "a measure that is missing": {"diastolic": None},
        "half a millimetre": {"systolic": 128.5},
        "true is no number": {"systolic": True},
        "more than an int holds": {"systolic": 2**31},
        "no time": {"readingTimestamp": None},
        "a time without zone": {"readingTimestamp": "2026-10-26T11:00:00"},
        "a time without seconds": {"readingTimestamp": "2026-10-26T11:00Z"},
        "24 o'clock": {"readingTimestamp": "2026-10-26T24:00:00Z"},
        "a leap second": {"readingTimestamp": "2026-10-26T23:59:60Z"},
        "30 February": {"readingTimestamp": "2026-02-30T11:00:00Z"},
        "a Unix time": {"readingTimestamp": 1_793_012_400},
        "an offset in minutes, as text": {"deviceTimeZoneOffset": "-240"},
        "an offset that no clock has": {"deviceTimeZoneOffset": 54_000},
        "device 0": {"deviceId": 0},
        "an empty identifier": {"deviceIdentifier": ""},
        "two devices": {"deviceId": CUFF.id, "device": {"id": SCALE.id}},
        "two patients": {"patientId": 1, "patient": {"id": 2}},
        "names nobody": {"device": {"deviceIdentifiers": []}},
        "manual, in a word": {"manual": "yes"},
    }
    for round_of in range(3):
        for number, (story, fault) in enumerate(faults.items()):
            at = day + round_of * DAY + number * MINUTE
            said = notebook.payload(CUFF, at)
            if story == "names nobody":
                said = {name: value for name, value in said.items() if not name.startswith("device")}
            value = notebook.envelope(Kind.BLOOD_PRESSURE, {**said, **fault})
            notebook.write(str(CUFF.id), value, at + SOON, Reason.INVALID, story)
    at = day + 4 * DAY
    when = {"readingTimestamp": written_time(at, 0), "patientId": 1}
    others: tuple[tuple[str, object, str], ...] = (
        (Kind.TEMPERATURE, {**when, "temperature": 37.2}, "a temperature without its unit"),
        (Kind.TEMPERATURE, {**when, "temperature": 310.4, "temperatureUnit": "kelvin"}, "kelvins"),
        (Kind.WEIGHT, {**when, "weight": -1}, "less than nothing"),
        (Kind.WEIGHT, {**when, "weight": 80, "weightUnit": "kg"}, "kilograms"),
        (Kind.BLOOD_GLUCOSE, {**when, "glucose": 6, "glucoseUnit": "mmol"}, "another unit of glucose"),
        (Kind.SLEEP_MAT_ACTIVITY, {**when, "bedTime": "22:05", "getUpTime": [], "duration": "8"}, "no list of times"),
        (Kind.HEART_RATE, None, "no payload"),
        (Kind.HEART_RATE, [when], "a payload that is a list"),
    )
    for kind, payload, story in others:
        notebook.write("1", notebook.envelope(kind, payload), at + SOON, Reason.INVALID, story)


def at_impossible_times(notebook: Notebook) -> None:
    for number, at in enumerate(every(DAY, *AUTUMN)):
        clocks = (
            datetime(1970, 1, 1, 0, number, tzinfo=UTC),
            datetime(2000, 12, 31, 23, 59, 59, tzinfo=UTC),
            at + DAY + MINUTE,
            at + 365 * DAY,
        )
        for clock in clocks:
            payload = {"readingTimestamp": written_time(clock, number)}
            implausible = Reason.TIMESTAMP_IMPLAUSIBLE
            notebook.take(SCALE, at, "a clock that was reset", received_at=at, becomes=implausible, payload=payload)
        notebook.take(SCALE, at + DAY, "24 hours ahead, and not a moment more", received_at=at)


def of_two_devices(notebook: Notebook) -> None:
    for at in every(DAY, *AUTUMN):
        names: tuple[dict[str, Any], ...] = (
            {"deviceId": SCALE.id, "deviceIdentifier": CUFF.serial},
            {"device": {"deviceIdentifiers": [CUFF.identifiers[0], SCALE.identifiers[1]]}},
            {"deviceId": 9001, "deviceIdentifier": CUFF.serial},
        )
        for number, both in enumerate(names):
            said = {"readingTimestamp": written_time(at, number), **measures(Kind.WEIGHT, notebook.random), **both}
            value = notebook.envelope(Kind.WEIGHT, said)
            story = "its id and its identifiers are those of two devices"
            notebook.write(str(SCALE.id), value, at + SOON, Reason.DEVICE_MISMATCH, story)
        nobodys = {"deviceId": CUFF.id, "device": None, "deviceIdentifier": "BP-009002"}
        notebook.take(CUFF, at + 5 * HOUR, "an identifier of nobody takes nothing away", payload=nobodys)


def of_two_customers(notebook: Notebook) -> None:
    for at in every(DAY, *AUTUMN):
        mismatch, story = Reason.CUSTOMER_MISMATCH, "the device of one customer, the patient of another"
        not_theirs = {"patientId": OF_ANOTHER_CUSTOMER.id}
        notebook.take(CUFF, at + 3 * HOUR, story, becomes=mismatch, payload=not_theirs)
        notebook.take(CUSTOMER_TWO, at + 3 * HOUR, story, becomes=mismatch, payload={"patientId": 1})


def of_the_patient_named(notebook: Notebook) -> None:
    """A reading may name the patient itself: then who holds the device does not matter, nor that there is one."""
    for at in every(DAY, *AUTUMN):
        notebook.take(CUFF, at + 4 * HOUR, "on a cuff of the family, by the other one", payload={"patientId": 2})
    kinds = (Kind.WEIGHT, Kind.BLOOD_PRESSURE, Kind.TEMPERATURE)
    for patient_id in (*(patient.id for patient in PATIENTS), UNKNOWN_PATIENT_ID):
        for number, at in enumerate(every(3 * DAY, *AUTUMN)):
            kind, taken_at = kinds[number % 3], at + 14 * HOUR + patient_id * MINUTE
            typed_in = number % 2 == 0
            said = {
                "readingTimestamp": written_time(taken_at, number),
                "patientId": patient_id,
                **measures(kind, notebook.random),
                **({"manual": True} if typed_in else {"deviceTimeZoneOffset": -18_000}),
            }
            notebook.accept_once(-patient_id, kind, taken_at)
            story = "typed in by hand" if typed_in else "of a patient, no device named"
            value = notebook.envelope(kind, said)
            notebook.write(f"patient {patient_id}", value, taken_at + SOON, None, story)
            if number == 0:
                again = taken_at + 15 * MINUTE
                notebook.write(f"patient {patient_id}", value, again, Reason.DUPLICATE, "typed in, and sent twice")


STORIES: Final[tuple[Callable[[Notebook], None], ...]] = (
    everyday,
    nights_of_changing_clocks,
    decommissioned,
    disabled_and_enabled_again,
    handed_over,
    without_a_patient,
    unknown_devices,
    sent_again,
    told_otherwise,
    broken,
    of_no_known_type,
    against_the_schema,
    at_impossible_times,
    of_two_devices,
    of_two_customers,
    of_the_patient_named,
)
