"""The law, rules 1 to 8: a case for each rule, tie and field."""

import json
from datetime import timedelta
from typing import Any

import pytest

from enrich.judge import judge
from enrich.law import Law
from enrich.registry import Registry
from schemas.judgement import Accepted, Judgement, Rejected
from schemas.reading import canonical_envelope
from schemas.reasons import Reason
from tests.build import LAW, NOON, at, device, envelope, patient, record, registry, state

KNOWN = registry(device(1))


def judged(value: bytes | None, known: Registry = KNOWN, *, received: Any = NOON, law: Law = LAW) -> Judgement:
    return judge(record(value, received=received), first_seen=NOON, registry=known, law=law)


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
    from schemas.reading import MEASURES

    reading = accepted(envelope(kind, **measures)).reading
    assert dict(zip(MEASURES, reading.measures, strict=True))[column] == stored
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


def test_an_infinite_measure_is_invalid_and_zero_is_an_offset() -> None:
    value = envelope("weight", weight=150).replace(b"150", b"1e999")
    assert refused(value).reason is Reason.INVALID
    assert accepted(envelope(deviceTimeZoneOffset=0)).reading.device_time_zone_offset == 0


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
    assert accepted(envelope(), registry(later, earlier, twin)).patient_id == 9


def test_a_change_told_twice_counts_where_it_was_told_first() -> None:
    moment = "2026-02-01T00:00:00Z"
    told = [
        device(patientId=7, effectiveAt=moment, told=at("2026-03-01"), offset=1),
        device(patientId=8, effectiveAt=moment, told=at("2026-03-02"), offset=2),
        device(patientId=7, effectiveAt=moment, told=at("2026-03-03"), offset=3),
    ]
    assert accepted(envelope(), registry(*told)).patient_id == 8


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
