"""The law of design.md section 1, by brute force: what must be stored, given all records and all registry changes.

Nothing here is fast and nothing is shared with the product: every answer is looked up anew among all states, so that
each function can be held beside its sentence in the design. Where the design leaves a choice, a comment says "Choice".
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Place = tuple[str, int, int]
Zone = Callable[[str | None, str | None], str | None]
OffsetS = Callable[[str, datetime], int]
FirstSeen = Callable[[str], datetime]


@dataclass(frozen=True)
class Record:
    """One raw record: `value` as given, `received_at` None where unknown."""

    source: str
    partition: int
    offset: int
    received_at: datetime | None
    value: bytes | None

    @property
    def place(self) -> Place:
        return (self.source, self.partition, self.offset)


@dataclass(frozen=True)
class RegistryRecord:
    """One registry record: `timestamp` is the record's own on a topic, of a file the moment it was first opened."""

    kind: str
    source: str
    partition: int
    offset: int
    timestamp: datetime
    from_file: bool
    value: bytes | None

    @property
    def place(self) -> Place:
        return (self.source, self.partition, self.offset)


@dataclass(frozen=True)
class Law:
    blocked_statuses: frozenset[str] = frozenset({"decommissioned"})
    future_limit: timedelta = timedelta(hours=24)
    earliest: datetime = datetime(2001, 1, 1, tzinfo=UTC)
    max_bytes: int = 1_048_576
    max_depth: int = 64


@dataclass
class Store:
    """Everything given, each under its place, in `readings`, in `rejections`, or (a registry change) in `states`."""

    readings: dict[Place, dict[str, Any]] = field(default_factory=dict)
    rejections: dict[Place, dict[str, Any]] = field(default_factory=dict)
    payloads: dict[Place, bytes | None] = field(default_factory=dict)  # of what rules 1 to 4 refuse: the bytes as given
    states: dict[Place, "State"] = field(default_factory=dict)  # of one change told often, only the place that counts
    trace: dict[Place, list[str]] = field(default_factory=dict)  # what each rule found, for `explain`


class RefusedError(Exception):
    """A rule that applies; `args[0]` is the reason."""


class InvalidError(Exception):
    """A value that its schema refuses; `args[0]` says where and why."""


# ---------------------------------------------------------------------------------------------------------------------
# JSON: parsed so that nothing is lost before it was looked at


class Pairs(list):
    """A JSON object with all its keys, the repeated ones too."""


@dataclass(frozen=True)
class Number:
    """A JSON number as written: exact, however long."""

    text: str


def refuse_constant(token: str) -> None:
    raise ValueError(token)


def depth_of(tree: Any) -> int:
    """Objects and lists count one each, the outermost included."""
    if isinstance(tree, Pairs):
        return 1 + max((depth_of(value) for _, value in tree), default=0)
    if isinstance(tree, list):
        return 1 + max((depth_of(value) for value in tree), default=0)
    return 0


def strings_of(tree: Any) -> list[str]:
    """Every string anywhere, keys included, also those that a repeated key overwrites."""
    if isinstance(tree, Pairs):
        return [s for key, value in tree for s in [key, *strings_of(value)]]
    if isinstance(tree, list):
        return [s for value in tree for s in strings_of(value)]
    return [tree] if isinstance(tree, str) else []


def plain(tree: Any) -> Any:
    """Objects as dicts: of repeated keys the last counts."""
    if isinstance(tree, Pairs):
        return {key: plain(value) for key, value in tree}
    if isinstance(tree, list):
        return [plain(value) for value in tree]
    return tree


def is_storable_text(text: str) -> bool:
    return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)


def rule_1_object(value: bytes | None, law: Law) -> dict[str, Any]:
    if value is None or len(value) > law.max_bytes:
        raise RefusedError("malformed")
    try:
        tree = json.loads(
            value.decode("utf-8"),
            object_pairs_hook=Pairs,
            parse_int=Number,
            parse_float=Number,
            parse_constant=refuse_constant,
        )
        too_deep = depth_of(tree) > law.max_depth
    except (ValueError, RecursionError):  # ValueError: not UTF-8, not JSON, or NaN and the infinities
        raise RefusedError("malformed") from None
    if not isinstance(tree, Pairs) or too_deep or not all(map(is_storable_text, strings_of(tree))):
        raise RefusedError("malformed")
    return plain(tree)


# ---------------------------------------------------------------------------------------------------------------------
# Numbers and times (section 2)


def integral(text: str) -> int | None:
    """The integer a JSON number denotes, exactly; None where it is none, or has more than 19 digits."""
    sign, whole, fraction, exponent = re.fullmatch(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?", text).groups()
    digits = (whole + (fraction or "")).lstrip("0")
    if not digits:
        return 0
    significant = digits.rstrip("0")
    shift = (exponent or "0").lstrip("+-").lstrip("0") or "0"
    power = int(shift) if len(shift) <= 18 else 10**18
    power = (-power if (exponent or "").startswith("-") else power) - len(fraction or "")
    power += len(digits) - len(significant)
    if power < 0 or len(significant) + power > 19:
        return None
    number = int(significant) * 10**power
    return -number if sign else number


def as_int(value: Any, smallest: int, largest: int) -> int:
    number = integral(value.text) if isinstance(value, Number) else None
    if number is None or not smallest <= number <= largest:
        raise InvalidError("int")
    return number


def as_int32(value: Any) -> int:
    return as_int(value, -(2**31), 2**31 - 1)


def as_int64(value: Any) -> int:
    return as_int(value, -(2**63), 2**63 - 1)


def as_id(value: Any) -> int:
    return as_int(value, 1, 2**63 - 1)


def as_offset_s(value: Any) -> int:
    return as_int(value, -43200, 50400)


def as_double(value: Any) -> float:
    if not isinstance(value, Number) or not math.isfinite(float(value.text)):
        raise InvalidError("double")
    return float(value.text)


def as_weight(value: Any) -> float:
    number = as_double(value)
    if number < 0:
        raise InvalidError("weight >= 0")
    return number


def as_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidError("bool")
    return value


def as_text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidError("string")
    return value


def as_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidError("object")
    return value


def as_texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise InvalidError("list")
    return [as_text(item) for item in value]


def as_identifier_value(value: Any) -> str:
    if not 1 <= len(as_text(value)) <= 255:
        raise InvalidError("1..255 characters")
    return value


IDENTIFIER_TYPES = ("serial", "imei", "macAddress", "iccid", "simCardNumber")


def as_identifiers(value: Any) -> list[tuple[str | None, str]]:
    if not isinstance(value, list):
        raise InvalidError("list")
    identifiers = []
    for item in value:
        type_ = take(as_object(item), "type", one_of(*IDENTIFIER_TYPES))
        identifiers.append((type_, take(item, "value", as_identifier_value, required=True)))
    return identifiers


def one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if as_text(value) not in words:
            raise InvalidError("unknown word")
        return value

    return read


def unit(*words: str) -> Callable[[Any], str]:
    """Unit strings compare without regard to case."""

    def read(value: Any) -> str:
        return one_of(*words)(as_text(value).lower())

    return read


TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
EARLIEST, LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
FOUR_CENTURIES = timedelta(days=146_097)


def as_time(value: Any) -> datetime:
    """RFC 3339, in UTC, fractions cut to microseconds; what leaves the years 1 to 9999 stands at that edge."""
    match = TIME.fullmatch(as_text(value))
    if not match:
        raise InvalidError("RFC 3339")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, sign, zone_hours, zone_minutes = match.groups()[6:]
    microsecond = int((fraction or "0")[:6].ljust(6, "0"))
    if int(zone_hours or 0) > 23 or int(zone_minutes or 0) > 59:
        raise InvalidError("RFC 3339 zone")
    try:
        # Choice: RFC 3339 knows a year 0000, datetime does not; the calendar repeats every 400 years.
        local = datetime(year or 400, month, day, hour, minute, second, microsecond, tzinfo=UTC)
    except ValueError:
        raise InvalidError("no such time") from None
    east = timedelta(hours=int(zone_hours or 0), minutes=int(zone_minutes or 0)) * (-1 if sign == "-" else 1)
    to_utc = -east - (FOUR_CENTURIES if year == 0 else timedelta(0))
    try:
        return local + to_utc
    except OverflowError:
        return EARLIEST if to_utc < timedelta(0) else LATEST


def take(obj: dict[str, Any], name: str, read: Callable[[Any], Any], *, required: bool = False) -> Any:
    """The field as `read` understands it; absent and null are None, which a required field may not be."""
    value = obj.get(name)
    if value is None:
        if required:
            raise InvalidError(f"{name}: required")
        return None
    try:
        return read(value)
    except InvalidError as error:
        raise InvalidError(f"{name}: {error}") from None


# ---------------------------------------------------------------------------------------------------------------------
# Rules 2 to 4: one reading by itself

R, O = True, False  # required, optional  # noqa: E741
HEART_RATE = ("heartRate", "heart_rate_bpm", as_int32)

# kind -> (field, column or None for a unit, how it is read, required)
KINDS: dict[str, list[tuple[str, str | None, Callable[[Any], Any], bool]]] = {
    "heartRate": [(*HEART_RATE, O)],  # Choice: domain.md does not mark it R
    "heartRateVariability": [
        ("heartRateVariability", "heart_rate_variability_ms", as_double, R),
        (*HEART_RATE, O),
        ("heartRateVariabilityDuration", "heart_rate_variability_duration_ms", as_int64, O),
        (
            "heartRateVariabilityAlgorithmType",
            "heart_rate_variability_algorithm",
            one_of("sdann", "sdnn", "sdrr"),
            O,
        ),
    ],
    "bloodPressure": [
        ("systolic", "systolic_mmhg", as_int32, R),
        ("diastolic", "diastolic_mmhg", as_int32, R),
        (*HEART_RATE, O),
    ],
    "bloodGlucose": [
        ("glucose", "glucose_mg_dl", as_int32, R),
        ("glucoseUnit", None, unit("mgdl"), O),
        ("beforeMeal", "before_meal", as_bool, O),
        ("afterMeal", "after_meal", as_bool, O),
    ],
    "bloodOxygen": [
        ("bloodOxygen", "blood_oxygen_pct", as_int32, R),
        ("bloodOxygenUnit", None, unit("spo2"), O),
        (*HEART_RATE, O),
    ],
    "weight": [("weight", "weight_lb", as_weight, R), ("weightUnit", None, unit("lbs"), O)],
    "temperature": [
        ("temperature", "temperature_f", as_double, R),
        ("temperatureUnit", None, unit("celsius", "fahrenheit", "c", "f"), R),
    ],
    "peakFlow": [
        ("peakExpiratoryFlow", "peak_expiratory_flow_l_min", as_double, R),
        ("forcedExpiratoryVolumeInOneSecond", "fev1_l", as_double, O),
        ("forcedExpiratoryVolume", "fev1_l", as_double, O),  # the name in responses; the longer one counts first
    ],
    "sleepMatActivity": [
        ("bedTime", "bed_times", as_texts, R),
        ("getUpTime", "get_up_times", as_texts, R),
        ("duration", "sleep_duration", as_text, R),
        ("bodyTurnOver", "body_turn_over", as_int32, R),
        (*HEART_RATE, R),
        ("respiration", "respiration", as_int32, R),
    ],
    "sleepMatDuration": [
        ("deepSleep", "deep_sleep_min", as_int32, R),
        ("lightSleep", "light_sleep_min", as_int32, R),
        ("rem", "rem_min", as_int32, R),
        ("duration", "sleep_duration", as_text, R),
        ("bodyTurnOver", "body_turn_over", as_int32, R),
        (*HEART_RATE, R),
        ("respiration", "respiration", as_int32, R),
    ],
}
MEASURE_COLUMNS = (
    "heart_rate_bpm",
    "heart_rate_variability_ms",
    "heart_rate_variability_duration_ms",
    "heart_rate_variability_algorithm",
    "systolic_mmhg",
    "diastolic_mmhg",
    "glucose_mg_dl",
    "before_meal",
    "after_meal",
    "blood_oxygen_pct",
    "weight_lb",
    "temperature_f",
    "peak_expiratory_flow_l_min",
    "fev1_l",
    "bed_times",
    "get_up_times",
    "sleep_duration",
    "body_turn_over",
    "respiration",
    "deep_sleep_min",
    "light_sleep_min",
    "rem_min",
)


@dataclass(frozen=True)
class Reading:
    """What a raw reading says, before anybody is looked up."""

    kind: str
    timestamp: datetime
    reading_id: int | None
    device_id: int | None
    identifiers: list[str]
    patient_id: int | None
    device_offset_s: int | None
    manual: bool
    measures: dict[str, Any]

    @property
    def names_a_device(self) -> bool:
        return self.device_id is not None or bool(self.identifiers)


def rule_2_kind(envelope: dict[str, Any]) -> str:
    for kind in KINDS:
        if envelope.get("type") == f"reading.{kind}":
            return kind
    raise RefusedError("unknown_reading_type")


def rule_3_reading(envelope: dict[str, Any], kind: str, source: str) -> Reading:
    try:
        if source.startswith("archive:"):
            take(envelope, "receivedAt", as_time)  # Choice: a known field of an archive's line, unknown on a topic
        return reading_of(take(envelope, "payload", as_object, required=True), kind)
    except InvalidError:
        raise RefusedError("invalid") from None


def reading_of(payload: dict[str, Any], kind: str) -> Reading:
    device = take(payload, "device", as_object) or {}
    patient = take(payload, "patient", as_object) or {}
    reading = Reading(
        kind=kind,
        timestamp=take(payload, "readingTimestamp", as_time, required=True),
        reading_id=take(payload, "id", as_id),
        device_id=the_one(take(payload, "deviceId", as_id), take(device, "id", as_id)),
        identifiers=identifiers_named(payload, device),
        patient_id=the_one(take(payload, "patientId", as_id), take(patient, "id", as_id)),
        device_offset_s=take(payload, "deviceTimeZoneOffset", as_offset_s),
        manual=take(payload, "manual", as_bool) or False,
        measures=measures_of(payload, kind),
    )
    if not reading.names_a_device and reading.patient_id is None:
        raise InvalidError("names nobody")
    return reading


def the_one(flat: int | None, nested: int | None) -> int | None:
    if flat is not None and nested is not None and flat != nested:
        raise InvalidError("named twice, differently")
    return nested if flat is None else flat


def identifiers_named(payload: dict[str, Any], device: dict[str, Any]) -> list[str]:
    """Each value once, in the order told, `deviceIdentifier` first."""
    flat = take(payload, "deviceIdentifier", as_identifier_value)
    nested = take(device, "deviceIdentifiers", as_identifiers) or []
    values = ([] if flat is None else [flat]) + [value for _, value in nested]
    return list(dict.fromkeys(values))


def measures_of(payload: dict[str, Any], kind: str) -> dict[str, Any]:
    measures = dict.fromkeys(MEASURE_COLUMNS)
    for name, column, read, required in KINDS[kind]:
        value = take(payload, name, read, required=required)
        if column is not None and measures[column] is None:
            measures[column] = value
    if kind == "temperature" and payload["temperatureUnit"].lower() in ("celsius", "c"):
        measures["temperature_f"] = fahrenheit(measures["temperature_f"])
    return measures


def fahrenheit(celsius: float) -> float:
    degrees = celsius * 9 / 5 + 32
    if not math.isfinite(degrees):
        raise InvalidError("overflow")
    return degrees


def rule_4_plausible(timestamp: datetime, received_at: datetime, law: Law) -> None:
    if timestamp - received_at > law.future_limit or timestamp < law.earliest:
        raise RefusedError("timestamp_implausible")


# ---------------------------------------------------------------------------------------------------------------------
# The registry: states, and fields as of a moment


@dataclass(frozen=True)
class State:
    """One registry change. `effective_at` None is "always"; `said` holds only the fields that it says."""

    kind: str
    id: int
    said: dict[str, Any]
    effective_at: datetime | None
    recorded_at: datetime
    place: Place
    explicit: bool  # the message itself says `effectiveAt`


STATE_FIELDS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "device": {
        "deviceIdentifiers": as_identifiers,
        "currentStatus": as_text,
        "disabledReadings": as_bool,
        "patientId": as_id,
        "siteId": as_id,
        "platformSite": as_bool,
        "customerId": as_id,
        "note": as_text,
    },
    "patient": {"externalIdentifier": as_text, "zipCode": as_text, "country": as_text, "customerId": as_id},
}
NOT_ALWAYS = ("currentStatus", "disabledReadings")


def registry_state(record: RegistryRecord, law: Law) -> State:
    message = rule_1_object(record.value, law)
    try:
        effective_at = take(message, "effectiveAt", as_time)
        return State(
            kind=record.kind,
            id=take(message, f"{record.kind}Id", as_id, required=True),
            said={
                name: take(message, name, read) for name, read in STATE_FIELDS[record.kind].items() if name in message
            },
            effective_at=effective_at or (None if record.from_file else record.timestamp),
            recorded_at=take(message, "recordedAt", as_time) or record.timestamp,
            place=record.place,
            explicit=effective_at is not None,
        )
    except InvalidError:
        raise RefusedError("invalid") from None


def one_change(a: State, b: State) -> bool:
    """Equal in every field, an explicit `effectiveAt` included."""
    return (
        a.explicit and b.explicit and (a.kind, a.id, a.said, a.effective_at) == (b.kind, b.id, b.said, b.effective_at)
    )


def changes(states: list[State]) -> list[State]:
    """Of the messages that are one change, the one with the earliest `recordedAt` and place."""
    kept: list[State] = []
    for state in sorted(states, key=lambda s: (s.recorded_at, s.place)):
        if not any(one_change(state, other) for other in kept):
            kept.append(state)
    return kept


def begins(state: State, name: str) -> datetime | None:
    """From when on the state's field counts; None is "always"."""
    if state.effective_at is None and name in NOT_ALWAYS:
        return state.recorded_at
    return state.effective_at


def has_begun(state: State, name: str, at: datetime) -> bool:
    start = begins(state, name)
    return start is None or start <= at


def rank_of_state(state: State, name: str) -> tuple:
    start = begins(state, name)
    return (start is not None, start or EARLIEST, state.recorded_at, state.place)


def as_of(states: list[State], name: str, at: datetime) -> Any:
    """A field's value: of the greatest among the states that say it and have begun."""
    telling = [s for s in states if name in s.said and has_begun(s, name, at)]
    return max(telling, key=lambda s: rank_of_state(s, name)).said[name] if telling else None


@dataclass(frozen=True)
class Registry:
    states: list[State]

    def device(self, device_id: int | None) -> list[State]:
        return [s for s in self.states if s.kind == "device" and s.id == device_id]

    def patient(self, patient_id: int | None) -> list[State]:
        return [s for s in self.states if s.kind == "patient" and s.id == patient_id]

    def owner(self, identifier: str) -> int | None:
        """An identifier belongs for ever to the device whose state naming it is smallest."""
        naming = [
            s
            for s in self.states
            if s.kind == "device" and identifier in [value for _, value in s.said.get("deviceIdentifiers") or []]
        ]
        return min(naming, key=lambda s: rank_of_state(s, "deviceIdentifiers")).id if naming else None


# ---------------------------------------------------------------------------------------------------------------------
# Rules 5 to 8: a reading among what the registry knows


def rule_5_device(reading: Reading, registry: Registry) -> int | None:
    """The device, None where the reading names none."""
    if not reading.names_a_device:
        return None
    named = {registry.owner(identifier) for identifier in reading.identifiers} | {reading.device_id}
    named.discard(None)
    if len(named) > 1:
        raise RefusedError("device_mismatch")
    if not named or not registry.device(next(iter(named))):
        raise RefusedError("unknown_device")
    return named.pop()


def rule_6_blocked(device: list[State], moment: datetime, law: Law) -> None:
    if as_of(device, "currentStatus", moment) in law.blocked_statuses:
        raise RefusedError("device_decommissioned")
    if as_of(device, "disabledReadings", moment):
        raise RefusedError("readings_disabled")


def rule_7_patient(reading: Reading, device: list[State]) -> int | None:
    if reading.patient_id is not None:
        return reading.patient_id
    return as_of(device, "patientId", reading.timestamp)


def rule_7_patients_customer(patient: list[State], moment: datetime) -> int | None:
    """As of the moment; the first known customer also covers the time before it."""
    # Choice: "known" is not null, so a null said before the first customer counts for nothing.
    known = [s for s in patient if s.said.get("customerId") is not None]
    if not known:
        return None
    first = min(known, key=lambda s: rank_of_state(s, "customerId"))
    if not has_begun(first, "customerId", moment):
        return first.said["customerId"]
    return as_of(patient, "customerId", moment)


def rule_7_customers_agree(reading: Reading, devices: int | None, patients: int | None) -> None:
    if reading.patient_id is not None and devices is not None and patients is not None and devices != patients:
        raise RefusedError("customer_mismatch")


def rule_8_zip(patient: list[State], at: datetime) -> str | None:
    """As of the moment; the first state that says a zip, be it none, also covers the time before it."""
    telling = [s for s in patient if "zipCode" in s.said]
    if not telling:
        return None
    first = min(telling, key=lambda s: rank_of_state(s, "zipCode"))
    zip_code = as_of(patient, "zipCode", at) if has_begun(first, "zipCode", at) else first.said["zipCode"]
    return None if zip_code is None or not zip_code.strip() else zip_code


def rule_8_zone(patient: list[State], at: datetime, zone_of: Zone) -> str | None:
    zip_code = rule_8_zip(patient, at)
    if zip_code is None:
        return None
    # The state that covers the time before it covers it with its country: a foreign code is no US zip the day before.
    telling = [s for s in patient if "zipCode" in s.said]
    first = min(telling, key=lambda s: rank_of_state(s, "zipCode"))
    moment = at if has_begun(first, "zipCode", at) else begins(first, "zipCode")
    return zone_of(zip_code, as_of(patient, "country", moment or at))


# ---------------------------------------------------------------------------------------------------------------------
# Rule 9, and the whole


def reading_key(row: dict[str, Any]) -> tuple[int, str, datetime]:
    """The natural key: the subject is the device, or the patient, negative, where there is none."""
    return (row["subject"], row["reading_type"], row["reading_timestamp"])


def rule_9_rank(row: dict[str, Any], place: Place) -> tuple:
    return (row["received_at"] is None, row["received_at"] or LATEST, place)


def rule_9_says(row: dict[str, Any]) -> tuple:
    """What makes two readings the same: stored measures, `manual`, device offset."""
    return tuple(row[column] for column in (*MEASURE_COLUMNS, "manual", "device_time_zone_offset"))


def rule_9_reason(row: dict[str, Any], winner: dict[str, Any]) -> str:
    return "duplicate" if rule_9_says(row) == rule_9_says(winner) else "conflicting_duplicate"


UNDERSTOOD = (
    "reading_type",
    "device_id",
    "patient_id",
    "customer_id",
    "reading_timestamp",
    "device_id_named",
    "identifiers_named",
    "patient_id_named",
)


@dataclass(frozen=True)
class Court:
    """What every record is judged with."""

    registry: Registry
    law: Law
    zone_of: Zone
    offset_s: OffsetS
    first_seen: FirstSeen

    def judge(self, record: Record, row: dict[str, Any], trace: list[str]) -> None:
        """Rules 1 to 8: fills `row` as far as is understood before a rule refuses, else with every column."""
        envelope = rule_1_object(record.value, self.law)
        trace.append("1: an object")
        row["reading_type"] = kind = rule_2_kind(envelope)
        trace.append(f"2: {kind}")
        reading = rule_3_reading(envelope, kind, record.source)
        row |= {
            "reading_timestamp": reading.timestamp,
            "device_id_named": reading.device_id,
            "identifiers_named": reading.identifiers,
            "patient_id_named": reading.patient_id,
        }
        trace.append(f"3: {reading}")
        rule_4_plausible(reading.timestamp, record.received_at or self.first_seen(record.source), self.law)
        trace.append("4: plausible")
        moment = record.received_at or reading.timestamp
        row["device_id"] = device_id = rule_5_device(reading, self.registry)
        trace.append(f"5: device {device_id}")
        device = self.registry.device(device_id)
        row["customer_id"] = as_of(device, "customerId", moment)  # with the device its customer is understood
        rule_6_blocked(device, moment, self.law)
        trace.append(f"6: not blocked as of {moment}")
        row["patient_id"] = patient_id = rule_7_patient(reading, device)
        patient = self.registry.patient(patient_id)
        devices_customer = as_of(device, "customerId", moment)
        patients_customer = rule_7_patients_customer(patient, moment)
        row["customer_id"] = patients_customer if devices_customer is None else devices_customer
        trace.append(f"7: patient {patient_id}, customers {devices_customer} and {patients_customer} as of {moment}")
        rule_7_customers_agree(reading, devices_customer, patients_customer)
        zone = rule_8_zone(patient, reading.timestamp, self.zone_of)
        trace.append(f"8: accepted, zone {zone}")
        row |= {
            "subject": -patient_id if device_id is None else device_id,
            "device_time_zone_offset": reading.device_offset_s,
            "patient_time_zone": zone,
            "patient_time_zone_offset": None if zone is None else self.offset_s(zone, reading.timestamp),
            "manual": reading.manual,
            "reading_id": reading.reading_id,
            "source_partition": record.partition,
            "source_offset": record.offset,
            **reading.measures,
        }


def by_place(records: Iterable[Any]) -> list[Any]:
    """Each record once, however often it was delivered."""
    given: dict[Place, Any] = {}
    for record in records:
        if given.setdefault(record.place, record) != record:
            raise ValueError(f"two records at one place: {record.place}")
    return [given[place] for place in sorted(given)]


def rejection(reason: str, received_at: datetime | None, row: dict[str, Any]) -> dict[str, Any]:
    return {"reason": reason, "received_at": received_at} | {column: row.get(column) for column in UNDERSTOOD}


def registry_of(records: Iterable[RegistryRecord], law: Law, out: Store) -> Registry:
    states = []
    for record in by_place(records):
        try:
            states.append(registry_state(record, law))
        except RefusedError as refused:
            # Choice: a file's record has no broker's timestamp, so its `received_at` is unknown.
            received_at = None if record.from_file else record.timestamp
            out.rejections[record.place] = rejection(refused.args[0], received_at, {})
            out.payloads[record.place] = record.value
    out.states.update((state.place, state) for state in changes(states))
    return Registry(list(out.states.values()))


RULES_1_TO_4 = ("malformed", "unknown_reading_type", "invalid", "timestamp_implausible")


def accepted_rows(records: Iterable[Record], court: Court, out: Store) -> dict[Place, dict[str, Any]]:
    accepted = {}
    for record in by_place(records):
        row: dict[str, Any] = {"received_at": record.received_at}
        trace = out.trace.setdefault(record.place, [])
        try:
            court.judge(record, row, trace)
            accepted[record.place] = row
        except RefusedError as refused:
            reason = refused.args[0]
            trace.append(reason)
            out.rejections[record.place] = rejection(reason, record.received_at, row)
            if reason in RULES_1_TO_4:
                out.payloads[record.place] = record.value
    return accepted


def settle(accepted: dict[Place, dict[str, Any]], out: Store) -> None:
    """Rule 9: of each natural key the first is the reading, the others are set aside."""
    rivals: dict[tuple, list[Place]] = defaultdict(list)
    for place, row in accepted.items():
        rivals[reading_key(row)].append(place)
    for places in rivals.values():
        first = min(places, key=lambda place: rule_9_rank(accepted[place], place))
        out.readings[first] = accepted[first]
        out.trace[first].append(f"9: the reading, of {len(places)}")
        for place in places:
            if place != first:
                reason = rule_9_reason(accepted[place], accepted[first])
                out.rejections[place] = rejection(reason, accepted[place]["received_at"], accepted[place])
                out.trace[place].append(f"9: {reason} of {first}")


def store(
    records: Iterable[Record],
    registry: Iterable[RegistryRecord],
    law: Law,
    zone_of: Zone,
    offset_s: OffsetS,
    first_seen: FirstSeen,
) -> Store:
    """All that must be stored, given all that was ever given."""
    out = Store()
    court = Court(registry_of(registry, law, out), law, zone_of, offset_s, first_seen)
    settle(accepted_rows(records, court, out), out)
    return out


def explain(out: Store, place: Place) -> str:
    return "\n".join(out.trace[place])


def archive_received_at(value: bytes | None) -> datetime | None:
    """What a record of an archive has as its `received_at`: the line's own `receivedAt`, where that is a time."""
    # Choice: told by the bytes alone, so that a later law that takes larger records changes no receipt.
    any_size = Law(max_bytes=len(value or b""))
    try:
        return take(rule_1_object(value, any_size), "receivedAt", as_time)
    except (RefusedError, InvalidError):
        return None
