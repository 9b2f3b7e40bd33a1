"""What is read in one go from JSON is what is read step by step."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import envelope as read
from schemas.envelope import NotUnderstood, archived_received_at
from schemas.plain import is_plain, plain_instant
from schemas.plain_envelope import READERS, decode
from schemas.wire import RFC3339
from tests.both_ways import LIMITS, told, told_of_line
from tests.build import envelope

TAKEN = "2026-07-01T12:00:00Z"
WRITTEN = [
    TAKEN,
    "2026-07-01T12:00:00.5Z",
    "2026-07-01T12:00:00.123456Z",
    "2026-07-01T12:00:00.1234567Z",
    "2026-07-01T12:00:00.123456789123Z",
    "2026-07-01T12:00:00.Z",
    "2026-07-01T12:00:00,5Z",
    "2026-07-01T24:00:00Z",
    "2026-07-01T23:59:60Z",
    "2026-02-29T12:00:00Z",
    "2024-02-29T12:00:00Z",
    "2026-W27-3T12:00:00Z",
    "2026-07-01 12:00:00Z",
    "2026-07-01t12:00:00z",
    "2026-07-01T12:00:00+00:00",
    "2026-07-01T12:00:00.5+05:30",
    "2026-07-01T12:00:00+05:30Z",
    "2026-07-01T12:00:00",
    "2026-07-01T12:00Z",
    "20260701T120000Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    "２026-07-01T12:00:00Z",
    "2026-07-01T12:00:00.٣Z",
    "",
    "Z",
]
ODD = [
    b"",
    b"[]",
    b"{}",
    b'{"type":"reading.heartRate"}',
    b'{"type":"reading.heartRate","payload":null}',
    b'{"type":1,"payload":{}}',
    b'{"payload":{},"type":"reading.ecg"}',
    envelope() + b"{}",
    envelope()[:-1] + b',"other":NaN}',
    envelope()[:-1] + b',"other":-Infinity}',
    envelope()[:-1] + b',"other":1e400}',
    envelope()[:-1] + b',"other":"\\u0000"}',
    envelope()[:-1] + b',"other":"\\\\u0000"}',
    envelope()[:-1] + b',"other":"\\ud800"}',
    envelope()[:-1] + b',"other":"\xff"}',
    envelope()[:-1] + b',"other":"\xed\xa0\x80"}',
    envelope()[:-1] + ',"other":"é"}'.encode(),
    envelope(deviceIdentifier="E" * 255).replace(b"E", "é".encode()),
    envelope(deviceIdentifier="E" * 256).replace(b"E", "é".encode()),
    envelope()[:-1] + b',"\xff":1}',
    b"\xef\xbb\xbf" + envelope(),
    envelope()[:-1] + b',"other":"\x1f"}',
    envelope()[:-1] + b',"other":"\\/\\n\\x"}',
    envelope()[:-1] + b',"other":"\\/\\n"}',
    envelope()[:-1] + b',"other":01}',
    envelope()[:-1] + b',"other":' + b"1" * 4_301 + b"}",
    envelope()[:-1] + b',"other":0.' + b"1" * 4_301 + b"}",
    envelope()[:-1] + b',"other":[1,]}',
    envelope()[:-1] + b',"receivedAt":5}',
    envelope()[:-1] + b',"receivedAt":"2026-07-01T12:00:00.1234567+00:00"}',
    *(envelope()[:-1] + b',"other":' + b"[" * depth + b"]" * depth + b"}" for depth in (62, 63, 64)),
    envelope()[:-1] + b',"type":"reading.weight"}',
    envelope("weight", weight=1)[:-1]
    + b',"payload":{"readingTimestamp":"2026-07-01T12:00:00Z","deviceId":2,"weight":2}}',
    envelope("weight", weight=1).replace(b'"weight": 1', b'"weight": 1, "weight": 2.5'),
    envelope("weight", weight=1).replace(b'"weight": 1', b'"weight": 1e400'),
    envelope("weight", weight=1).replace(b'"weight": 1', b'"weight": NaN'),
    envelope(deviceId=12345678901234567890),
    envelope(deviceId=9007199254740993.0),
    envelope(heartRate=60.0),
    envelope(heartRate="60"),
    envelope(deviceId=1, device={"id": 2}),
    envelope(deviceIdentifier="a", device={"id": 2, "deviceIdentifiers": [{"value": "b"}, {"value": "a"}]}),
    envelope(device={"deviceIdentifiers": []}),
    envelope(patientId=1, patient={"id": 1}),
    envelope(manual=None),
    envelope(manual="true"),
]


@pytest.mark.parametrize("tell", [told, told_of_line])
@pytest.mark.parametrize("value", [*ODD, *(envelope(readingTimestamp=written) for written in WRITTEN)])
def test_in_one_go_as_step_by_step(value: bytes, tell: Callable[[bytes], tuple[object, object]]) -> None:
    at_once, in_steps = tell(value)
    assert at_once == in_steps


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("written", [WRITTEN[0], "no time"])
def test_a_receipt_beside_what_is_odd(odd: bytes, written: str) -> None:
    at_once, in_steps = told_of_line(b'{"receivedAt":' + json.dumps(written).encode() + b"," + odd[1:])
    assert at_once == in_steps


@pytest.mark.parametrize("written", [*WRITTEN, None, 5])
def test_a_receipt_in_one_go_as_step_by_step(written: object) -> None:
    line = envelope()[:-1] + b',"receivedAt":' + json.dumps(written).encode() + b"}"
    at_once, (in_steps, received) = told_of_line(line)
    assert at_once == (in_steps, received)
    # A name that is spelt by an escape is found step by step.
    assert received == archived_received_at(line.replace(b"receivedAt", b"received\\u0041t"))
    assert received is None or (isinstance(received, datetime) and received.tzinfo is not None)
    assert (received is None) == (written is None or isinstance(in_steps, NotUnderstood))


@settings(max_examples=500)
@given(
    st.datetimes().map(lambda at: at.isoformat() + "Z")
    | st.datetimes().map(lambda at: at.isoformat() + "+00:00")
    | st.from_regex(r"\d{4}.\d\d.\d\d.\d\d.\d\d.\d\d.?\d{0,9}Z?")
)
@example("2026-07-01T12:00:00\n")
def test_a_moment_in_one_go_as_step_by_step(written: str) -> None:
    at_once, in_steps = told(envelope(readingTimestamp=written))
    assert at_once == in_steps


@settings(max_examples=500)
@given(
    st.sampled_from(
        ["2026-07-01T12:00:00Z", "2026-07-01T12:00:00.5Z", "2026-07-01T12:00:00.123456Z", "2026-07-01T12:00:00+00:00"]
    ),
    st.integers(0, 27),
    st.integers(0, 2),
    st.text(st.sampled_from("0129-:.,TtZzW+ \n\u0663\uff12"), max_size=2),
)
@example("2026-07-01T12:00:00.5Z", 20, 1, "")
def test_what_is_taken_for_plainly_written_is_rfc_3339(written: str, at: int, leave_out: int, put_in: str) -> None:
    changed = written[:at] + put_in + written[at + leave_out :]
    try:
        instant = plain_instant(changed)
    except ValueError:
        return
    assert re.fullmatch(RFC3339, changed)
    assert instant.tzinfo is UTC


USUAL = [
    envelope(),
    envelope(deviceIdentifier="E", note="a\nb").replace(b"E", "é".encode()),
    envelope(device={"id": 1, "deviceIdentifiers": [{"type": "imei", "value": "a"}]}, patient={"id": 2}, other=[1.5]),
    envelope("heartRateVariability", heartRateVariability=41, heartRateVariabilityAlgorithmType="sdnn"),
    envelope("bloodPressure", systolic=120, diastolic=80, heartRate=None, deviceTimeZoneOffset=-18_000),
    envelope("bloodGlucose", glucose=99, glucoseUnit="mgdl", beforeMeal=True),
    envelope("bloodOxygen", bloodOxygen=97, bloodOxygenUnit="SpO2"),
    envelope("weight", weight=182.4, weightUnit="lbs", manual=True, id=7),
    envelope("temperature", temperature=37, temperatureUnit="Celsius"),
    envelope("temperature", temperature=98.6, temperatureUnit="f"),
    envelope("peakFlow", peakExpiratoryFlow=432, forcedExpiratoryVolume=2.9),
    envelope(
        "sleepMatActivity", bedTime=["a/b"], getUpTime=[], duration="09:59", bodyTurnOver=1, heartRate=2, respiration=3
    ),
    envelope(
        "sleepMatDuration", deepSleep=1, lightSleep=2, rem=3, duration="", bodyTurnOver=1, heartRate=2, respiration=3
    ),
]


@pytest.mark.parametrize("value", USUAL)
def test_what_is_usual_is_read_in_one_go(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all of these compare one way with itself."""
    assert is_plain(value, **LIMITS)
    reading = READERS[type(decode(value))].reading_at(decode(value).payload)
    line = value[:-1] + b',"receivedAt":"%s"}' % TAKEN.encode()
    assert told(value) == (reading, reading)
    assert told_of_line(line) == ((reading, datetime.fromisoformat(TAKEN)),) * 2
    monkeypatch.setattr(read, "_step_by_step", lambda *_, **__: pytest.fail("step by step"))
    monkeypatch.setattr(read, "archived_received_at", lambda *_: pytest.fail("read twice"))
    assert read.understand(value, **LIMITS) == reading
    assert read.understand_line(line, **LIMITS)[0] == reading
