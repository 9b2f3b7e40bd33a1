"""The law, rules 1 to 8: a case for each rule, tie and field."""

import itertools
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from enrich.judge import judge, judge_again, unregistered_mentions
from enrich.law import Law
from enrich.rank import rank, ranked_by_key
from enrich.registry import Registry
from schemas.judgement import Accepted, Entry, Judgement, Rejected
from schemas.reading import canonical_envelope
from schemas.reasons import Reason
from schemas.record import Place
from schemas.states import About, State
from schemas.wire import EARLIEST_INSTANT
from tests.build import LAW, NEW_YEAR, NOON, at, device, envelope, patient, record, registry, state

KNOWN = registry(device(1))


def judged(value: bytes | None, known: Registry = KNOWN, *, received: Any = NOON, law: Law = LAW) -> Judgement:
    return judge(record(value, received=received), first_seen=NOON, registry=known, law=law).judgement


def refused(value: bytes | None, known: Registry = KNOWN, **how: Any) -> Rejected:
    judgement = judged(value, known, **how)
    assert isinstance(judgement, Rejected), judgement
    return judgement


def accepted(value: bytes | None, known: Registry = KNOWN, **how: Any) -> Accepted:
    judgement = judged(value, known, **how)
    assert isinstance(judgement, Accepted), judgement
    return judgement


# --- rule 1 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"null",
        b"[]",
        b"7",
        b"{",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":"\\u0000"}',
        b'{"\\u0000":1}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":' * 64 + b"1" + b"}" * 64 + b"]",
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b'{"a":' * 100_000,
        b'{"a":"' + b"x" * 1_048_576 + b'"}',
    ],
)
def test_what_is_not_one_json_object_within_the_limits_is_malformed(value: bytes | None) -> None:
    rejected = refused(value)
    assert rejected.reason is Reason.MALFORMED
    assert rejected.payload == (value or b"")


def test_sixty_four_levels_are_not_too_deep_and_brackets_in_strings_are_no_levels() -> None:
    deep = json.loads('{"a":' * 62 + "1" + "}" * 62)
    accepted(envelope(extra=deep, note="{[" * 200))


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    accepted(envelope(note="\\u0000"))


def test_of_repeated_keys_the_last_counts() -> None:
    value = b'{"type":"reading.weight","type":"reading.heartRate","payload":{"readingTimestamp":"2026-07-01T12:00:00Z","deviceId":1,"heartRate":"x","heartRate":61}}'
    assert accepted(value).reading.measures[0] == 61


# --- rule 2 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["reading.ecg", "reading.heartrate", "heartRate", "", None, 7, ["reading.heartRate"]])
def test_a_type_that_is_no_known_kind_comes_before_every_fault_of_the_payload(type_: object) -> None:
    value = json.dumps({"type": type_, "payload": {"nothing": "right"}}).encode()
    assert refused(value).reason is Reason.UNKNOWN_READING_TYPE
    assert refused(b"{}").reason is Reason.UNKNOWN_READING_TYPE


# --- rule 3 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "path"),
    [
        ({"heartRate": "60"}, "payload.heartRate"),
        ({"heartRate": True}, "payload.heartRate"),
        ({"heartRate": 60.5}, "payload.heartRate"),
        ({"heartRate": 2**31}, "payload.heartRate"),
        ({"deviceId": 0}, "payload.deviceId"),
        ({"deviceId": 2**63}, "payload.deviceId"),
        ({"readingTimestamp": "2026-07-01T12:00:00"}, "payload.readingTimestamp"),
        ({"readingTimestamp": "2026-07-01T12:00Z"}, "payload.readingTimestamp"),
        ({"readingTimestamp": "2026-07-01 12:00:00Z"}, "payload.readingTimestamp"),
        ({"readingTimestamp": "2026-07-01T24:00:00Z"}, "payload.readingTimestamp"),
        ({"readingTimestamp": "2026-07-01T12:00:60Z"}, "payload.readingTimestamp"),
        ({"readingTimestamp": 1_750_000_000}, "payload.readingTimestamp"),
        ({"readingTimestamp": None}, "payload.readingTimestamp"),
        ({"deviceTimeZoneOffset": -43_201}, "payload.deviceTimeZoneOffset"),
        ({"deviceTimeZoneOffset": 50_401}, "payload.deviceTimeZoneOffset"),
        ({"manual": 1}, "payload.manual"),
        ({"deviceIdentifier": ""}, "payload.deviceIdentifier"),
        (
            {"device": {"deviceIdentifiers": [{"type": "badge", "value": "x"}]}},
            "payload.device.deviceIdentifiers.0.type",
        ),
        ({"deviceId": 1, "device": {"id": 2}}, "payload"),
        ({"patientId": 1, "patient": {"id": 2}}, "payload"),
        ({"deviceId": None}, "payload"),
        ({"device": {}}, "payload"),
    ],
)
def test_an_invalid_reading_names_the_field_and_the_rule_and_no_value(fault: dict[str, Any], path: str) -> None:
    rejected = refused(envelope(**fault))
    assert rejected.reason is Reason.INVALID
    assert rejected.detail is not None
    assert rejected.detail.startswith(f"{path}: ")
    assert rejected.payload == envelope(**fault)


@pytest.mark.parametrize(
    ("kind", "measures", "column", "stored"),
    [
        ("heartRate", {"heartRate": 88.0}, "heart_rate_bpm", 88),
        ("heartRate", {"heartRate": None}, "heart_rate_bpm", None),
        ("heartRateVariability", {"heartRateVariability": 42}, "heart_rate_variability_ms", 42.0),
        ("bloodPressure", {"systolic": 120, "diastolic": 80}, "diastolic_mmhg", 80),
        ("bloodGlucose", {"glucose": 99, "glucoseUnit": "mgDL", "beforeMeal": True}, "before_meal", True),
        ("bloodOxygen", {"bloodOxygen": 97, "bloodOxygenUnit": "spO2"}, "blood_oxygen_pct", 97),
        ("weight", {"weight": 0, "weightUnit": "LBS"}, "weight_lb", 0.0),
        ("temperature", {"temperature": 37, "temperatureUnit": "Celsius"}, "temperature_f", 98.6),
        ("temperature", {"temperature": 98.6, "temperatureUnit": "F"}, "temperature_f", 98.6),
        ("peakFlow", {"peakExpiratoryFlow": 132, "forcedExpiratoryVolume": 0.9}, "fev1_l", 0.9),
        (
            "sleepMatActivity",
            {
                "bedTime": ["20:00~06:00"],
                "getUpTime": [],
                "duration": "8h",
                "bodyTurnOver": 3,
                "heartRate": 50,
                "respiration": 12,
            },
            "bed_times",
            ["20:00~06:00"],
        ),
        (
            "sleepMatDuration",
            {
                "deepSleep": 90,
                "lightSleep": 200,
                "rem": 80,
                "duration": "6h",
                "bodyTurnOver": 3,
                "heartRate": 50,
                "respiration": 12,
            },
            "rem_min",
            80,
        ),
    ],
)
def test_every_kind_keeps_its_measures_in_one_unit(
    kind: str, measures: dict[str, Any], column: str, stored: object
) -> None:
    reading = accepted(envelope(kind, **measures)).reading
    assert reading.measured[column] == stored
    assert judged(canonical_envelope(reading)) == judged(envelope(kind, **measures)), "the canonical form says the same"


@pytest.mark.parametrize(
    ("kind", "measures"),
    [
        ("bloodPressure", {"systolic": 120}),
        ("weight", {"weight": -0.1}),
        ("weight", {"weight": 150, "weightUnit": "kg"}),
        ("temperature", {"temperature": 37}),
        ("temperature", {"temperature": 37, "temperatureUnit": "kelvin"}),
        ("temperature", {"temperature": 1.7e308, "temperatureUnit": "celsius"}),
        ("heartRateVariability", {"heartRateVariability": 1, "heartRateVariabilityAlgorithmType": "other"}),
        ("sleepMatActivity", {"bedTime": "20:00"}),
    ],
)
def test_a_measure_that_is_missing_or_in_another_unit_is_invalid(kind: str, measures: dict[str, Any]) -> None:
    assert refused(envelope(kind, **measures)).reason is Reason.INVALID


def test_of_many_faults_five_are_told_in_the_order_of_fields() -> None:
    detail = refused(envelope("sleepMatDuration", deviceId=0, manual=1)).detail
    assert detail is not None
    assert [fault.split(":")[0] for fault in detail.split("; ")] == [
        f"payload.{name}" for name in ("deviceId", "manual", "deepSleep", "lightSleep", "rem")
    ]


def test_an_infinite_measure_is_invalid_and_zero_is_an_offset() -> None:
    value = envelope("weight", weight=150).replace(b"150", b"1e999")
    assert refused(value).reason is Reason.INVALID
    assert accepted(envelope(deviceTimeZoneOffset=0)).reading.device_time_zone_offset == 0


@pytest.mark.parametrize(
    ("number", "whole"),
    [
        ("88.000", 88),
        ("0.88e2", 88),
        ("-0.0", 0),
        ("9007199254740992", 2**53),
        ("9007199254740991.0", 2**53 - 1),
        ("-9007199254740991.0", 1 - 2**53),
        ("9007199254740992.0", None),
        ("-9007199254740992.0", None),
        ("1e18", None),
        ("1e400", None),
    ],
)
def test_a_whole_number_may_be_written_as_a_double_where_doubles_still_tell_whole_numbers_apart(
    number: str, whole: int | None
) -> None:
    """From 2**53 on the number that was meant may be another: an id would be somebody else's."""
    value = envelope("heartRateVariability", heartRateVariability=1, heartRateVariabilityDuration=4711)
    value = value.replace(b"4711", number.encode())
    if whole is None:
        assert refused(value).reason is Reason.INVALID
    else:
        assert accepted(value).reading.measures[2] == whole


def test_times_are_cut_to_microseconds_and_moved_to_utc() -> None:
    value = envelope(readingTimestamp="2026-07-01t08:00:00.1234569-04:00")
    assert accepted(value).reading.reading_timestamp == NOON + timedelta(microseconds=123_456)


# --- rule 4 ---------------------------------------------------------------------------------------------------------


def test_a_reading_may_lie_a_day_ahead_and_no_microsecond_more() -> None:
    day = timedelta(hours=24)
    assert accepted(envelope(taken=NOON + day))
    late = envelope(taken=NOON + day + timedelta(microseconds=1))
    assert refused(late).reason is Reason.TIMESTAMP_IMPLAUSIBLE
    assert refused(late).payload == late, "the bytes as given"


def test_no_reading_was_taken_before_2001() -> None:
    assert accepted(envelope(taken=at("2001-01-01")))
    assert refused(envelope(taken=at("2000-12-31T23:59:59"))).reason is Reason.TIMESTAMP_IMPLAUSIBLE
    for edge in ("0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"):
        assert refused(envelope(readingTimestamp=edge)).reason is Reason.TIMESTAMP_IMPLAUSIBLE


def test_without_a_moment_of_receipt_the_source_s_first_sight_bounds_the_future() -> None:
    assert refused(envelope(taken=NOON + timedelta(hours=25)), received=None).reason is Reason.TIMESTAMP_IMPLAUSIBLE


# --- rule 5 ---------------------------------------------------------------------------------------------------------


def test_a_device_without_any_state_is_unknown_and_so_is_an_identifier_of_nobody() -> None:
    assert refused(envelope(deviceId=2)).reason is Reason.UNKNOWN_DEVICE
    assert refused(envelope(deviceIdentifier="S")).reason is Reason.UNKNOWN_DEVICE


def test_identifiers_of_nobody_are_ignored_beside_a_device_that_is_known() -> None:
    assert accepted(envelope(deviceId=1, deviceIdentifier="S")).device_id == 1


def test_an_identifier_belongs_to_the_device_whose_state_named_it_first_by_effect_not_by_arrival() -> None:
    serial = [{"type": "serial", "value": "S"}]
    known = registry(
        device(1, deviceIdentifiers=serial, effectiveAt="2026-03-01T00:00:00Z"),
        device(2, deviceIdentifiers=serial, effectiveAt="2026-02-01T00:00:00Z", told=at("2026-06-01"), offset=1),
    )
    assert accepted(envelope(deviceIdentifier="S"), known).device_id == 2
    assert refused(envelope(deviceId=1, deviceIdentifier="S"), known).reason is Reason.DEVICE_MISMATCH


def test_a_device_id_without_a_state_and_an_identifier_of_another_device_are_two_devices() -> None:
    known = registry(device(1, deviceIdentifiers=[{"value": "S"}]))
    assert refused(envelope(deviceId=99, deviceIdentifier="S"), known).reason is Reason.DEVICE_MISMATCH


# --- rule 6 ---------------------------------------------------------------------------------------------------------


def test_the_moment_of_receipt_decides_whether_a_decommissioned_device_is_refused() -> None:
    known = registry(device(currentStatus="withPatient"), device(currentStatus="decommissioned", told=NOON, offset=1))
    assert accepted(envelope(), known, received=NOON - timedelta(microseconds=1))
    assert refused(envelope(), known, received=NOON).reason is Reason.DEVICE_DECOMMISSIONED
    earlier = envelope(taken=NOON - timedelta(days=30))
    assert refused(earlier, known, received=NOON).reason is Reason.DEVICE_DECOMMISSIONED, "whenever it was taken"


def test_disabled_readings_are_another_reason_and_enabling_never_un_decommissions() -> None:
    known = registry(
        device(currentStatus="withPatient", disabledReadings=True),
        device(currentStatus="decommissioned", told=at("2026-02-01"), offset=1),
        device(disabledReadings=False, told=at("2026-03-01"), offset=2),
    )
    taken = envelope(taken=at("2026-01-02"))
    assert refused(taken, known, received=at("2026-01-02")).reason is Reason.READINGS_DISABLED
    assert refused(taken, known, received=at("2026-02-02")).reason is Reason.DEVICE_DECOMMISSIONED
    assert refused(taken, known, received=at("2026-03-02")).reason is Reason.DEVICE_DECOMMISSIONED


def test_before_its_first_state_a_device_is_known_and_not_blocked() -> None:
    known = registry(device(currentStatus="decommissioned", patientId=7))
    judgement = accepted(envelope(taken=at("2025-12-31")), known, received=at("2025-12-31"))
    assert (judgement.device_id, judgement.patient_id) == (1, None)


def test_a_plain_export_that_says_decommissioned_leaves_the_past_alone() -> None:
    exported = state(
        "device", {"deviceId": 1, "currentStatus": "decommissioned", "patientId": 7}, told=NOON, from_file=True
    )
    known = registry(exported)
    assert accepted(envelope(taken=at("2020-01-01")), known, received=at("2020-01-01")).patient_id == 7
    assert refused(envelope(), known, received=NOON).reason is Reason.DEVICE_DECOMMISSIONED


def test_an_unknown_moment_of_receipt_is_the_reading_s_own() -> None:
    known = registry(device(currentStatus="decommissioned"))
    assert accepted(envelope(taken=at("2025-12-31")), known, received=None)
    assert refused(envelope(taken=at("2026-01-01")), known, received=None).reason is Reason.DEVICE_DECOMMISSIONED


# --- rule 7 ---------------------------------------------------------------------------------------------------------


def test_the_patient_is_whoever_held_the_device_when_the_reading_was_taken() -> None:
    known = registry(
        device(patientId=7),
        device(patientId=8, told=NOON, offset=1),
        device(patientId=None, told=at("2026-08-01"), offset=2),
    )
    assert accepted(envelope(taken=NOON - timedelta(seconds=1)), known).patient_id == 7
    assert accepted(envelope(taken=NOON), known).patient_id == 8
    assert accepted(envelope(taken=at("2026-08-01")), known, received=at("2026-08-01")).patient_id is None


def test_a_patient_that_the_payload_names_comes_before_the_device_s() -> None:
    known = registry(device(patientId=7))
    assert accepted(envelope(deviceId=1, patient={"id": 9}), known).patient_id == 9
    alone = accepted(envelope(patientId=9), known)
    assert (alone.device_id, alone.patient_id, alone.key.subject) == (None, 9, -9)


def test_a_named_patient_of_another_customer_is_refused_and_an_assigned_one_is_not() -> None:
    known = registry(device(customerId=1, patientId=7), patient(7, customerId=2))
    assert refused(envelope(deviceId=1, patientId=7), known).reason is Reason.CUSTOMER_MISMATCH
    assert accepted(envelope(deviceId=1), known).customer_id == 1


def test_a_patient_s_first_customer_covers_the_time_before_it_and_a_device_s_does_not() -> None:
    known = registry(device(customerId=1, told=at("2026-06-01")), patient(7, customerId=2, told=at("2026-06-01")))
    early = at("2026-05-01")
    judgement = accepted(envelope(deviceId=1, patientId=7, taken=early), known, received=early)
    assert judgement.customer_id == 2, "the device's customer was not known yet, the patient's was"


# --- rule 8 ---------------------------------------------------------------------------------------------------------


def test_the_offset_is_the_zone_s_at_the_second_daylight_saving_ends() -> None:
    known = registry(patient(7, zipCode="19137"))
    end = at("2026-11-01T06:00")
    before = accepted(envelope(patientId=7, taken=end - timedelta(seconds=1)), known, received=end)
    after = accepted(envelope(patientId=7, taken=end), known, received=end)
    assert (before.patient_time_zone, before.patient_time_zone_offset) == ("America/New_York", -14_400)
    assert after.patient_time_zone_offset == -18_000


def test_the_first_zip_code_covers_the_time_before_it_and_a_move_does_not() -> None:
    known = registry(patient(7, zipCode="19137"), patient(7, zipCode="85001", told=NOON, offset=1))
    offsets = [
        accepted(envelope(patientId=7, taken=taken), known).patient_time_zone_offset
        for taken in (at("2025-07-01"), NOON - timedelta(seconds=1), NOON)
    ]
    assert offsets == [-14_400, -14_400, -25_200]


@pytest.mark.parametrize(
    "says", [{}, {"zipCode": ""}, {"zipCode": None}, {"zipCode": "09012"}, {"zipCode": "19137", "country": "CAN"}]
)
def test_without_a_single_zone_the_offset_is_null_and_never_the_device_s(says: dict[str, Any]) -> None:
    judgement = accepted(envelope(patientId=7, deviceTimeZoneOffset=-14_400), registry(patient(7, **says)))
    assert (judgement.patient_time_zone, judgement.patient_time_zone_offset) == (None, None)


# --- as of a moment ---------------------------------------------------------------------------------------------------


def test_of_equal_moments_the_last_recorded_counts_and_of_those_the_last_place() -> None:
    moment = "2026-02-01T00:00:00Z"
    later = device(patientId=8, effectiveAt=moment, told=at("2026-03-02"), offset=1)
    earlier = device(patientId=7, effectiveAt=moment, told=at("2026-03-01"), offset=2)
    assert accepted(envelope(), registry(later, earlier)).patient_id == 8
    twin = device(patientId=9, effectiveAt=moment, told=at("2026-03-02"), offset=3)
    for told in itertools.permutations([later, earlier, twin]):
        assert accepted(envelope(), registry(*told)).patient_id == 9, "in whatever order they are read"


def test_a_change_told_twice_counts_where_it_was_told_first() -> None:
    moment = "2026-02-01T00:00:00Z"
    told = [
        device(patientId=7, effectiveAt=moment, told=at("2026-03-01"), offset=1),
        device(patientId=8, effectiveAt=moment, told=at("2026-03-02"), offset=2),
        device(patientId=7, effectiveAt=moment, told=at("2026-03-03"), offset=3),
    ]
    for in_some_order in itertools.permutations(told):
        assert accepted(envelope(), registry(*in_some_order)).patient_id == 8


def test_fields_are_taken_one_by_one_absent_says_nothing_and_null_says_none() -> None:
    known = registry(device(patientId=7, customerId=1), device(patientId=None, told=at("2026-02-01"), offset=1))
    judgement = accepted(envelope(), known)
    assert (judgement.patient_id, judgement.customer_id) == (None, 1)


def test_of_two_first_zip_codes_the_earlier_told_covers_the_time_before_and_the_later_the_time_from_then_on() -> None:
    moment = "2026-02-01T00:00:00Z"
    known = registry(
        patient(7, zipCode="85001", effectiveAt=moment, told=at("2026-03-02"), offset=1),
        patient(7, zipCode="19137", effectiveAt=moment, told=at("2026-03-01"), offset=2),
    )
    before, after = (accepted(envelope(patientId=7, taken=at(day)), known) for day in ("2026-01-01", "2026-02-01"))
    assert (before.patient_time_zone, after.patient_time_zone) == ("America/New_York", "America/Phoenix")


def test_a_registry_that_learns_of_some_keeps_what_it_knew_of_others() -> None:
    """Told are all states of those whom they are about, and of nobody else."""
    known = registry(device(1, patientId=7), device(2, offset=1))
    known.learn([], {"A": 1}, version=2)
    known.learn([device(2, patientId=8), patient(8, customerId=3)], {"B": 2}, version=3)
    assert (known.owner("A"), known.owner("B"), known.version) == (1, 2, 3)
    told = [accepted(envelope(deviceId=device_id), known) for device_id in (1, 2)]
    assert [(one.patient_id, one.customer_id) for one in told] == [(7, None), (8, 3)]


# --- rule 9 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ((NOON, "kafka:b", 9, 9), (NOON + timedelta(microseconds=1), "kafka:a", 0, 0)),
        ((datetime.max.replace(tzinfo=NOON.tzinfo), "kafka:b", 9, 9), (None, "kafka:a", 0, 0)),
        ((NOON, "kafka:Z", 9, 9), (NOON, "kafka:a", 0, 0)),
        ((None, "archive:b", 9, 9), (None, "kafka:a", 0, 0)),
        ((NOON, "kafka:a", 2, 9), (NOON, "kafka:a", 10, 0)),
        ((NOON, "kafka:a", 2, 9), (NOON, "kafka:a", 2, 10)),
    ],
    ids=[
        "received first",
        "unknown receipt comes last",
        "source by code point before partition",
        "unknown receipts are told apart by place",
        "partition as a number before offset",
        "offset as a number",
    ],
)
def test_the_first_in_rank_is_the_reading_in_whatever_order_they_come(
    first: tuple[datetime | None, str, int, int], then: tuple[datetime | None, str, int, int]
) -> None:
    said = accepted(envelope())
    one, other = (Entry(Place(*place), received_at, said) for received_at, *place in (first, then))
    assert rank(one) < rank(other)
    assert ranked_by_key([one, other]) == ranked_by_key([other, one]) == {said.key: [one, other]}


# --- judged again -----------------------------------------------------------------------------------------------------


def again(
    judgement: Judgement, known: Registry = KNOWN, *, received: datetime | None = NOON, law: Law = LAW
) -> Entry[Judgement]:
    """Of a source first seen at noon."""
    entry = Entry(Place("archive:zz", 0, 0), received, judgement)
    return judge_again(entry, first_seen=NOON, registry=known, law=law)


@pytest.mark.parametrize("received", [NOON, None], ids=["received at noon", "of unknown receipt"])
@pytest.mark.parametrize(
    "value",
    [
        envelope(),
        envelope(deviceId=9),
        envelope(taken=NOON + timedelta(hours=25)),
        envelope(taken=at("2000-01-01"), manual=True, id=5),
        envelope(heartRate="60"),
        envelope("ecg"),
        b"junk",
        b"",
    ],
    ids=["accepted", "unknown device", "too far ahead", "too old", "invalid", "unknown type", "malformed", "no bytes"],
)
def test_a_line_of_the_ledger_stays_as_it_is_while_nothing_is_known_otherwise(
    value: bytes, received: datetime | None
) -> None:
    """Its bytes, where they were kept, stay as they came, and an unknown moment of receipt stays unknown."""
    judgement = judged(value, received=received)
    entry = Entry(Place("archive:zz", 0, 0), received, judgement)
    assert judge_again(entry, first_seen=NOON, registry=KNOWN, law=LAW) is entry


def test_what_the_database_refused_is_not_judged_again() -> None:
    """It would be refused again, and nothing of it is understood from its bytes but what was refused."""
    refused_row = Rejected(Reason.UNSTORABLE, "SQLSTATE 22003", payload=envelope())
    assert again(refused_row).judgement is refused_row


@pytest.mark.parametrize("stored_first", [True, False], ids=["stored before the law changed", "refused before it did"])
@pytest.mark.parametrize(
    ("ahead", "limit", "plausible"),
    [(2, 1, False), (2, 2, True), (30, 24, False), (30, 30, True)],
    ids=["beyond less", "up to less", "beyond", "up to more"],
)
def test_of_unknown_receipt_the_first_sight_of_its_source_bounds_the_future_whenever_it_is_judged(
    ahead: int, limit: int, plausible: bool, stored_first: bool
) -> None:
    """The law changes: not the reading's own moment is held against the limit, which would never be exceeded."""
    value = envelope(taken=NOON + timedelta(hours=ahead))
    lenient, strict = (Law(future_limit=timedelta(hours=hours)) for hours in (99, 0))
    before = judged(value, received=None, law=lenient if stored_first else strict)
    assert isinstance(before, Accepted) is stored_first
    now = again(before, received=None, law=Law(future_limit=timedelta(hours=limit)))
    assert now.received_at is None
    assert isinstance(now.judgement, Accepted) is plausible
    if isinstance(before, Accepted) and isinstance(now.judgement, Rejected):
        assert now.judgement.reason is Reason.TIMESTAMP_IMPLAUSIBLE
        assert now.judgement.payload == canonical_envelope(before.reading), "its own bytes are gone"


@pytest.mark.parametrize("law", [LAW, Law(future_limit=timedelta(0))], ids=["stored", "implausible at first"])
def test_of_unknown_receipt_its_own_moment_is_asked_of_the_device_whenever_it_is_judged(law: Law) -> None:
    """Not the first sight of its source, by when the device was blocked."""
    known = registry(device(1), device(1, currentStatus="decommissioned", told=NOON + timedelta(hours=2), offset=1))
    after, value = NOON + timedelta(hours=3), envelope(taken=NOON + timedelta(hours=1))
    before = judged(value, known, received=None, law=law)
    entry = Entry(Place("archive:zz", 0, 0), None, before)
    assert isinstance(judge_again(entry, first_seen=after, registry=known, law=LAW).judgement, Accepted)


def test_a_line_of_an_archive_tells_itself_when_it_was_received_and_a_record_of_a_topic_does_not() -> None:
    told, otherwise = b'{"receivedAt": "2026-07-01T13:00:00+01:00", ', b'{"received\\u0041t": "2026-07-01T12:00:00Z", '
    for beginning in (told, otherwise):
        for value in (envelope()[1:], b'"type": "reading.heartRate"}', b'"type": 5}'):
            for source, received_at in (("archive:zz", NOON), ("kafka:readings.raw", None)):
                line = record(beginning + value, received=None, source=source)
                assert judge(line, first_seen=NOON, registry=KNOWN, law=LAW).received_at == received_at


def test_the_canonical_form_says_utc_canonical_units_and_nothing_that_was_not_said() -> None:
    reading = accepted(
        envelope(
            "temperature",
            readingTimestamp="2026-07-01T08:00:00.5-04:00",
            temperature=37,
            temperatureUnit="C",
            id=5,
            deviceId=1,
            deviceIdentifier="B",
            device={"id": 1, "deviceIdentifiers": [{"type": "imei", "value": "A"}]},
            patient={"id": 7},
            manual=None,
            note="x",
        )
    ).reading
    assert json.loads(canonical_envelope(reading)) == {
        "type": "reading.temperature",
        "payload": {
            "id": 5,
            "readingTimestamp": "2026-07-01T12:00:00.500000Z",
            "deviceId": 1,
            "device": {"deviceIdentifiers": [{"value": "B"}, {"value": "A"}]},
            "patientId": 7,
            "manual": False,
            "temperature": 98.6,
            "temperatureUnit": "fahrenheit",
        },
    }


# --- what is noted for news to come -----------------------------------------------------------------------------------


def test_what_a_reading_mentions_that_the_registry_does_not_tell_of_is_noted() -> None:
    """Identifiers of nobody, and a named patient who does not have the device at the moment of taking."""
    known = registry(
        device(1, deviceIdentifiers=[{"value": "A"}], patientId=7), device(1, patientId=8, told=NOON, offset=1)
    )

    def noted(value: bytes) -> list[tuple[int, str | None, int | None]]:
        return unregistered_mentions(judged(value, known, received=NOON + timedelta(hours=9)), known)

    before = NOON - timedelta(seconds=1)
    assert noted(envelope(deviceId=1, deviceIdentifier="A")) == []
    assert noted(envelope(deviceId=1, deviceIdentifier="B")) == [(1, "B", None)]
    assert noted(envelope(deviceId=1, patientId=8)) == []
    assert noted(envelope(deviceId=1, patientId=7)) == [(1, None, 7)]
    assert noted(envelope(deviceId=1, patientId=7, taken=before)) == []
    assert noted(envelope(deviceId=1, patientId=8, taken=before)) == [(1, None, 8)]
    assert noted(envelope(patientId=9)) == [], "found under its own key"
    assert noted(envelope(deviceId=9, deviceIdentifier="B")) == [], "a rejection: found by what it names"


# --- the registry's messages ------------------------------------------------------------------------------------------


def test_a_device_state_says_every_field_as_told() -> None:
    said = {
        "deviceIdentifiers": [{"type": "serial", "value": "ABC123"}],
        "currentStatus": "withPatient",
        "disabledReadings": False,
        "patientId": 7,
        "siteId": 3,
        "platformSite": False,
        "customerId": 1,
        "note": None,
    }
    told = state(
        "device",
        {"deviceId": 599, **said, "effectiveAt": "2026-01-05T14:00:00Z", "recordedAt": "2026-01-06T15:00:00+01:00"},
        told=NOON,
        offset=4,
    )
    assert told == State(
        about=About.DEVICE,
        subject_id=599,
        says=said,
        effective_at=at("2026-01-05T14:00"),
        blocking_effective_at=at("2026-01-05T14:00"),
        effective_at_sent=True,
        recorded_at=at("2026-01-06T14:00"),
        place=Place("kafka:registry.devices", 0, 4),
    )


@pytest.mark.parametrize(
    ("from_file", "sent", "effective", "blocking", "recorded"),
    [
        (False, {}, NOON, NOON, NOON),
        (False, {"recordedAt": "2026-01-01T00:00:00Z"}, NOON, NOON, NEW_YEAR),
        (False, {"effectiveAt": None, "recordedAt": None}, NOON, NOON, NOON),
        (True, {}, EARLIEST_INSTANT, NOON, NOON),
        (True, {"recordedAt": "2026-01-01T00:00:00Z"}, EARLIEST_INSTANT, NEW_YEAR, NEW_YEAR),
        (True, {"effectiveAt": None}, EARLIEST_INSTANT, NOON, NOON),
        (True, {"effectiveAt": "2026-01-01T00:00:00Z"}, NEW_YEAR, NEW_YEAR, NOON),
    ],
    ids=[
        "on a topic the record's timestamp",
        "on a topic recordedAt does not move effectiveAt",
        "on a topic null is absent",
        "in a file always and when it was opened",
        "in a file status and disabled count from recordedAt on",
        "in a file null is absent",
        "in a file effectiveAt holds for every field",
    ],
)
def test_from_when_a_state_holds_that_does_not_say_all_of_it(
    from_file: bool, sent: dict[str, Any], effective: datetime, blocking: datetime, recorded: datetime
) -> None:
    said = {"externalIdentifier": "mrn-7", "zipCode": "19137", "country": "USA", "customerId": 1}
    told = state("patient", {"patientId": 7, **said, **sent, "firstName": "x"}, told=NOON, from_file=from_file)
    assert told == State(
        about=About.PATIENT,
        subject_id=7,
        says=said,
        effective_at=effective,
        blocking_effective_at=blocking,
        effective_at_sent=sent.get("effectiveAt") is not None,
        recorded_at=recorded,
        place=Place("kafka:registry.patients", 0, 0),
    )
    reversed_ = {name: told.says[name] for name in reversed(told.says)}
    again = State(*told.said()[:2], reversed_, *told.said()[3:])
    assert again.content == told.content, "in one form, whatever order the fields come in"
