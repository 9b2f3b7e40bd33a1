"""The law's golden cases, by hand: one for every rule, tie and field. The oracle and the product are both held to each."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings

from tests import in_memory
from tests.histories import REGISTRY_FILES, first_seen, histories, history, offset_s, zone_of
from tests.oracle import (
    EARLIEST,
    LATEST,
    Law,
    Record,
    RegistryRecord,
    archive_received_at,
    as_time,
    explain,
    integral,
    reading_key,
    store,
)

# ---------------------------------------------------------------------------------------------------------------------
# Builders: a good reading of device 1 at noon, received a minute later, and what the registry says of it

NOON = "2026-03-10T12:00:00Z"
RAW, ARCHIVE = "kafka:readings.raw", "archive:aa"
DEVICES, PATIENTS, FILE = "kafka:registry.devices", "kafka:registry.patients", "archive:cc"
BYTES = b'{"type":"reading.heartRate","payload":{"deviceId":1,"readingTimestamp":"2026-03-10T12:00:00Z"}}'


def at(text):
    return datetime.fromisoformat(text).astimezone(UTC)


def hour(n):
    """2026-03-10 at that hour, as the messages say it."""
    return f"2026-03-10T{n:02}:00:00Z"


def record(value, *, offset=0, partition=0, source=RAW, received_at="2026-03-10T12:01:00Z"):
    return Record(source, partition, offset, received_at and at(received_at), value)


def raw(
    kind="heartRate", *, envelope=(), offset=0, partition=0, source=RAW, received_at="2026-03-10T12:01:00Z", **payload
):
    """A reading by its payload; `deviceId` 1 and noon unless said otherwise, `...` leaves a field out."""
    said = {"deviceId": 1, "readingTimestamp": NOON} | payload
    message = {"type": f"reading.{kind}", "payload": {k: v for k, v in said.items() if v is not ...}} | dict(envelope)
    return record(
        json.dumps(message).encode(), offset=offset, partition=partition, source=source, received_at=received_at
    )


def device(device_id=1, *, offset=0, partition=0, source=DEVICES, recorded="2026-03-01T00:00:00Z", **state):
    value = json.dumps({"deviceId": device_id} | state).encode()
    return RegistryRecord("device", source, partition, offset, at(recorded), source == FILE, value)


def patient(patient_id=7, *, offset=0, partition=0, source=PATIENTS, recorded="2026-03-01T00:00:00Z", **state):
    value = json.dumps({"patientId": patient_id} | state).encode()
    return RegistryRecord("patient", source, partition, offset, at(recorded), source == FILE, value)


KNOWN = device(offset=100)  # a state that says nothing but that the device is known


def judge(records, registry=(KNOWN,), law=Law()):  # noqa: B008
    """What the oracle says, once the product has said the same."""

    def first_seen(source):
        return at(NOON)

    said = store(records, registry, law, zone_of, offset_s, first_seen)
    assert not in_memory.unlike(in_memory.store(records, registry, law, first_seen), said)
    return said


def fate(reading, *registry, law=Law()):  # noqa: B008
    """The reason, or "accepted"."""
    out = judge([reading], registry or (KNOWN,), law)
    assert len(out.readings) + len([p for p in out.rejections if p == reading.place]) == 1
    return "accepted" if reading.place in out.readings else out.rejections[reading.place]["reason"]


def row(reading, *registry):
    out = judge([reading], registry or (KNOWN,))
    assert reading.place in out.readings, out.rejections
    return out.readings[reading.place]


def rejected(reading, *registry):
    return judge([reading], registry or (KNOWN,)).rejections[reading.place]


def state_fate(registry_record):
    out = judge([], [registry_record])
    return out.rejections[registry_record.place]["reason"] if out.rejections else "kept"


def fates(*records, registry=(KNOWN,)):
    out = judge(records, registry)
    return ["reading" if r.place in out.readings else out.rejections[r.place]["reason"] for r in records]


# ---------------------------------------------------------------------------------------------------------------------
# A whole row, and a whole rejection


def test_an_accepted_reading_has_every_column():
    reading = raw(
        "bloodPressure",
        envelope={"id": 57},
        offset=5,
        partition=2,
        id=9,
        deviceIdentifier="A",
        systolic=120,
        diastolic=80,
        heartRate=60,
        deviceTimeZoneOffset=-14400,
    )
    known = device(deviceIdentifiers=[{"type": "serial", "value": "A"}], patientId=7, customerId=1, effectiveAt=hour(1))
    assert row(reading, known, patient(zipCode="19137", customerId=2, effectiveAt=hour(1))) == {
        "subject": 1,
        "reading_type": "bloodPressure",
        "reading_timestamp": at(NOON),
        "device_id": 1,
        "patient_id": 7,
        "received_at": at("2026-03-10T12:01:00Z"),
        "device_time_zone_offset": -14400,
        "patient_time_zone_offset": -14400,
        "patient_time_zone": "America/New_York",
        "manual": False,
        "customer_id": 1,
        "reading_id": 9,
        "heart_rate_bpm": 60,
        "heart_rate_variability_ms": None,
        "heart_rate_variability_duration_ms": None,
        "heart_rate_variability_algorithm": None,
        "systolic_mmhg": 120,
        "diastolic_mmhg": 80,
        "glucose_mg_dl": None,
        "before_meal": None,
        "after_meal": None,
        "blood_oxygen_pct": None,
        "weight_lb": None,
        "temperature_f": None,
        "peak_expiratory_flow_l_min": None,
        "fev1_l": None,
        "bed_times": None,
        "get_up_times": None,
        "sleep_duration": None,
        "body_turn_over": None,
        "respiration": None,
        "deep_sleep_min": None,
        "light_sleep_min": None,
        "rem_min": None,
        "source_partition": 2,
        "source_offset": 5,
        "device_id_named": 1,
        "identifiers_named": ["A"],
        "patient_id_named": None,
    }


NOT_UNDERSTOOD = dict.fromkeys(
    (
        "reading_type",
        "device_id",
        "patient_id",
        "customer_id",
        "reading_timestamp",
        "device_id_named",
        "identifiers_named",
        "patient_id_named",
    )
)
NAMED = {"reading_type": "heartRate", "reading_timestamp": at(NOON), "device_id_named": 1, "identifiers_named": []}
RECEIVED = at("2026-03-10T12:01:00Z")


def test_of_a_malformed_record_nothing_is_understood_but_when_it_came():
    assert rejected(record(b"x")) == NOT_UNDERSTOOD | {"reason": "malformed", "received_at": RECEIVED}


def test_of_an_unknown_type_nothing_is_understood():
    assert rejected(raw("ecg")) == NOT_UNDERSTOOD | {"reason": "unknown_reading_type", "received_at": RECEIVED}


def test_of_an_invalid_reading_its_kind_is_understood():
    expected = {"reason": "invalid", "received_at": RECEIVED, "reading_type": "heartRate"}
    assert rejected(raw(manual=5)) == NOT_UNDERSTOOD | expected


def test_of_an_implausible_reading_what_it_says_is_understood():
    reading = raw(readingTimestamp="2000-01-01T00:00:00Z", patientId=7)
    expected = {"reason": "timestamp_implausible", "received_at": RECEIVED, "patient_id_named": 7}
    assert rejected(reading) == NOT_UNDERSTOOD | NAMED | expected | {"reading_timestamp": at("2000-01-01T00:00:00Z")}


def test_of_an_unknown_device_only_the_name_is_understood():
    expected = {"reason": "unknown_device", "received_at": RECEIVED, "device_id_named": 2}
    assert rejected(raw(deviceId=2)) == NOT_UNDERSTOOD | NAMED | expected


@pytest.mark.parametrize(
    ("blocked", "reason"),
    [({"currentStatus": "decommissioned"}, "device_decommissioned"), ({"disabledReadings": True}, "readings_disabled")],
    ids=["decommissioned", "disabled"],
)
def test_of_a_blocked_device_it_and_its_customer_are_understood_and_no_patient(blocked, reason):
    known = device(**blocked, patientId=7, customerId=1, effectiveAt=hour(1))
    expected = {"reason": reason, "received_at": RECEIVED, "device_id": 1, "customer_id": 1}
    assert rejected(raw(), known) == NOT_UNDERSTOOD | NAMED | expected


def test_of_a_customer_mismatch_patient_and_the_devices_customer_are_understood():
    states = device(customerId=1, effectiveAt=hour(1)), patient(customerId=2, effectiveAt=hour(1))
    expected = {"reason": "customer_mismatch", "received_at": RECEIVED, "device_id": 1, "patient_id": 7}
    assert rejected(raw(patientId=7), *states) == NOT_UNDERSTOOD | NAMED | expected | {
        "customer_id": 1,
        "patient_id_named": 7,
    }


def test_of_a_duplicate_everything_is_understood():
    known = device(patientId=7, customerId=1, effectiveAt=hour(1))
    out = judge([raw(), raw(offset=1)], [known])
    expected = {"reason": "duplicate", "received_at": RECEIVED, "device_id": 1, "patient_id": 7, "customer_id": 1}
    assert out.rejections == {(RAW, 0, 1): NOT_UNDERSTOOD | NAMED | expected}


def test_the_payload_of_rules_1_to_4_is_the_bytes_as_given_and_none_is_kept_of_later_ones():
    broken, unknown = record(b"\xff\x00", offset=0), raw("ecg", offset=1)
    invalid, implausible = raw(manual=5, offset=2), raw(readingTimestamp="2000-01-01T00:00:00Z", offset=3)
    out = judge([broken, unknown, invalid, implausible, raw(deviceId=2, offset=4)])
    assert out.payloads == {r.place: r.value for r in (broken, unknown, invalid, implausible)}


# ---------------------------------------------------------------------------------------------------------------------
# Rule 1


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"  ",
        b"[]",
        b"null",
        b"5",
        b'"x"',
        b"{",
        BYTES + BYTES,
        BYTES + b"x",
        BYTES[:-1] + b",}",
        b"\xef\xbb\xbf" + BYTES,
        BYTES.decode().encode("utf-16"),
        BYTES[:-1] + b',"note":"\xff"}',
        BYTES[:-1] + b',"note":"\xc0\x80"}',
        BYTES[:-1] + b',"note":"\xed\xa0\x80"}',
        BYTES[:-1] + b',"note":"a\tb"}',
        BYTES[:-1] + b',"note":01}',
        BYTES[:-1] + b",'note':1}",
    ],
)
def test_what_is_not_one_utf8_json_object_is_malformed(value):
    assert fate(record(value)) == "malformed"


def test_blanks_around_the_object_do_no_harm():
    assert fate(record(b" \t\r\n" + BYTES + b"\n")) == "accepted"


@pytest.mark.parametrize(
    "extra",
    [
        rb',"x":"\u0000"}',
        b',"x":"\x00"}',
        rb',"x":["\ud83d"]}',
        rb',"x":"\ude00\ud83d"}',
        rb',"\udc00":1}',
        rb',"x":"\u0000","x":"fine"}',
        b',"x":NaN}',
        b',"x":Infinity}',
        b',"x":[-Infinity]}',
        b',"x":NaN,"x":1}',
    ],
)
def test_nul_lone_surrogates_nan_and_infinities_are_malformed_anywhere(extra):
    """Also in unknown fields, in keys, and where a repeated key overwrites them."""
    assert fate(record(BYTES[:-1] + extra)) == "malformed"


def test_a_pair_of_surrogates_is_one_character():
    assert fate(record(BYTES[:-1] + rb',"x":"\ud83d\ude00"}')) == "accepted"


@pytest.mark.parametrize("number", ["1e999", "-1E+999", "1" * 4300, "1" + "0" * 400 + ".5", "1e-999", "-0"])
def test_a_number_of_any_size_is_json_in_a_field_that_nobody_reads(number):
    assert fate(record(BYTES[:-1] + b',"x":' + number.encode() + b"}")) == "accepted"


def test_a_whole_number_of_more_than_4300_digits_is_more_than_the_product_reads():
    """The one text of JSON that its parser does not take: set aside, not lost."""
    given = record(BYTES[:-1] + b',"x":' + b"1" * 4301 + b"}")
    assert given.place in store([given], [KNOWN], Law(), zone_of, offset_s, first_seen).readings
    assert in_memory.store([given], [KNOWN], Law(), first_seen).rejections[given.place]["reason"] == "malformed"


def test_one_mebibyte_is_the_limit():
    def padded(size):
        return record(BYTES + b" " * (size - len(BYTES)))

    assert fate(padded(1_048_576)) == "accepted"
    assert fate(padded(1_048_577)) == "malformed"
    assert fate(record(BYTES), law=Law(max_bytes=len(BYTES))) == "accepted"
    assert fate(record(BYTES), law=Law(max_bytes=len(BYTES) - 1)) == "malformed"


def test_sixty_four_levels_are_the_limit_the_outer_object_being_the_first():
    def nested(opening, closing, levels):
        return record(BYTES[:-1] + b',"x":' + opening * (levels - 1) + b"1" + closing * (levels - 1) + b"}")

    assert fate(nested(b"[", b"]", 64)) == "accepted"
    assert fate(nested(b"[", b"]", 65)) == "malformed"
    assert fate(nested(b'{"a":', b"}", 64)) == "accepted"
    assert fate(nested(b'{"a":', b"}", 65)) == "malformed"
    assert fate(nested(b"[", b"]", 500_000)) == "malformed"
    assert fate(record(BYTES), law=Law(max_depth=2)) == "accepted"
    assert fate(record(BYTES), law=Law(max_depth=1)) == "malformed"


def test_depth_counts_where_a_repeated_key_overwrites_it():
    deep = b"[" * 64 + b"]" * 64
    assert fate(record(BYTES[:-1] + b',"x":' + deep + b',"x":1}')) == "malformed"


def test_of_repeated_keys_the_last_counts():
    good = BYTES.replace(b'{"type"', b'{"type":5,"type"').replace(b'"deviceId"', b'"deviceId":"no","deviceId"')
    assert fate(record(good)) == "accepted"
    assert fate(record(BYTES[:-1] + b',"payload":null}')) == "invalid"


# ---------------------------------------------------------------------------------------------------------------------
# Rule 2


@pytest.mark.parametrize(
    "type_",
    ["reading.ecg", "reading.", "reading", "heartRate", "reading.heartrate", "Reading.heartRate", "", None, 5, []],
)
def test_a_type_other_than_reading_dot_a_known_kind_is_unknown(type_):
    assert fate(raw(envelope={"type": type_})) == "unknown_reading_type"


def test_a_record_without_a_type_is_unknown_whatever_else_is_wrong_with_it():
    assert fate(record(b"{}")) == "unknown_reading_type"
    assert fate(raw("ecg", manual=5, readingTimestamp=None)) == "unknown_reading_type"


# ---------------------------------------------------------------------------------------------------------------------
# Rule 3: the envelope, who is named, and the fields that every kind has


@pytest.mark.parametrize("payload", [None, [], "x", 5])
def test_a_payload_is_an_object(payload):
    assert fate(raw(envelope={"payload": payload})) == "invalid"


def test_a_payload_is_required():
    assert fate(record(b'{"type":"reading.heartRate"}')) == "invalid"


def test_unknown_fields_and_the_envelopes_id_are_ignored():
    ignored = {"id": "x", "receivedAt": "not on a topic", "v": 3}
    reading = raw(envelope=ignored, patientTimeZoneOffset="x", ecg=[1], id=9)
    assert row(reading)["reading_id"] == 9
    assert row(raw(envelope={"id": 5}))["reading_id"] is None


def test_a_received_at_in_an_archive_is_a_time_or_nothing():
    assert fate(raw(source=ARCHIVE, envelope={"receivedAt": hour(13)})) == "accepted"
    assert fate(raw(source=ARCHIVE, envelope={"receivedAt": None})) == "accepted"
    wrong = raw(source=ARCHIVE, envelope={"receivedAt": "2026-03-10"})  # refused by the product's archive source
    assert store([wrong], [KNOWN], Law(), zone_of, offset_s, first_seen).rejections[wrong.place]["reason"] == "invalid"
    assert archive_received_at(raw(envelope={"receivedAt": hour(13)}).value) == at(hour(13))
    assert archive_received_at(raw(envelope={"receivedAt": "2026-03-10"}).value) is None
    assert archive_received_at(raw().value) is archive_received_at(b"x") is None


@pytest.mark.parametrize("field", ["id", "deviceId", "patientId"])
@pytest.mark.parametrize("wrong", [0, -1, 2**63, 10**30, 1.5, "1", True, False, [1], {}])
def test_an_id_is_a_positive_int64(field, wrong):
    assert fate(raw(**{field: wrong})) == "invalid"
    assert fate(raw(device={"id": wrong}, deviceId=...)) == "invalid"
    assert fate(raw(patient={"id": wrong})) == "invalid"


def test_the_greatest_id_is_exact_and_an_integral_double_is_an_id():
    assert row(raw(id=2**63 - 1))["reading_id"] == 2**63 - 1
    assert row(raw(deviceId=1.0, id=88.0))["reading_id"] == 88


@pytest.mark.parametrize(
    "nobody", [{}, {"device": {}}, {"device": {"deviceIdentifiers": []}}, {"patient": {"id": None}}]
)
def test_naming_nobody_is_invalid(nobody):
    assert fate(raw(deviceId=..., **nobody)) == "invalid"
    assert fate(raw(deviceId=None, deviceIdentifier=None, patientId=None, **nobody)) == "invalid"


def test_saying_one_device_or_patient_and_another_is_invalid():
    assert fate(raw(deviceId=1, device={"id": 2})) == "invalid"
    assert fate(raw(patientId=7, patient={"id": 8})) == "invalid"


def test_saying_the_same_device_or_patient_twice_is_fine():
    named = row(raw(deviceId=1, device={"id": 1.0}, patientId=7, patient={"id": 7}))
    assert (named["device_id_named"], named["patient_id_named"]) == (1, 7)


def test_the_nested_ids_name_like_the_flat_ones():
    named = row(raw(deviceId=..., device={"id": 1, "itemId": 5}, patient={"id": 7, "name": None}))
    assert (named["device_id"], named["patient_id"], named["device_id_named"], named["patient_id_named"]) == (
        1,
        7,
        1,
        7,
    )


def test_identifiers_are_named_once_each_in_the_order_told_the_flat_one_first():
    nested = [{"value": "C"}, {"type": "imei", "value": "B"}, {"type": None, "value": "C"}]
    reading = raw(deviceIdentifier="B", device={"deviceIdentifiers": nested})
    assert row(reading)["identifiers_named"] == ["B", "C"]


@pytest.mark.parametrize("wrong", ["", "x" * 256, 5, True, [], {}])
def test_an_identifier_has_1_to_255_characters(wrong):
    assert fate(raw(deviceIdentifier=wrong)) == "invalid"
    assert fate(raw(device={"deviceIdentifiers": [{"value": wrong}]})) == "invalid"
    assert fate(raw(deviceIdentifier="é" * 255)) == "accepted"


@pytest.mark.parametrize(
    "wrong", [[{}], [{"value": None}], ["A"], [None], {"value": "A"}, "A", [{"type": "mac", "value": "A"}]]
)
def test_nested_identifiers_are_a_list_of_type_and_value(wrong):
    assert fate(raw(device={"deviceIdentifiers": wrong})) == "invalid"


@pytest.mark.parametrize("type_", ["serial", "imei", "macAddress", "iccid", "simCardNumber", None])
def test_an_identifiers_type_is_one_of_five_or_unsaid(type_):
    assert fate(raw(device={"deviceIdentifiers": [{"type": type_, "value": "A"}]})) == "accepted"
    assert fate(raw(device={"deviceIdentifiers": [{"type": "Serial", "value": "A"}]})) == "invalid"


@pytest.mark.parametrize("wrong", [5, "x", [], True])
def test_device_and_patient_are_objects(wrong):
    assert fate(raw(device=wrong)) == "invalid"
    assert fate(raw(patient=wrong)) == "invalid"
    assert fate(raw(device=None, patient=None)) == "accepted"


def test_the_device_offset_is_seconds_between_minus_12_and_plus_14_hours():
    for good in (-43200, 50400, 0, -14400.0, 5):
        assert row(raw(deviceTimeZoneOffset=good))["device_time_zone_offset"] == good
    for wrong in (-43201, 50401, 0.5, "0", True, []):
        assert fate(raw(deviceTimeZoneOffset=wrong)) == "invalid"


def test_the_device_offset_is_never_filled_in():
    states = device(patientId=7, effectiveAt=hour(1)), patient(zipCode="19137", effectiveAt=hour(1))
    for absent in (None, ...):
        told = row(raw(deviceTimeZoneOffset=absent), *states)
        assert (told["device_time_zone_offset"], told["patient_time_zone_offset"]) == (None, -14400)


def test_manual_is_a_bool_and_null_is_false():
    assert [row(raw(manual=m))["manual"] for m in (True, False, None, ...)] == [True, False, False, False]
    assert [fate(raw(manual=m)) for m in ("false", 0, 1, [])] == ["invalid"] * 4


@pytest.mark.parametrize("missing", [..., None])
def test_a_reading_timestamp_is_required(missing):
    assert fate(raw(readingTimestamp=missing)) == "invalid"


# ---------------------------------------------------------------------------------------------------------------------
# Rule 3: the measures, kind by kind

FULL = {  # kind -> a payload with every measure, and the columns that it fills
    "heartRate": ({"heartRate": 60}, {"heart_rate_bpm": 60}),
    "heartRateVariability": (
        {
            "heartRateVariability": 42.5,
            "heartRate": 60,
            "heartRateVariabilityDuration": 2**40,
            "heartRateVariabilityAlgorithmType": "sdnn",
        },
        {
            "heart_rate_variability_ms": 42.5,
            "heart_rate_bpm": 60,
            "heart_rate_variability_duration_ms": 2**40,
            "heart_rate_variability_algorithm": "sdnn",
        },
    ),
    "bloodPressure": (
        {"systolic": 120, "diastolic": 80, "heartRate": 60},
        {"systolic_mmhg": 120, "diastolic_mmhg": 80, "heart_rate_bpm": 60},
    ),
    "bloodGlucose": (
        {"glucose": 100, "glucoseUnit": "mgdl", "beforeMeal": False, "afterMeal": True},
        {"glucose_mg_dl": 100, "before_meal": False, "after_meal": True},
    ),
    "bloodOxygen": (
        {"bloodOxygen": 97, "bloodOxygenUnit": "spO2", "heartRate": 60},
        {"blood_oxygen_pct": 97, "heart_rate_bpm": 60},
    ),
    "weight": ({"weight": 180.5, "weightUnit": "lbs"}, {"weight_lb": 180.5}),
    "temperature": ({"temperature": 98.6, "temperatureUnit": "fahrenheit"}, {"temperature_f": 98.6}),
    "peakFlow": (
        {"peakExpiratoryFlow": 132, "forcedExpiratoryVolumeInOneSecond": 0.89},
        {"peak_expiratory_flow_l_min": 132.0, "fev1_l": 0.89},
    ),
    "sleepMatActivity": (
        {
            "bedTime": ["2022-06-30/20:01", ""],
            "getUpTime": ["20:00~06:00"],
            "duration": "8 h",
            "bodyTurnOver": 3,
            "heartRate": 55,
            "respiration": 12,
        },
        {
            "bed_times": ["2022-06-30/20:01", ""],
            "get_up_times": ["20:00~06:00"],
            "sleep_duration": "8 h",
            "body_turn_over": 3,
            "heart_rate_bpm": 55,
            "respiration": 12,
        },
    ),
    "sleepMatDuration": (
        {
            "deepSleep": 90,
            "lightSleep": 200,
            "rem": 70,
            "duration": "6 h",
            "bodyTurnOver": 3,
            "heartRate": 55,
            "respiration": 12,
        },
        {
            "deep_sleep_min": 90,
            "light_sleep_min": 200,
            "rem_min": 70,
            "sleep_duration": "6 h",
            "body_turn_over": 3,
            "heart_rate_bpm": 55,
            "respiration": 12,
        },
    ),
}
REQUIRED = {
    "heartRate": set(),
    "heartRateVariability": {"heartRateVariability"},
    "bloodPressure": {"systolic", "diastolic"},
    "bloodGlucose": {"glucose"},
    "bloodOxygen": {"bloodOxygen"},
    "weight": {"weight"},
    "temperature": {"temperature", "temperatureUnit"},
    "peakFlow": {"peakExpiratoryFlow"},
    "sleepMatActivity": {"bedTime", "getUpTime", "duration", "bodyTurnOver", "heartRate", "respiration"},
    "sleepMatDuration": {"deepSleep", "lightSleep", "rem", "duration", "bodyTurnOver", "heartRate", "respiration"},
}


@pytest.mark.parametrize("kind", FULL)
def test_every_kind_fills_its_own_columns_and_no_other(kind):
    payload, columns = FULL[kind]
    told = row(raw(kind, **payload))
    others = {"subject", "received_at", "source_partition", "source_offset", "manual"} | set(NOT_UNDERSTOOD)
    assert {name: value for name, value in told.items() if value is not None and name not in others} == columns


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, (payload, _) in FULL.items() for field in payload])
def test_a_required_measure_must_be_there_and_any_other_may_be_null(kind, field):
    payload = FULL[kind][0]
    expected = "invalid" if field in REQUIRED[kind] else "accepted"
    assert fate(raw(kind, **payload | {field: ...})) == expected
    assert fate(raw(kind, **payload | {field: None})) == expected


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, (payload, _) in FULL.items() for field in payload])
def test_every_measure_has_its_type(kind, field):
    payload = FULL[kind][0]
    good = payload[field]
    wrongs = {bool: ["true", 0], str: [5, True, ["x"]], list: ["x", [None], [5]]}.get(type(good), ["1", True, [1], {}])
    if isinstance(good, int) and not isinstance(good, bool) and not field.startswith("peak"):
        wrongs = [*wrongs, 1.5, 2**63]
    for wrong in wrongs:
        assert fate(raw(kind, **payload | {field: wrong})) == "invalid", wrong


def test_an_int_is_an_int32_and_may_be_negative():
    assert row(raw(heartRate=2**31 - 1))["heart_rate_bpm"] == 2**31 - 1
    assert row(raw(heartRate=-(2**31)))["heart_rate_bpm"] == -(2**31)
    assert fate(raw(heartRate=2**31)) == fate(raw(heartRate=-(2**31) - 1)) == "invalid"


def test_the_duration_of_a_variability_is_an_int64_of_any_sign():
    for good in (2**63 - 1, -(2**63), 0):
        told = row(raw("heartRateVariability", heartRateVariability=1, heartRateVariabilityDuration=good))
        assert told["heart_rate_variability_duration_ms"] == good
    for wrong in (2**63, -(2**63) - 1):
        assert (
            fate(raw("heartRateVariability", heartRateVariability=1, heartRateVariabilityDuration=wrong)) == "invalid"
        )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("88", 88),
        ("88.0", 88),
        ("88.000", 88),
        ("0.88e2", 88),
        ("8800E-2", 88),
        ("-0", 0),
        ("-0.0e5", 0),
        ("-88.0", -88),
        ("9007199254740993.0", 9007199254740993),
        ("1e18", 10**18),
        ("0e999999999999999999999999", 0),
        ("88.5", None),
        ("8e-1", None),
        ("88.00000000000000000000001", None),
        ("1e-999999999999999999999999", None),
        ("1e999999999999999999999999", None),
        ("1" * 5000, None),
    ],
)
def test_an_int_is_a_number_of_integral_value_exactly(text, number):
    assert integral(text) == number


def test_a_double_that_overflows_is_invalid_and_one_that_underflows_is_zero():
    def told(number):
        value = raw("weight", weight="?").value.replace(b'"?"', number)
        return judge([record(value)])

    assert told(b"1e999").rejections[RAW, 0, 0]["reason"] == "invalid"
    assert told(b"1e-999").readings[RAW, 0, 0]["weight_lb"] == 0
    assert told(b"1.7976931348623157e308").readings[RAW, 0, 0]["weight_lb"] == 1.7976931348623157e308


def test_a_weight_is_not_negative():
    assert [fate(raw("weight", weight=w)) for w in (0, -0.0, -0.001)] == ["accepted", "accepted", "invalid"]


@pytest.mark.parametrize(
    ("kind", "field", "good", "wrong"),
    [
        ("weight", "weightUnit", ["lbs", "LBS", "Lbs"], ["kg", "lb", "", " lbs"]),
        ("bloodGlucose", "glucoseUnit", ["mgdl", "MgDl"], ["mmol", "mg/dL"]),
        ("bloodOxygen", "bloodOxygenUnit", ["spo2", "spO2", "SPO2"], ["%", "spo"]),
        ("temperature", "temperatureUnit", ["celsius", "C", "c", "FAHRENHEIT", "f", "F"], ["kelvin", "", "°C"]),
    ],
)
def test_units_compare_without_regard_to_case(kind, field, good, wrong):
    payload = FULL[kind][0]
    assert [fate(raw(kind, **payload | {field: unit})) for unit in good] == ["accepted"] * len(good)
    assert [fate(raw(kind, **payload | {field: unit})) for unit in wrong] == ["invalid"] * len(wrong)


def test_an_algorithm_is_no_unit_its_case_counts():
    def told(name):
        return fate(raw("heartRateVariability", heartRateVariability=1, heartRateVariabilityAlgorithmType=name))

    assert [told(name) for name in ("sdann", "sdnn", "sdrr", "SDNN", "rmssd")] == ["accepted"] * 3 + ["invalid"] * 2


def test_a_temperature_is_stored_in_fahrenheit():
    def told(degrees, unit):
        return row(raw("temperature", temperature=degrees, temperatureUnit=unit))["temperature_f"]

    assert [told(37, "celsius"), told(-40, "C"), told(0, "c"), told(37, "F")] == [98.6, -40.0, 32.0, 37.0]


def test_a_temperature_that_overflows_as_it_is_converted_is_invalid():
    assert fate(raw("temperature", temperature=1e308, temperatureUnit="C")) == "invalid"
    assert fate(raw("temperature", temperature=1e308, temperatureUnit="F")) == "accepted"


def test_the_volume_of_one_second_has_two_names_and_the_longer_one_counts_first():
    long, short = "forcedExpiratoryVolumeInOneSecond", "forcedExpiratoryVolume"
    assert row(raw("peakFlow", peakExpiratoryFlow=1, **{short: 0.5}))["fev1_l"] == 0.5
    assert row(raw("peakFlow", peakExpiratoryFlow=1, **{short: 0.5, long: 0.6}))["fev1_l"] == 0.6
    assert row(raw("peakFlow", peakExpiratoryFlow=1, **{short: 0.5, long: None}))["fev1_l"] == 0.5
    assert fate(raw("peakFlow", peakExpiratoryFlow=1, **{short: "0.5", long: 0.6})) == "invalid"


# ---------------------------------------------------------------------------------------------------------------------
# Times


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-10T12:00:00Z", datetime(2026, 3, 10, 12, tzinfo=UTC)),
        ("2026-03-10t12:00:00z", datetime(2026, 3, 10, 12, tzinfo=UTC)),
        ("2026-03-10T07:00:00-05:00", datetime(2026, 3, 10, 12, tzinfo=UTC)),
        ("2026-03-10T17:45:00+05:45", datetime(2026, 3, 10, 12, tzinfo=UTC)),
        ("2026-03-10T12:00:00-00:00", datetime(2026, 3, 10, 12, tzinfo=UTC)),
        ("2026-03-11T11:59:00+23:59", datetime(2026, 3, 10, 12, tzinfo=UTC)),
        ("2026-03-10T12:00:00.5Z", datetime(2026, 3, 10, 12, microsecond=500_000, tzinfo=UTC)),
        ("2026-03-10T12:00:00.1234569Z", datetime(2026, 3, 10, 12, microsecond=123_456, tzinfo=UTC)),
        ("2026-03-10T12:00:00.9999999999999Z", datetime(2026, 3, 10, 12, microsecond=999_999, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
        ("0001-01-01T00:00:00+01:00", EARLIEST),
        ("9999-12-31T23:59:59-01:00", LATEST),
        ("0000-02-29T00:00:00Z", EARLIEST),
        ("0000-12-31T23:30:00-01:00", datetime(1, 1, 1, 0, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_rfc_3339_cut_to_microseconds_and_kept_within_the_calendar(text, moment):
    assert as_time(text) == moment
    if not text.startswith("0000"):  # a year that the product does not read
        out = judge([raw(readingTimestamp=text)])
        (told,) = [*out.readings.values(), *out.rejections.values()]
        assert told["reading_timestamp"] == moment


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-10T12:00:00",
        "2026-03-10 12:00:00Z",
        "2026-03-10T12:00Z",
        "2026-03-10",
        "2026-03-10T24:00:00Z",
        "2026-03-10T23:59:60Z",
        "2026-03-10T12:60:00Z",
        "2026-02-29T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-03-10T12:00:00.Z",
        "2026-03-10T12:00:00,5Z",
        "2026-03-10T12:00:00+0500",
        "2026-03-10T12:00:00+05",
        "2026-03-10T12:00:00+24:00",
        "2026-03-10T12:00:00+05:60",
        "2026-03-10T12:00:00 Z",
        "2026-03-10T12:00:00Z\n",
        " 2026-03-10T12:00:00Z",
        "20260310T120000Z",
        "2026-W11-2T12:00:00Z",
        "+2026-03-10T12:00:00Z",
        "２０２６-03-10T12:00:00Z",
        "",
        1_773_144_000,
        True,
        [],
    ],
)
def test_any_other_time_is_invalid(text):
    assert fate(raw(readingTimestamp=text)) == "invalid"


# ---------------------------------------------------------------------------------------------------------------------
# Rule 4


def test_a_reading_may_be_a_day_ahead_of_its_receipt_and_no_more():
    assert fate(raw(received_at="2026-03-09T12:00:00Z")) == "accepted"
    assert fate(raw(received_at="2026-03-09T11:59:59.999999Z")) == "timestamp_implausible"


def test_a_reading_of_unknown_receipt_is_held_against_the_moment_its_source_was_first_seen():
    """`judge` first saw every source at noon."""
    assert fate(raw(received_at=None, readingTimestamp="2026-03-11T12:00:00Z")) == "accepted"
    assert fate(raw(received_at=None, readingTimestamp="2026-03-11T12:00:00.000001Z")) == "timestamp_implausible"


def test_a_reading_of_2001_is_plausible_and_none_before():
    assert fate(raw(readingTimestamp="2001-01-01T00:00:00Z")) == "accepted"
    assert fate(raw(readingTimestamp="2000-12-31T23:59:59.9999999Z")) == "timestamp_implausible"


def test_both_limits_of_time_are_parameters():
    law = Law(future_limit=timedelta(0), earliest=at(hour(11)))
    assert fate(raw(received_at=NOON), law=law) == "accepted"
    assert fate(raw(received_at="2026-03-10T11:59:59Z"), law=law) == "timestamp_implausible"
    assert fate(raw(readingTimestamp=hour(10)), law=law) == "timestamp_implausible"


def test_times_at_the_calendars_edges_are_implausible():
    assert fate(raw(readingTimestamp="9999-12-31T23:59:59-01:00")) == "timestamp_implausible"
    assert fate(raw(readingTimestamp="0001-01-01T00:00:00+01:00")) == "timestamp_implausible"


def test_an_implausible_reading_of_an_unknown_device_is_implausible_the_first_rule_wins():
    assert fate(raw(readingTimestamp="2000-01-01T00:00:00Z", deviceId=99)) == "timestamp_implausible"


# ---------------------------------------------------------------------------------------------------------------------
# Rule 5


def owning(device_id, *values, **timing):
    return device(device_id, deviceIdentifiers=[{"type": "serial", "value": v} for v in values], **timing)


def test_a_device_is_found_by_id_by_identifier_or_by_both():
    known = owning(1, "A")
    for who in ({}, {"deviceId": ..., "deviceIdentifier": "A"}, {"deviceIdentifier": "A"}):
        assert row(raw(**who), known)["device_id"] == 1


def test_an_identifier_is_compared_exactly_and_by_value_alone():
    for other in ("a", "A ", "Ａ"):
        assert fate(raw(deviceId=..., deviceIdentifier=other), owning(1, "A")) == "unknown_device"
    nested = {"deviceIdentifiers": [{"type": "imei", "value": "A"}]}
    assert row(raw(deviceId=..., device=nested), owning(1, "A"))["device_id"] == 1


def test_identifiers_of_nobody_are_ignored_beside_one_that_is_known():
    assert row(raw(deviceIdentifier="Z"))["device_id"] == 1
    nested = {"deviceIdentifiers": [{"value": "Z"}, {"value": "A"}]}
    assert row(raw(deviceId=..., device=nested), owning(1, "A"))["device_id"] == 1


def test_identifiers_of_nobody_alone_name_an_unknown_device_even_beside_a_patient():
    assert fate(raw(deviceId=..., deviceIdentifier="Z")) == "unknown_device"
    assert fate(raw(deviceId=..., deviceIdentifier="Z", patientId=7)) == "unknown_device"


def test_a_device_without_any_state_is_unknown():
    assert fate(raw(deviceId=2)) == "unknown_device"
    assert fate(raw(deviceId=2), device(2, effectiveAt="2030-01-01T00:00:00Z")) == "accepted"


def test_a_device_is_not_known_by_a_patient_of_the_same_id():
    assert fate(raw(), patient(1)) == "unknown_device"


def test_naming_two_devices_is_a_mismatch_also_where_one_has_no_state():
    states = owning(1, "A"), owning(2, "B", offset=1)
    assert fate(raw(deviceIdentifier="B"), *states) == "device_mismatch"
    assert fate(raw(deviceId=9, deviceIdentifier="A"), *states) == "device_mismatch"
    nested = {"deviceIdentifiers": [{"value": "A"}, {"value": "B"}]}
    assert fate(raw(deviceId=..., device=nested), *states) == "device_mismatch"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"effectiveAt": hour(1), "recorded": hour(9), "offset": 90}, {"effectiveAt": hour(2), "recorded": hour(8)}),
        ({"effectiveAt": hour(1), "recorded": hour(8), "offset": 90}, {"effectiveAt": hour(1), "recorded": hour(9)}),
        (
            {"effectiveAt": hour(1), "recordedAt": hour(8), "offset": 90},
            {"effectiveAt": hour(1), "recordedAt": hour(9)},
        ),
        ({"effectiveAt": hour(1), "source": "kafka:Z", "partition": 9}, {"effectiveAt": hour(1), "source": "kafka:a"}),
        ({"effectiveAt": hour(1), "partition": 2, "offset": 90}, {"effectiveAt": hour(1), "partition": 10}),
        ({"effectiveAt": hour(1), "offset": 9}, {"effectiveAt": hour(1), "offset": 10}),
        ({"source": FILE, "recorded": hour(9)}, {"effectiveAt": "0001-01-01T00:00:00.000001Z"}),
        pytest.param({"source": FILE, "recorded": hour(9)}, {"effectiveAt": "0001-01-01T00:00:00Z"}),
    ],
    ids=[
        "effective before recorded and place",
        "recorded before place",
        "recorded as it says itself",
        "source by code point before partition",
        "partition as a number before offset",
        "offset as a number",
        "always before every moment",
        "always before the first moment",
    ],
)
def test_an_identifier_belongs_to_the_device_whose_state_is_smallest(first, second):
    """In order: `effectiveAt`, `recordedAt`, place (source, partition, offset)."""
    reading = raw(deviceId=..., deviceIdentifier="A")
    assert row(reading, owning(1, "A", **first), owning(2, "A", **({"offset": 50} | second)))["device_id"] == 1
    assert row(reading, owning(2, "A", **first), owning(1, "A", **({"offset": 50} | second)))["device_id"] == 2


def test_an_identifier_belongs_for_ever_even_before_it_is_said_and_after_it_is_taken_away():
    reading = raw(deviceId=..., deviceIdentifier="A")
    assert row(reading, owning(1, "A", effectiveAt="2030-01-01T00:00:00Z"))["device_id"] == 1
    states = owning(1, "A", effectiveAt=hour(1)), owning(1, effectiveAt=hour(2), offset=1)
    assert row(reading, *states, owning(2, "A", effectiveAt=hour(3), offset=2))["device_id"] == 1
    gone = device(1, deviceIdentifiers=None, effectiveAt=hour(2), offset=1)
    assert row(reading, states[0], gone)["device_id"] == 1


def test_a_reading_that_names_only_a_patient_passes_by_the_device_rules():
    told = row(raw(deviceId=..., patientId=7))
    assert (told["device_id"], told["patient_id"], told["subject"]) == (None, 7, -7)


# ---------------------------------------------------------------------------------------------------------------------
# Rule 6


def test_a_device_decommissioned_as_of_its_receipt_is_refused():
    known = device(currentStatus="decommissioned", effectiveAt="2026-03-10T12:01:00Z")
    assert fate(raw(received_at="2026-03-10T12:01:00Z"), known) == "device_decommissioned"
    assert fate(raw(received_at="2026-03-10T12:00:59.999999Z"), known) == "accepted"


def test_the_moment_of_receipt_decides_not_the_reading_timestamp():
    known = device(currentStatus="decommissioned", effectiveAt=hour(11))
    again = device(currentStatus="withPatient", effectiveAt=hour(13), offset=1)
    assert fate(raw(received_at=hour(14)), known, again) == "accepted"
    assert fate(raw(readingTimestamp=hour(10), received_at=hour(12)), known, again) == "device_decommissioned"


def test_where_receipt_is_unknown_the_reading_timestamp_decides():
    known = device(currentStatus="decommissioned", effectiveAt=hour(11))
    assert fate(raw(received_at=None, readingTimestamp=hour(11)), known) == "device_decommissioned"
    assert fate(raw(received_at=None, readingTimestamp=hour(10)), known) == "accepted"


def test_other_statuses_known_or_not_do_not_block():
    for status in ("available", "availableAtSite", "withPatient", "Decommissioned", "lost", "", None):
        assert fate(raw(), device(currentStatus=status, effectiveAt=hour(1))) == "accepted"


def test_the_blocked_statuses_are_a_parameter():
    law = Law(blocked_statuses=frozenset({"lost", "stolen"}))
    assert fate(raw(), device(currentStatus="lost", effectiveAt=hour(1)), law=law) == "device_decommissioned"
    assert fate(raw(), device(currentStatus="decommissioned", effectiveAt=hour(1)), law=law) == "accepted"


def test_disabled_readings_are_refused_and_enabled_again_accepted():
    off = device(disabledReadings=True, effectiveAt=hour(1))
    assert fate(raw(), off) == "readings_disabled"
    for again in (False, None):
        assert fate(raw(), off, device(disabledReadings=again, effectiveAt=hour(2), offset=1)) == "accepted"
    assert fate(raw(), off, device(currentStatus="withPatient", effectiveAt=hour(2), offset=1)) == "readings_disabled"


def test_decommissioned_is_told_before_disabled():
    known = device(disabledReadings=True, currentStatus="decommissioned", effectiveAt=hour(1))
    assert fate(raw(), known) == "device_decommissioned"


def test_enabling_readings_never_takes_back_a_decommission():
    known = device(currentStatus="decommissioned", effectiveAt=hour(1))
    assert fate(raw(), known, device(disabledReadings=False, effectiveAt=hour(2), offset=1)) == "device_decommissioned"


def test_before_its_first_state_a_device_is_known_not_blocked_and_not_assigned():
    later = device(currentStatus="decommissioned", patientId=7, customerId=1, effectiveAt=hour(20))
    told = row(raw(), later)
    assert (told["device_id"], told["patient_id"], told["customer_id"]) == (1, None, None)


# ---------------------------------------------------------------------------------------------------------------------
# Rule 7


def test_the_patient_is_the_named_one_else_the_devices_else_none():
    known = device(patientId=7, effectiveAt=hour(1))
    assert row(raw(patientId=8), known)["patient_id"] == 8
    assert row(raw(), known)["patient_id"] == 7
    assert row(raw())["patient_id"] is None


def test_the_devices_patient_is_as_of_the_reading_timestamp_not_the_receipt():
    states = device(patientId=7, effectiveAt=hour(1)), device(patientId=8, effectiveAt=hour(12), offset=1)
    assert row(raw(readingTimestamp="2026-03-10T11:59:59.999999Z", received_at=hour(13)), *states)["patient_id"] == 7
    assert row(raw(readingTimestamp=hour(12), received_at=hour(11)), *states)["patient_id"] == 8


def test_a_patient_taken_away_is_none():
    states = device(patientId=7, effectiveAt=hour(1)), device(patientId=None, effectiveAt=hour(2), offset=1)
    assert row(raw(), *states)["patient_id"] is None


def test_a_named_patient_of_another_customer_is_a_mismatch():
    ours, theirs = device(customerId=1, effectiveAt=hour(1)), patient(customerId=2, effectiveAt=hour(1))
    assert fate(raw(patientId=7), ours, theirs) == "customer_mismatch"
    assert fate(raw(patientId=7), ours, patient(customerId=1, effectiveAt=hour(1))) == "accepted"


def test_an_unnamed_patient_is_never_a_mismatch():
    ours, theirs = device(customerId=1, patientId=7, effectiveAt=hour(1)), patient(customerId=2, effectiveAt=hour(1))
    assert row(raw(), ours, theirs)["customer_id"] == 1


def test_unknown_customers_are_never_a_mismatch():
    theirs = patient(customerId=2, effectiveAt=hour(1))
    assert row(raw(patientId=7), KNOWN, theirs)["customer_id"] == 2
    assert row(raw(patientId=7), device(customerId=None, effectiveAt=hour(1)), theirs)["customer_id"] == 2
    assert row(raw(patientId=7), device(customerId=1, effectiveAt=hour(1)))["customer_id"] == 1
    assert row(raw(patientId=7))["customer_id"] is None


def test_the_devices_customer_is_as_of_receipt_and_does_not_cover_the_time_before():
    ours, theirs = device(customerId=1, effectiveAt=hour(13)), patient(customerId=2, effectiveAt=hour(1))
    assert fate(raw(patientId=7, received_at=hour(13)), ours, theirs) == "customer_mismatch"
    assert row(raw(patientId=7, received_at=hour(12)), ours, theirs)["customer_id"] == 2


def test_the_patients_customer_is_as_of_receipt_its_first_one_covering_the_time_before():
    ours = device(customerId=1, effectiveAt=hour(1))
    theirs = patient(customerId=2, effectiveAt=hour(13)), patient(customerId=1, effectiveAt=hour(15), offset=1)
    assert fate(raw(patientId=7, received_at=hour(12)), ours, *theirs) == "customer_mismatch"
    assert fate(raw(patientId=7, received_at=hour(14)), ours, *theirs) == "customer_mismatch"
    assert fate(raw(patientId=7, received_at=hour(15)), ours, *theirs) == "accepted"


def test_a_patients_first_known_customer_covers_a_null_said_before_it_but_none_said_after():
    before = patient(customerId=None, effectiveAt=hour(1))
    theirs = patient(customerId=2, effectiveAt=hour(13), offset=1)
    after = patient(customerId=None, effectiveAt=hour(15), offset=2)
    told = [row(raw(patientId=7, received_at=hour(h)), KNOWN, before, theirs, after) for h in (12, 13, 15)]
    assert [t["customer_id"] for t in told] == [2, 2, None]


def test_of_two_first_customers_at_one_moment_the_smaller_covers_the_time_before_and_the_greater_holds_from_then_on():
    theirs = patient(customerId=1, effectiveAt=hour(13)), patient(customerId=2, effectiveAt=hour(13), offset=1)
    told = [row(raw(patientId=7, received_at=hour(h)), KNOWN, *theirs)["customer_id"] for h in (12, 13)]
    assert told == [1, 2]


def test_customers_are_as_of_the_reading_timestamp_where_receipt_is_unknown():
    ours = device(customerId=1, effectiveAt=hour(1)), device(customerId=3, effectiveAt=hour(13), offset=1)
    theirs = patient(customerId=1, effectiveAt=hour(1)), patient(customerId=2, effectiveAt=hour(13), offset=1)
    assert row(raw(patientId=7, received_at=None), *ours, *theirs)["customer_id"] == 1
    assert fate(raw(patientId=7, received_at=None, readingTimestamp=hour(13)), *ours, *theirs) == "customer_mismatch"


def test_without_a_device_the_customer_is_the_patients():
    assert row(raw(deviceId=..., patientId=7), patient(customerId=2, effectiveAt=hour(20)))["customer_id"] == 2


# ---------------------------------------------------------------------------------------------------------------------
# Rule 8


def zoned(reading, *states):
    told = row(reading, KNOWN, *states)
    return told["patient_time_zone"], told["patient_time_zone_offset"]


@pytest.mark.parametrize(
    ("zip_code", "when", "offset"),
    [
        ("19137", "2024-07-04T00:00:00Z", -14400),
        ("19137", "2024-01-15T00:00:00Z", -18000),
        ("85001", "2024-07-04T00:00:00Z", -25200),
        ("96813", "2024-07-04T00:00:00Z", -36000),
        ("00901", "2024-01-15T00:00:00Z", -14400),
        ("19137", "2026-03-08T06:59:59.999999Z", -18000),
        ("19137", "2026-03-08T07:00:00Z", -14400),
        ("19137", "2025-11-02T05:59:59.999999Z", -14400),
        ("19137", "2025-11-02T06:00:00Z", -18000),
    ],
)
def test_the_patients_offset_is_their_zones_at_the_reading_timestamp(zip_code, when, offset):
    assert zoned(raw(patientId=7, readingTimestamp=when), patient(zipCode=zip_code))[1] == offset


def test_the_assigned_patient_has_a_zone_like_the_named_one():
    states = device(patientId=7, effectiveAt=hour(1)), patient(zipCode="85001", effectiveAt=hour(1))
    assert zoned(raw(), *states) == ("America/Phoenix", -25200)


def test_the_zip_is_as_of_the_reading_timestamp():
    states = patient(zipCode="19137", effectiveAt=hour(1)), patient(zipCode="85001", effectiveAt=hour(12), offset=1)
    assert zoned(raw(patientId=7, readingTimestamp=hour(11)), *states)[0] == "America/New_York"
    assert zoned(raw(patientId=7, readingTimestamp=hour(12), received_at=hour(11)), *states)[0] == "America/Phoenix"


def test_the_first_state_that_says_a_zip_covers_the_time_before_it_whatever_was_said_before():
    states = (
        patient(externalIdentifier="m", effectiveAt=hour(1)),
        patient(zipCode="19137", effectiveAt=hour(20), offset=1),
    )
    assert zoned(raw(patientId=7), *states)[0] == "America/New_York"


@pytest.mark.parametrize("blank", ["", "  ", "\t", None])
def test_a_blank_zip_says_none_and_covers_the_time_before_it(blank):
    moved = patient(zipCode=blank, effectiveAt=hour(13)), patient(zipCode="19137", effectiveAt=hour(14), offset=1)
    told = [zoned(raw(patientId=7, readingTimestamp=hour(h), received_at=hour(h)), *moved)[0] for h in (12, 13, 14)]
    assert told == [None, None, "America/New_York"]
    gone = patient(zipCode="19137", effectiveAt=hour(1)), patient(zipCode=blank, effectiveAt=hour(2), offset=1)
    assert zoned(raw(patientId=7), *gone) == (None, None)


def test_a_blank_zip_is_never_looked_up():
    states = KNOWN, patient(zipCode=" \t", effectiveAt=hour(1))
    out = store([raw(patientId=7)], states, Law(), lambda *_: "America/New_York", offset_s, first_seen)
    assert out.readings[RAW, 0, 0]["patient_time_zone"] is None


def test_the_first_is_the_first_in_effect_not_the_first_told():
    zips = patient(zipCode="19137", effectiveAt=hour(15)), patient(zipCode="85001", effectiveAt=hour(14), offset=1)
    assert zoned(raw(patientId=7), *zips)[0] == "America/Phoenix"
    customers = patient(customerId=1, effectiveAt=hour(15)), patient(customerId=2, effectiveAt=hour(14), offset=1)
    assert row(raw(patientId=7), KNOWN, *customers)["customer_id"] == 2


def test_of_two_first_zips_at_one_moment_the_smaller_covers_the_time_before_and_the_greater_holds_from_then_on():
    states = patient(zipCode="19137", effectiveAt=hour(13)), patient(zipCode="85001", effectiveAt=hour(13), offset=1)
    told = [zoned(raw(patientId=7, readingTimestamp=hour(h), received_at=hour(h)), *states)[0] for h in (12, 13)]
    assert told == ["America/New_York", "America/Phoenix"]


def test_there_is_no_zone_without_a_patient_a_state_a_zip_or_a_zone_of_the_zip():
    assert zoned(raw()) == (None, None)
    assert zoned(raw(patientId=7)) == (None, None)
    assert zoned(raw(patientId=7), patient(country="USA", effectiveAt=hour(1))) == (None, None)
    assert zoned(raw(patientId=7), patient(zipCode="99999", effectiveAt=hour(1))) == (None, None)


def test_a_foreign_country_has_no_zone_and_is_as_of_the_reading_timestamp():
    here, abroad = patient(zipCode="19137", effectiveAt=hour(1)), patient(country="DEU", effectiveAt=hour(13), offset=1)
    back = patient(country=None, effectiveAt=hour(15), offset=2)
    told = [
        zoned(raw(patientId=7, readingTimestamp=hour(h), received_at=hour(h)), here, abroad, back) for h in (12, 13, 15)
    ]
    assert [zone for zone, _ in told] == ["America/New_York", None, "America/New_York"]


def test_the_state_that_covers_the_time_before_it_covers_it_with_its_country():
    """A foreign code is no US zip the day before, and a country said earlier gives way with it."""
    berlin = patient(zipCode="10115", country="DEU", effectiveAt=hour(20))
    assert zoned(raw(patientId=7), berlin) == (None, None)
    abroad = patient(country="DEU", effectiveAt=hour(1), offset=1)
    assert zoned(raw(patientId=7), abroad, patient(zipCode="19137", effectiveAt=hour(20))) == (None, None)
    home = patient(zipCode="19137", country="USA", effectiveAt=hour(20))
    assert zoned(raw(patientId=7), abroad, home)[0] == "America/New_York"


# ---------------------------------------------------------------------------------------------------------------------
# Rule 9


def test_of_two_readings_of_one_key_the_first_received_is_the_reading():
    assert fates(raw(received_at=hour(14)), raw(offset=1, received_at=hour(13))) == ["duplicate", "reading"]


def test_a_reading_of_unknown_receipt_comes_last():
    assert fates(raw(received_at=None), raw(offset=1, received_at=hour(23))) == ["duplicate", "reading"]


def test_received_together_the_source_the_partition_and_the_offset_decide():
    assert fates(raw(source="kafka:b"), raw(source="kafka:a", partition=9, offset=9)) == ["duplicate", "reading"]
    assert fates(raw(partition=1), raw(offset=9)) == ["duplicate", "reading"]
    assert fates(raw(offset=10), raw(offset=9)) == ["duplicate", "reading"]
    assert fates(raw(received_at=None, offset=10), raw(received_at=None, offset=9)) == ["duplicate", "reading"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"deviceId": 1}, {"deviceId": 2}),
        ({"readingTimestamp": NOON}, {"readingTimestamp": "2026-03-10T12:00:00.000001Z"}),
        ({"kind": "heartRate"}, {"kind": "weight", "weight": 1}),
        ({"deviceId": 1, "patientId": 7}, {"deviceId": ..., "patientId": 7}),
        ({"deviceId": ..., "patientId": 7}, {"deviceId": ..., "patientId": 8}),
    ],
    ids=["device", "moment", "kind", "a patient's own beside a device's", "patient"],
)
def test_another_device_kind_moment_or_subject_is_another_reading(one, other):
    assert fates(raw(**one), raw(**other, offset=1), registry=[KNOWN, device(2)]) == ["reading", "reading"]


def test_a_device_and_a_patient_of_one_number_never_meet():
    keys = [reading_key(row(raw(**who))) for who in ({}, {"deviceId": ..., "patientId": 1})]
    assert keys == [(1, "heartRate", at(NOON)), (-1, "heartRate", at(NOON))]


def test_one_key_for_one_device_however_it_was_named_and_whatever_patient():
    again = raw(deviceId=..., deviceIdentifier="A", patientId=8, readingTimestamp="2026-03-10T14:00:00+02:00", offset=1)
    assert fates(raw(), again, registry=[owning(1, "A")]) == ["reading", "duplicate"]


def test_without_a_device_the_patient_is_the_key():
    assert fates(raw(deviceId=..., patientId=7), raw(deviceId=..., patient={"id": 7}, offset=1)) == [
        "reading",
        "duplicate",
    ]


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        ({}, {"heartRate": None, "manual": None, "deviceTimeZoneOffset": None}, "duplicate"),
        ({"manual": False}, {}, "duplicate"),
        ({"id": 1}, {"id": 2}, "duplicate"),
        ({"patientId": 7}, {"patientId": 8}, "duplicate"),
        ({"heartRate": 60}, {"heartRate": 60.0}, "duplicate"),
        ({"heartRate": 60}, {"heartRate": 61}, "conflicting_duplicate"),
        ({"heartRate": 60}, {}, "conflicting_duplicate"),
        ({"manual": True}, {}, "conflicting_duplicate"),
        ({"deviceTimeZoneOffset": 0}, {}, "conflicting_duplicate"),
        ({"deviceTimeZoneOffset": 0}, {"deviceTimeZoneOffset": 3600}, "conflicting_duplicate"),
    ],
    ids=[
        "null is absent",
        "manual unsaid is false",
        "its id does not count",
        "its patient does not count",
        "88.0 is 88",
        "another measure",
        "a measure unsaid",
        "manual",
        "an offset of zero is not none",
        "another offset",
    ],
)
def test_a_duplicate_says_the_same_measures_manual_and_device_offset(one, other, reason):
    assert fates(raw(**one), raw(**other, offset=1)) == ["reading", reason]
    assert fates(raw(**other), raw(**one, offset=1)) == ["reading", reason]


def test_measures_are_the_same_as_stored_not_as_sent():
    celsius = raw("temperature", temperature=37, temperatureUnit="C")
    same = raw("temperature", temperature=98.6, temperatureUnit="F", offset=1)
    other = raw("temperature", temperature=37, temperatureUnit="F", offset=2)
    assert fates(celsius, same, other) == ["reading", "duplicate", "conflicting_duplicate"]


def test_every_other_is_held_against_the_present_winner_not_against_each_other():
    readings = raw(heartRate=60), raw(heartRate=61, offset=1), raw(heartRate=61, offset=2), raw(heartRate=60, offset=3)
    assert fates(*readings) == ["reading", "conflicting_duplicate", "conflicting_duplicate", "duplicate"]


def test_a_refused_reading_takes_no_part_and_gives_way_to_the_next():
    blocked = device(disabledReadings=True, effectiveAt=hour(12))
    again = device(disabledReadings=False, effectiveAt=hour(13), offset=1)
    readings = raw(heartRate=60, received_at=hour(12)), raw(heartRate=61, offset=1, received_at=hour(13))
    last = raw(heartRate=61, offset=2, received_at=hour(14))
    assert fates(*readings, last, registry=[blocked, again]) == ["readings_disabled", "reading", "duplicate"]


def test_the_same_record_delivered_again_changes_nothing_and_its_content_sent_again_is_another():
    assert judge([raw(), raw()]).readings == judge([raw()]).readings
    assert judge([raw(), raw()]).rejections == {}
    assert fates(raw(), raw(offset=1)) == ["reading", "duplicate"]


def test_two_different_records_at_one_place_are_no_history():
    with pytest.raises(ValueError, match="two records at one place"):
        judge([raw(heartRate=1), raw(heartRate=2)])


# ---------------------------------------------------------------------------------------------------------------------
# As of t, field by field


def test_an_absent_field_says_nothing_and_null_says_none():
    states = [
        device(patientId=7, customerId=1, effectiveAt=hour(1)),
        device(customerId=2, effectiveAt=hour(2), offset=1),
        device(patientId=None, effectiveAt=hour(3), offset=2),
    ]
    assert [row(raw(), *states[:n])["patient_id"] for n in (1, 2, 3)] == [7, 7, None]
    assert [row(raw(), *states[:n])["customer_id"] for n in (1, 2, 3)] == [1, 2, 2]


@pytest.mark.parametrize(
    ("smaller", "greater"),
    [
        ({"effectiveAt": hour(1), "recorded": hour(9), "offset": 90}, {"effectiveAt": hour(2), "recorded": hour(8)}),
        ({"effectiveAt": hour(1), "recorded": hour(8), "offset": 90}, {"effectiveAt": hour(1), "recorded": hour(9)}),
        ({"effectiveAt": hour(1), "recordedAt": hour(8), "offset": 90}, {"effectiveAt": hour(1), "recorded": hour(9)}),
        ({"effectiveAt": hour(1), "source": "kafka:Z", "partition": 9}, {"effectiveAt": hour(1), "source": "kafka:a"}),
        ({"effectiveAt": hour(1), "partition": 2, "offset": 90}, {"effectiveAt": hour(1), "partition": 10}),
        ({"effectiveAt": hour(1), "offset": 9}, {"effectiveAt": hour(1), "offset": 10}),
        ({"source": FILE, "recorded": hour(9)}, {"effectiveAt": "0001-01-01T00:00:00.000001Z"}),
        pytest.param({"source": FILE, "recorded": hour(9)}, {"effectiveAt": "0001-01-01T00:00:00Z"}),
        ({"source": FILE, "recorded": hour(8)}, {"source": FILE, "offset": 1, "recorded": hour(9)}),
    ],
    ids=[
        "effective before recorded and place",
        "recorded before place",
        "recorded as it says itself",
        "source by code point before partition",
        "partition as a number before offset",
        "offset as a number",
        "always before every moment",
        "always before the first moment",
        "recorded where both are always",
    ],
)
def test_the_greatest_state_counts(smaller, greater):
    """In order: `effectiveAt`, `recordedAt`, place (source, partition, offset), "always" below every moment."""
    greater = {"offset": 50} | greater
    assert row(raw(), device(patientId=7, **smaller), device(patientId=8, **greater))["patient_id"] == 8
    assert row(raw(), device(patientId=8, **smaller), device(patientId=7, **greater))["patient_id"] == 7


def test_a_change_is_effective_from_its_moment_on_however_late_it_was_recorded():
    late = device(patientId=7, effectiveAt=hour(12), recorded="2027-01-01T00:00:00Z")
    assert row(raw(), late)["patient_id"] == 7
    assert row(raw(readingTimestamp="2026-03-10T11:59:59.999999Z"), late)["patient_id"] is None


def test_times_of_states_are_instants():
    state = device(patientId=7, effectiveAt="2026-03-10T13:00:00+01:00")
    assert row(raw(), state)["patient_id"] == 7


# ---------------------------------------------------------------------------------------------------------------------
# Changes told more than once


def test_a_change_told_again_word_for_word_does_not_outrank_what_came_between():
    told = device(patientId=7, effectiveAt=hour(1), recorded=hour(2))
    between = device(patientId=8, effectiveAt=hour(1), recorded=hour(3), offset=1)
    again = device(patientId=7, effectiveAt=hour(1), recorded=hour(4), offset=2)
    assert row(raw(), told, between, again)["patient_id"] == 8
    assert set(judge([], [told, between, again]).states) == {told.place, between.place}


@pytest.mark.parametrize(
    "otherwise",
    [
        {"effectiveAt": "2026-03-10T02:00:00+01:00"},
        {"recordedAt": hour(4)},
        {"patientId": 7.0},
        {"unknown": "field"},
        {"source": "kafka:other"},
    ],
    ids=["in another zone", "recorded later", "an id as a double", "an unknown field more", "from another source"],
)
def test_it_is_one_change_however_its_moment_is_written_and_whenever_it_was_recorded(otherwise):
    told = device(patientId=7, effectiveAt=hour(1), recorded=hour(2))
    again = device(**{"patientId": 7, "effectiveAt": hour(1), "recorded": hour(4), "offset": 2} | otherwise)
    assert set(judge([], [told, again]).states) == {told.place}


@pytest.mark.parametrize(
    "otherwise",
    [
        {"effectiveAt": hour(2)},
        {"patientId": 8},
        {"note": "x"},
        {"note": None},
        {"customerId": None},
        {"deviceIdentifiers": []},
        {"device_id": 2},
    ],
    ids=str,
)
def test_a_field_more_or_otherwise_is_another_change(otherwise):
    told = device(patientId=7, effectiveAt=hour(1))
    again = device(**{"patientId": 7, "effectiveAt": hour(1), "offset": 2} | otherwise)
    assert len(judge([], [told, again]).states) == 2


def test_null_and_the_empty_list_and_another_order_of_identifiers_are_different_changes():
    said = [
        None,
        [],
        [{"value": "A"}, {"value": "B"}],
        [{"value": "B"}, {"value": "A"}],
        [{"type": "imei", "value": "A"}],
    ]
    states = [device(deviceIdentifiers=s, effectiveAt=hour(1), offset=n) for n, s in enumerate(said)]
    assert len(judge([], states).states) == len(said)


def test_without_an_explicit_effective_at_nothing_is_merged():
    topic = [device(patientId=7, recorded=hour(1), offset=n) for n in (0, 1)]
    file = [device(patientId=7, source=FILE, recorded=hour(1), offset=n) for n in (0, 1)]
    assert len(judge([], topic + file).states) == 4


def test_the_earliest_recorded_at_counts_then_the_place():
    states = [
        device(patientId=7, effectiveAt=hour(1), recorded=hour(4), offset=0),
        device(patientId=7, effectiveAt=hour(1), recorded=hour(3), offset=2),
        device(patientId=7, effectiveAt=hour(1), recorded=hour(3), offset=1),
    ]
    assert set(judge([], states).states) == {(DEVICES, 0, 1)}


def test_a_patients_change_told_again_does_not_outrank_what_came_between():
    told = patient(zipCode="19137", effectiveAt=hour(1), recorded=hour(2))
    between = patient(zipCode="85001", effectiveAt=hour(1), recorded=hour(3), offset=1)
    again = patient(zipCode="19137", effectiveAt=hour(1), recorded=hour(4), offset=2)
    assert zoned(raw(patientId=7), told, between, again)[0] == "America/Phoenix"


def test_a_patients_change_is_merged_like_a_devices_and_never_with_it():
    states = [
        patient(7, customerId=1, effectiveAt=hour(1)),
        patient(7, customerId=1, effectiveAt=hour(1), source=FILE),
        device(7, customerId=1, effectiveAt=hour(1)),
    ]
    assert set(judge([], states).states) == {(FILE, 0, 0), (DEVICES, 0, 0)}


# ---------------------------------------------------------------------------------------------------------------------
# `effectiveAt` and `recordedAt` unsaid; registry files


@pytest.mark.parametrize("unsaid", [{}, {"effectiveAt": None}])
def test_on_a_topic_an_unsaid_effective_at_is_the_records_timestamp(unsaid):
    state = device(currentStatus="decommissioned", patientId=7, recorded=hour(12), **unsaid)
    assert row(raw(received_at=hour(11), readingTimestamp=hour(11)), state)["patient_id"] is None
    assert row(raw(received_at=hour(11)), state)["patient_id"] == 7
    assert fate(raw(received_at=hour(12)), state) == "device_decommissioned"


def test_a_recorded_at_of_its_own_does_not_move_an_unsaid_effective_at_on_a_topic():
    state = device(patientId=7, recorded=hour(12), recordedAt=hour(1))
    assert row(raw(readingTimestamp=hour(11)), state)["patient_id"] is None


@pytest.mark.parametrize("unsaid", [{}, {"effectiveAt": None}])
def test_in_a_file_an_unsaid_effective_at_is_always(unsaid):
    export = device(patientId=7, customerId=1, source=FILE, recorded=hour(20), **unsaid)
    told = row(raw(readingTimestamp="2001-01-01T00:00:00Z"), export, patient(zipCode="85001", source=FILE, offset=1))
    assert (told["patient_id"], told["customer_id"], told["patient_time_zone"]) == (7, 1, "America/Phoenix")


def test_in_a_file_status_and_disabled_count_only_from_when_it_was_recorded():
    for said, reason in (("currentStatus", "device_decommissioned"), ("disabledReadings", "readings_disabled")):
        value = "decommissioned" if said == "currentStatus" else True
        export = device(**{said: value}, patientId=7, source=FILE, recorded=hour(13))
        assert row(raw(received_at="2026-03-10T12:59:59.999999Z"), export)["patient_id"] == 7
        assert fate(raw(received_at=hour(13)), export) == reason
        earlier = device(**{said: value}, source=FILE, recorded=hour(13), recordedAt=hour(10))
        assert fate(raw(received_at=hour(10)), earlier) == reason


def test_a_files_status_outranks_what_a_topic_said_before_it_was_recorded():
    said = device(currentStatus="withPatient", effectiveAt=hour(9))
    export = device(currentStatus="decommissioned", source=FILE, recorded=hour(11))
    assert fate(raw(), said, export) == "device_decommissioned"
    assert fate(raw(), device(currentStatus="withPatient", effectiveAt=hour(12)), export) == "accepted"


def test_in_a_file_an_explicit_effective_at_holds_for_every_field():
    state = device(currentStatus="decommissioned", source=FILE, recorded=hour(20), effectiveAt=hour(11))
    assert fate(raw(received_at=hour(11)), state) == "device_decommissioned"
    assert fate(raw(received_at=hour(10)), state) == "accepted"


def test_a_backdated_change_takes_back_what_came_after_it():
    late = device(disabledReadings=True, effectiveAt=hour(11), recorded="2027-01-01T00:00:00Z")
    assert fate(raw(), KNOWN, late) == "readings_disabled"


# ---------------------------------------------------------------------------------------------------------------------
# Registry messages that are set aside


@pytest.mark.parametrize(
    "value", [None, b"", b"[]", b'{"deviceId":1,"x":NaN}', rb'{"deviceId":1,"x":"\u0000"}', b'{"deviceId":1']
)
def test_a_tombstone_and_what_is_no_json_object_are_malformed(value):
    assert state_fate(RegistryRecord("device", DEVICES, 0, 0, at(NOON), False, value)) == "malformed"


def test_a_registry_message_has_the_limits_of_a_reading_and_of_repeated_keys_the_last_counts():
    def told(value):
        return state_fate(RegistryRecord("device", DEVICES, 0, 0, at(NOON), False, value))

    assert told(b'{"deviceId":1}' + b" " * (1_048_576 - 14)) == "kept"
    assert told(b'{"deviceId":1}' + b" " * (1_048_577 - 14)) == "malformed"
    assert told(b'{"deviceId":1,"x":' + b"[" * 63 + b"]" * 63 + b"}") == "kept"
    assert told(b'{"deviceId":1,"x":' + b"[" * 64 + b"]" * 64 + b"}") == "malformed"
    assert told(b'{"deviceId":"no","deviceId":1}') == "kept"
    assert told(b'{"deviceId":1,"deviceId":"no"}') == "invalid"


def test_a_registry_message_set_aside_keeps_its_bytes_and_its_timestamp_unless_it_is_a_files():
    wrong, in_file = device(0), device(0, source=FILE)
    out = judge([], [wrong, in_file])
    expected = NOT_UNDERSTOOD | {"reason": "invalid"}
    assert out.rejections == {
        wrong.place: expected | {"received_at": wrong.timestamp},
        in_file.place: expected | {"received_at": None},
    }
    assert out.payloads == {wrong.place: wrong.value, in_file.place: in_file.value}
    assert out.states == {}


@pytest.mark.parametrize("wrong", [None, 0, -1, 2**63, "1", True, 1.5])
def test_a_state_says_whose_it_is(wrong):
    assert state_fate(device(wrong)) == state_fate(patient(wrong)) == "invalid"
    assert state_fate(RegistryRecord("device", DEVICES, 0, 0, at(NOON), False, b'{"patientId":1}')) == "invalid"
    assert state_fate(RegistryRecord("patient", PATIENTS, 0, 0, at(NOON), False, b'{"deviceId":1}')) == "invalid"


@pytest.mark.parametrize(
    ("field", "good", "wrong"),
    [
        (
            "deviceIdentifiers",
            [None, [], [{"value": "A"}]],
            ["A", {}, ["A"], [{"value": ""}], [{"type": "x", "value": "A"}]],
        ),
        ("currentStatus", [None, "", "anything"], [5, True, []]),
        ("disabledReadings", [None, True, False], ["true", 0, 1]),
        ("patientId", [None, 1, 1.0], [0, "1", True, 2**63]),
        ("siteId", [None, 1], [0, "1"]),
        ("platformSite", [None, True], ["true", 1]),
        ("customerId", [None, 1], [0, "1"]),
        ("note", [None, "", "x"], [5, []]),
        ("effectiveAt", [None, hour(1)], ["", "2026-03-10", 5, "2026-03-10 12:00:00Z"]),
        ("recordedAt", [None, hour(1)], ["", "2026-03-10", 5]),
        ("unknown", [None, 5, []], []),
    ],
)
def test_every_field_of_a_device_state_has_its_type(field, good, wrong):
    assert [state_fate(device(**{field: value})) for value in good] == ["kept"] * len(good)
    assert [state_fate(device(**{field: value})) for value in wrong] == ["invalid"] * len(wrong)


@pytest.mark.parametrize(
    ("field", "good", "wrong"),
    [
        ("externalIdentifier", [None, "", "mrn"], [5]),
        ("zipCode", [None, "", "19137", "anything"], [19137, []]),
        ("country", [None, "", "USA"], [1, True]),
        ("customerId", [None, 1], [0, "1"]),
        ("effectiveAt", [None, hour(1)], ["x"]),
        ("recordedAt", [None, hour(1)], ["x"]),
        ("deviceIdentifiers", [5], []),
    ],
)
def test_every_field_of_a_patient_state_has_its_type(field, good, wrong):
    assert [state_fate(patient(**{field: value})) for value in good] == ["kept"] * len(good)
    assert [state_fate(patient(**{field: value})) for value in wrong] == ["invalid"] * len(wrong)


def test_an_invalid_state_makes_nothing_known():
    assert fate(raw(), device(customerId=0, effectiveAt=hour(1))) == "unknown_device"


def test_a_registry_record_delivered_again_changes_nothing():
    assert len(judge([], [KNOWN, KNOWN]).states) == 1


# ---------------------------------------------------------------------------------------------------------------------
# The whole, over many histories


def judged(h, records=None, registry=None):
    return store(
        h.records if records is None else records,
        h.registry if registry is None else registry,
        Law(),
        zone_of,
        offset_s,
        first_seen,
    )


def stored(out):
    return out.readings, out.rejections, out.payloads, set(out.states)


@pytest.mark.parametrize("seed", range(50))
def test_a_history_is_a_pure_function_of_its_seed(seed):
    assert history(seed) == history(seed)
    assert len(str(history(seed)).splitlines()) >= len(history(seed).records)


@settings(deadline=None)
@given(histories())
def test_neither_order_nor_repetition_changes_what_is_stored(h):
    shuffled = Random(1).sample(h.records + h.records, 2 * len(h.records))
    registry = Random(2).sample(h.registry + h.registry, 2 * len(h.registry))
    assert stored(judged(h, shuffled, registry)) == stored(judged(h))


@settings(deadline=None)
@given(histories())
def test_every_record_ends_in_exactly_one_place_and_every_key_has_one_reading(h):
    out = judged(h)
    places = {r.place for r in h.records}
    assert out.readings.keys() | (out.rejections.keys() & places) == places
    assert not out.readings.keys() & out.rejections.keys()
    keys = [reading_key(reading) for reading in out.readings.values()]
    assert len(keys) == len(set(keys))
    assert all(explain(out, place) for place in places)


def test_the_histories_meet_every_reason_every_kind_and_every_merge():
    seen, kinds, merged, nowhere = set(), set(), 0, 0
    for seed in range(150):
        h = history(seed)
        out = judged(h)
        seen |= {rejection["reason"] for rejection in out.rejections.values()}
        kinds |= {reading["reading_type"] for reading in out.readings.values()}
        given_states = {r.place for r in h.registry} - out.rejections.keys()
        merged += len(given_states) > len(out.states)
        nowhere += any(reading["patient_time_zone"] is None for reading in out.readings.values())
    assert seen == {
        "malformed",
        "unknown_reading_type",
        "invalid",
        "timestamp_implausible",
        "device_mismatch",
        "unknown_device",
        "device_decommissioned",
        "readings_disabled",
        "customer_mismatch",
        "duplicate",
        "conflicting_duplicate",
    }
    assert kinds == set(FULL)
    assert merged > 10
    assert 10 < nowhere < 150


def test_a_histories_records_tell_the_truth_about_themselves():
    """An archive's record says when it was received, a file's when it was first opened, and no place has two records."""
    for h in map(history, range(100)):
        for r in h.records:
            if r.source.startswith("archive:"):
                assert r.received_at == archive_received_at(r.value)
        for r in h.registry:
            assert r.from_file == (r.source in REGISTRY_FILES)
            assert not r.from_file or r.timestamp == REGISTRY_FILES[r.source]
        for one, other in itertools.combinations([*h.records, *h.registry], 2):
            assert one.place != other.place or one == other
