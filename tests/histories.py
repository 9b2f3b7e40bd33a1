"""Histories to judge: small worlds in which ids, moments and re-sends collide all the time.

`history(seed)` is a pure function of its seed; `histories()` draws them for hypothesis, which shrinks them by leaving records out.
`print(history(7))` shows one. `zone_of`, `offset_s` and `first_seen` are a world to judge them in.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from tests.oracle import Place, Record, RegistryRecord, archive_received_at

# ---------------------------------------------------------------------------------------------------------------------
# The small world

DEVICES = (1, 1, 1, 2, 2, 3, 4)  # the more often, the more likely
PATIENTS = (1, 1, 1, 2, 2, 3, 4)
IDENTIFIERS = ("A", "B", "C", "a")  # compared exactly
NOBODYS = "Z"
MOMENTS = (
    datetime(2025, 11, 2, 5, 30, tzinfo=UTC),
    datetime(2025, 11, 2, 6, 0, tzinfo=UTC),  # New York goes back to standard time
    datetime(2025, 11, 2, 6, 30, tzinfo=UTC),
    datetime(2026, 3, 8, 6, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 3, 8, 7, 0, tzinfo=UTC),  # New York springs forward
    datetime(2026, 3, 8, 7, 30, tzinfo=UTC),
    datetime(2026, 3, 9, 7, 0, tzinfo=UTC),
    datetime(2026, 3, 9, 7, 0, 0, 1, tzinfo=UTC),  # a microsecond more than a day after that
)
ZONES = {
    "19137": "America/New_York",
    "01234": "America/New_York",
    "10115": "America/New_York",  # Berlin, too
    "85001": "America/Phoenix",
    "96813": "Pacific/Honolulu",
    "00901": "America/Puerto_Rico",
}
ZIPS = ("19137", "19137-1234", "1234", "10115", "85001", "96813", "00901", "99999", "", "  ", None)
COUNTRIES = ("USA", "US", "PR", "DEU", None)
RAW_PARTITIONS = (
    ("kafka:readings.raw", 0),
    ("kafka:readings.raw", 1),
    ("kafka:readings.raw", 2),
    ("archive:aa", 0),
    ("archive:zz", 0),
)
TOPICS = {"device": "kafka:registry.devices", "patient": "kafka:registry.patients"}
REGISTRY_FILES = {"archive:cc": MOMENTS[4], "archive:dd": MOMENTS[6]}  # and when each was first opened


def zone_of(zip_code: str | None, country: str | None) -> str | None:
    if zip_code is None or (country or "USA") not in ("USA", "US", "PR"):
        return None
    return ZONES.get(zip_code.strip().split("-")[0].zfill(5))


def offset_s(zone: str, at: datetime) -> int:
    return int(at.astimezone(ZoneInfo(zone)).utcoffset().total_seconds())


def first_seen(source: str) -> datetime:
    return MOMENTS[4] if source.startswith("kafka:") else MOMENTS[7]


@dataclass(frozen=True)
class History:
    """What was given, in some order, some of it more than once."""

    records: tuple[Record, ...]
    registry: tuple[RegistryRecord, ...]

    def __str__(self) -> str:
        lines = [f"{'/'.join(map(str, r.place))} recorded {shown(r.timestamp)} {shown(r.value)}" for r in self.registry]
        lines += [
            f"{'/'.join(map(str, r.place))} received {shown(r.received_at)} {shown(r.value)}" for r in self.records
        ]
        return "\n".join(lines)


def shown(value: datetime | bytes | None) -> str:
    if value is None:
        return "null"
    return value.isoformat() if isinstance(value, datetime) else value.decode("utf-8", "backslashreplace")


# ---------------------------------------------------------------------------------------------------------------------
# Times, as people write them


def say(rng: Random, moment: datetime) -> str:
    """The moment in RFC 3339, in one of its many forms."""
    form = rng.choice(("Z", "Z", "Z", "z", "west", "east", "nanoseconds", "unknown zone"))
    if form == "west":
        return moment.astimezone(timezone(timedelta(hours=-5))).isoformat()
    if form == "east":
        return moment.astimezone(timezone(timedelta(hours=5, minutes=45))).isoformat()
    plain = moment.replace(tzinfo=None)
    if form == "z":
        return plain.isoformat("t") + "z"
    if form == "nanoseconds":
        return plain.isoformat(timespec="microseconds") + rng.choice(("999Z", "000Z"))
    return plain.isoformat() + ("-00:00" if form == "unknown zone" else "Z")


# ---------------------------------------------------------------------------------------------------------------------
# Readings

MEASURES: dict[str, Callable[[Random], dict[str, Any]]] = {
    "bloodPressure": lambda rng: {
        "systolic": rng.choice((120, 120, 120.0, 121)),
        "diastolic": 80,
        **optional(rng, heartRate=(60, None)),
    },
    "temperature": lambda rng: rng.choice(
        (
            {"temperature": 98.6, "temperatureUnit": "F"},
            {"temperature": 37, "temperatureUnit": "Celsius"},  # says the same
            {"temperature": 37.5, "temperatureUnit": "c"},
            {"temperature": 37, "temperatureUnit": "FAHRENHEIT"},
        )
    ),
    "heartRate": lambda rng: optional(rng, heartRate=(60, 61, None)),
    "heartRateVariability": lambda rng: {
        "heartRateVariability": rng.choice((42, 42.0, 42.5)),
        **optional(
            rng,
            heartRate=(60, None),
            heartRateVariabilityDuration=(2**40, 300_000, None),
            heartRateVariabilityAlgorithmType=("sdann", "sdnn", None),
        ),
    },
    "bloodGlucose": lambda rng: {
        "glucose": rng.choice((100, 101)),
        **optional(rng, glucoseUnit=("mgdl", "MGDL", None), beforeMeal=(True, False, None), afterMeal=(False, None)),
    },
    "bloodOxygen": lambda rng: {
        "bloodOxygen": 97,
        **optional(rng, bloodOxygenUnit=("spo2", "spO2", None), heartRate=(60, None)),
    },
    "weight": lambda rng: {"weight": rng.choice((0, -0.0, 180, 180.5)), **optional(rng, weightUnit=("lbs", "LBS"))},
    "peakFlow": lambda rng: {
        "peakExpiratoryFlow": 132,
        **optional(rng, forcedExpiratoryVolumeInOneSecond=(0.89, None), forcedExpiratoryVolume=(0.89, 0.9)),
    },
    "sleepMatActivity": lambda rng: {
        "bedTime": rng.choice((["2022-06-30/20:01"], ["2022-06-30/20:01", "22:00"], [])),
        "getUpTime": ["20:00~06:00"],
        "duration": "PT8H",
        "bodyTurnOver": 3,
        "heartRate": 55,
        "respiration": rng.choice((12, 13)),
    },
    "sleepMatDuration": lambda rng: {
        "deepSleep": 90,
        "lightSleep": 200,
        "rem": rng.choice((70, 71)),
        "duration": "6:00",
        "bodyTurnOver": 3,
        "heartRate": 55,
        "respiration": 12,
    },
}


def optional(rng: Random, **choices: tuple) -> dict[str, Any]:
    """Each field with one of its values, or, as often, absent."""
    return {name: rng.choice(values) for name, values in choices.items() if rng.random() < 0.5}


def identifier(rng: Random) -> dict[str, Any]:
    value = rng.choice(IDENTIFIERS)
    return rng.choice(({"type": "serial", "value": value}, {"type": "imei", "value": value}, {"value": value}))


def naming(rng: Random) -> dict[str, Any]:
    """Who a reading names: mostly a device by its id, else every other way."""
    device, patient = rng.choice(DEVICES), rng.choice(PATIENTS)
    anybody = rng.choice((*IDENTIFIERS, *IDENTIFIERS[:2], NOBODYS))
    return rng.choice(
        (
            {"deviceId": device},
            {"deviceId": device},
            {"deviceId": device},
            {"deviceId": float(device), "device": {"id": device}},
            {"deviceId": device, "patientId": patient},
            {"deviceId": device, "patient": {"id": patient}},
            {"deviceId": device, "deviceIdentifier": anybody},
            {"deviceIdentifier": anybody},
            {"deviceIdentifier": anybody, "patientId": patient},
            {"device": {"id": device, "deviceIdentifiers": [identifier(rng)]}, "patient": None},
            {"device": {"deviceIdentifiers": [identifier(rng), {"type": None, "value": NOBODYS}]}},
            {"deviceIdentifier": anybody, "device": {"deviceIdentifiers": [identifier(rng)]}},
            {"patientId": patient},
            {"patientId": patient, "deviceId": None, "device": {"id": None, "deviceIdentifiers": []}},
        )
    )


@dataclass(frozen=True)
class Focus:
    """The few kinds and moments of one history."""

    kinds: tuple[str, ...]
    moments: tuple[datetime, ...]


def focus(rng: Random) -> Focus:
    usual = ("bloodPressure", "temperature", rng.choice(tuple(MEASURES)))
    return Focus(kinds=usual, moments=tuple(rng.choice(MOMENTS) for _ in range(rng.randint(2, 4))))


def reading(rng: Random, about: Focus) -> dict[str, Any]:
    kind = rng.choice(about.kinds)
    payload = {"readingTimestamp": say(rng, rng.choice(about.moments)), **naming(rng), **MEASURES[kind](rng)}
    payload |= optional(
        rng,
        id=(7, 8, None),
        deviceTimeZoneOffset=(0, -14400, 50400, None),
        manual=(False, None, True),
        patientTimeZoneOffset=(3600, "ignored"),
    )
    return {"id": rng.choice((1, None, "ignored")), "type": f"reading.{kind}", "payload": payload}


def sent_again(rng: Random, before: dict[str, Any]) -> dict[str, Any]:
    """The same reading: as it was, or a little different in what counts, or in what does not."""
    kind, payload = before["type"].removeprefix("reading."), dict(before["payload"])
    change = rng.choice(("nothing", "measures", "manual", "offset", "id", "named otherwise", "time said otherwise"))
    if change == "measures":
        payload |= MEASURES[kind](rng)
    elif change == "manual":
        payload["manual"] = rng.choice((None, False, True))
    elif change == "offset":
        payload["deviceTimeZoneOffset"] = rng.choice((None, 0, -14400))
    elif change == "id":
        payload["id"] = rng.choice((7, 8, 9))
    elif change == "named otherwise":
        who = ("deviceId", "deviceIdentifier", "device", "patientId", "patient")
        payload = {name: value for name, value in payload.items() if name not in who} | naming(rng)
    elif change == "time said otherwise":
        payload["readingTimestamp"] = say(rng, datetime.fromisoformat(payload["readingTimestamp"].upper()))
    return before | {"payload": payload}


WRONG: tuple[dict[str, Any], ...] = (  # laid over a good payload
    {"readingTimestamp": "2026-03-08T07:00:00"},
    {"readingTimestamp": "2026-03-08 07:00:00Z"},
    {"readingTimestamp": "2026-03-08T24:00:00Z"},
    {"readingTimestamp": "2026-03-08T06:59:60Z"},
    {"readingTimestamp": "2026-03-08T07:00Z"},
    {"readingTimestamp": 1_772_953_200},
    {"readingTimestamp": None},
    {"deviceId": 0},
    {"deviceId": 2**63},
    {"deviceId": "1"},
    {"deviceId": True},
    {"deviceId": 1, "device": {"id": 2}},
    {"patientId": 1, "patient": {"id": 2}},
    {"patientId": 1.5},
    {"deviceIdentifier": ""},
    {"deviceIdentifier": "A" * 256},
    {"deviceIdentifier": 5},
    {"device": {"deviceIdentifiers": [{"type": "mac", "value": "A"}]}},
    {"device": {"deviceIdentifiers": [{"type": "serial"}]}},
    {"device": [1]},
    {"deviceId": None, "deviceIdentifier": None, "device": {}, "patientId": None, "patient": {}},
    {"deviceTimeZoneOffset": 50401},
    {"deviceTimeZoneOffset": -43201},
    {"deviceTimeZoneOffset": "0"},
    {"manual": "false"},
    {"manual": 0},
    {"id": 0},
    {"systolic": "120", "temperature": "98.6", "heartRate": "60"},
    {"systolic": None, "temperatureUnit": None, "heartRate": 2**31},
    {"diastolic": 80.5, "temperatureUnit": "kelvin", "heartRate": True},
)
IMPLAUSIBLE = (
    "2000-12-31T23:59:59.999999Z",
    "2000-12-31T23:59:59.9999999Z",
    "2001-01-01T00:00:00Z",  # just plausible
    "9999-12-31T23:59:59-01:00",
    "0001-01-01T00:00:00+01:00",
)
UNKNOWN_TYPES = ("reading.ecg", "reading.", "bloodPressure", "reading.BloodPressure", "device.lowBattery", None, 5)


def broken(rng: Random, message: dict[str, Any]) -> bytes:
    """Bytes that rule 1 refuses."""
    good = encoded(rng, message)
    return rng.choice(
        (
            b"[1]",
            b"null",
            b'"reading"',
            good[:-1],
            good + good,
            b"\xef\xbb\xbf" + good,
            good[:-1] + b',"note":"\xff"}',
            good[:-1] + rb',"note":"\u0000"}',
            good[:-1] + rb',"note":"\ud83d"}',
            good[:-1] + rb',"\udc00":1}',
            good[:-1] + b',"x":NaN}',
            good[:-1] + b',"x":[-Infinity]}',
            good[:-1] + b',"x":NaN,"x":1}',
            good[:-1] + b',"x":' + b"[" * 64 + b"]" * 64 + b"}",
        )
    )


def encoded(rng: Random, message: dict[str, Any]) -> bytes:
    """Good bytes, some with what must change nothing: blanks, unknown fields, repeated keys, great depth."""
    good = json.dumps(message, ensure_ascii=rng.random() < 0.5)
    extra = rng.choice(("", "", "", "spaces", "unknown", "repeated", "deep", "huge"))
    if extra == "spaces":
        good = f"\t {good}\r "
    elif extra == "unknown":
        good = good[:-1] + r', "unknown": {"note": "\ud83d\ude00 é"}}'
    elif extra == "repeated":
        good = "{" + "".join(f'"{key}": ["not this"], ' for key in message) + good[1:]
    elif extra == "deep":
        good = good[:-1] + ', "unknown": ' + "[" * 63 + "]" * 63 + "}"
    elif extra == "huge":
        good = good[:-1] + ', "unknown": [1e999, -1E+400, ' + "1" * 30 + "]}"
    return good.encode()


def raw_message(rng: Random, about: Focus, sent: list[dict[str, Any]]) -> dict[str, Any]:
    resend = sent and rng.random() < 0.4
    message = sent_again(rng, rng.choice(sent)) if resend else reading(rng, about)
    sent.append(message)
    fate = rng.random()
    if fate < 0.06:
        return message | {"payload": message["payload"] | rng.choice(WRONG)}
    if fate < 0.08:
        return message | {"payload": rng.choice((None, [], "x"))}
    if fate < 0.12:
        return message | {"payload": message["payload"] | {"readingTimestamp": rng.choice(IMPLAUSIBLE)}}
    if fate < 0.14:
        return message | {"type": rng.choice(UNKNOWN_TYPES)}
    return message


def receipt(rng: Random) -> datetime | None:
    """Late mostly, so that most readings are plausible."""
    late = (MOMENTS[7] + timedelta(days=1), MOMENTS[7], MOMENTS[6], MOMENTS[5])
    return rng.choice((*late, *late, *MOMENTS[1:], None, None))


@dataclass
class Offsets:
    """The next offset of each partition; on a topic there may be holes."""

    next: Counter = field(default_factory=Counter)

    def take(self, rng: Random, source: str, partition: int) -> Place:
        hole = source.startswith("kafka:") and rng.random() < 0.1
        offset = self.next[source, partition] + hole
        self.next[source, partition] = offset + 1
        return (source, partition, offset)


def raw_record(rng: Random, about: Focus, sent: list[dict[str, Any]], offsets: Offsets) -> Record:
    place = offsets.take(rng, *rng.choice(RAW_PARTITIONS))
    message = raw_message(rng, about, sent)
    received_at = receipt(rng)
    from_archive = place[0].startswith("archive:")
    if from_archive and (received_at is not None or rng.random() < 0.3):
        message = message | {"receivedAt": received_at and say(rng, received_at)}
    elif rng.random() < 0.1:
        message = message | {"receivedAt": "not a time" if from_archive else say(rng, MOMENTS[0])}
    if rng.random() < 0.05:
        value = None if not from_archive and rng.random() < 0.3 else broken(rng, message)
    else:
        value = encoded(rng, message)
    return Record(*place, archive_received_at(value) if from_archive else received_at, value)


# ---------------------------------------------------------------------------------------------------------------------
# The registry


def device_state(rng: Random) -> dict[str, Any]:
    device_id = rng.choice(DEVICES)
    own = {"type": "serial", "value": IDENTIFIERS[device_id - 1]}
    return {"deviceId": device_id} | optional(
        rng,
        deviceIdentifiers=([own], [own], [own, identifier(rng)], [identifier(rng), identifier(rng)], [], None),
        currentStatus=("withPatient", "availableAtSite", "decommissioned", "withPatient", "lost", None),
        disabledReadings=(True, False, False, None),
        patientId=(*PATIENTS, None, None),
        siteId=(3, None),
        platformSite=(True, False, None),
        customerId=(1, 1, 2, None),
        note=("é", None),
    )


def patient_state(rng: Random) -> dict[str, Any]:
    state = {"patientId": rng.choice(PATIENTS)} | optional(
        rng, externalIdentifier=("mrn", None), country=COUNTRIES, customerId=(1, 2, 2, None)
    )
    return state | ({"zipCode": rng.choice(ZIPS)} if rng.random() < 0.7 else {})


def timed(rng: Random, message: dict[str, Any], *, in_file: bool) -> dict[str, Any]:
    """With an `effectiveAt` mostly, seldom so in a file; at times with a `recordedAt` of its own."""
    timing: dict[str, Any] = {}
    if rng.random() < (0.25 if in_file else 0.75):
        timing["effectiveAt"] = say(rng, rng.choice((*MOMENTS, MOMENTS[0] - timedelta(days=300))))
    elif rng.random() < 0.1:
        timing["effectiveAt"] = None
    if rng.random() < 0.15:
        timing["recordedAt"] = say(rng, rng.choice(MOMENTS))
    return message | timing


def told_twice(rng: Random, before: dict[str, Any]) -> dict[str, Any]:
    """The same change again: word for word, or its times otherwise said, or with one field less."""
    again = dict(before)
    change = rng.choice(("nothing", "recorded", "said otherwise", "partial"))
    if change == "recorded":
        again["recordedAt"] = say(rng, rng.choice(MOMENTS))
    elif change == "said otherwise" and isinstance(again.get("effectiveAt"), str):
        again["effectiveAt"] = say(rng, datetime.fromisoformat(again["effectiveAt"].upper()))
    elif change == "partial":
        again.pop(rng.choice(("currentStatus", "zipCode", "customerId", "effectiveAt")), None)
    return again


WRONG_STATE: tuple[dict[str, Any], ...] = (  # laid over a good state; both ids stay, so that a file can tell its kind
    {"customerId": 0},
    {"customerId": "1"},
    {"effectiveAt": "2026-03-08 07:00:00Z"},
    {"effectiveAt": 5},
    {"recordedAt": "2026-03-08T07:00:00"},
    {"deviceId": -1, "patientId": -1},
    {"currentStatus": 5, "zipCode": 19137},
    {"disabledReadings": "true", "country": True},
    {"deviceIdentifiers": [{"value": ""}], "externalIdentifier": 7},
    {"deviceIdentifiers": "A", "zipCode": ["19137"]},
)


def registry_message(rng: Random, kind: str, told: list[dict[str, Any]], *, in_file: bool) -> dict[str, Any]:
    if told and rng.random() < 0.3:
        message = told_twice(rng, rng.choice(told))
    else:
        message = timed(rng, device_state(rng) if kind == "device" else patient_state(rng), in_file=in_file)
    told.append(message)
    if rng.random() < 0.04:
        wrong = rng.choice(WRONG_STATE)
        return message | {name: value for name, value in wrong.items() if kind == "device" or name != "deviceId"}
    if not in_file and rng.random() < 0.02:
        return message | {f"{kind}Id": None}
    return message


def registry_record(rng: Random, told: dict[str, list[dict[str, Any]]], offsets: Offsets) -> RegistryRecord:
    kind = rng.choice(("device", "device", "device", "patient", "patient"))
    in_file = rng.random() < 0.25
    source, partition = (rng.choice(tuple(REGISTRY_FILES)), 0) if in_file else (TOPICS[kind], rng.choice((0, 1)))
    timestamp = REGISTRY_FILES[source] if in_file else rng.choice(MOMENTS)
    message = registry_message(rng, kind, told[kind], in_file=in_file)
    if rng.random() < 0.04:
        value = None if not in_file and rng.random() < 0.3 else broken(rng, message)
    else:
        value = encoded(rng, message)
    return RegistryRecord(kind, *offsets.take(rng, source, partition), timestamp, in_file, value)


# ---------------------------------------------------------------------------------------------------------------------
# A history


def delivered_again(rng: Random, given: list) -> None:
    """Some records come twice: the same record, at another moment."""
    for _ in range(rng.choice((0, 0, 1, 2))):
        if given:
            given.insert(rng.randint(0, len(given)), rng.choice(given))


def history(seed: int, *, most_records: int = 40, most_states: int = 24) -> History:
    """The history of that seed, always the same."""
    rng = Random(seed)
    offsets, about = Offsets(), focus(rng)
    states = rng.choice((0, most_states // 2, *[most_states] * 6))
    told: dict[str, list[dict[str, Any]]] = {"device": [], "patient": []}
    registry = [registry_record(rng, told, offsets) for _ in range(states)]
    sent: list[dict[str, Any]] = []
    records = [raw_record(rng, about, sent, offsets) for _ in range(rng.randint(1, most_records))]
    delivered_again(rng, registry)
    delivered_again(rng, records)
    return History(tuple(records), tuple(registry))


@st.composite
def histories(draw: st.DrawFn, *, most_records: int = 15, most_states: int = 10) -> History:
    """Histories that shrink by leaving records out; what is left is as it was, at its place."""
    whole = history(draw(st.integers(0, 2**32)), most_records=most_records, most_states=most_states)
    kept = [[r for r in given if draw(st.integers(0, 19))] for given in (whole.records, whole.registry)]
    return History(*map(tuple, kept))
