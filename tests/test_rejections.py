"""Refused records written out, mended and given again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.refused_record import given_by, is_line, line_of
from schemas.judgement import Entry, Rejected
from schemas.reasons import Reason
from schemas.record import Place
from tests.build import NOON, SOURCE, envelope


def line(payload: bytes) -> dict[str, Any]:
    """As it comes back from a file."""
    entry = Entry(Place(SOURCE, 0, 5), NOON, Rejected(Reason.INVALID, "payload: x", payload=payload))
    return json.loads(json.dumps(line_of(entry)))


PAYLOADS = [
    b"",
    b"junk",
    b"\xff\xfe",
    b"{}",
    b"5",
    b'"text"',
    b"null",
    b'{"a":1,"a":2}',
    b'{"a":"\\ud800"}',
    b'{"a":NaN,"b":1e999}',
    b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    '{"n":"Zoë","x":1.10,"big":123456789012345678901234567890}'.encode(),
    envelope(),
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_nobody_has_changed_is_known_and_gives_what_was_given(payload: bytes) -> None:
    given_back = given_by(line(payload))
    assert is_line(line(payload))
    assert given_back.unchanged
    if payload and not isinstance(line(payload)["record" if "record" in line(payload) else "recordBase64"], dict):
        assert given_back.value == payload
    elif payload:
        assert json.loads(given_back.value or b"") == json.loads(payload) or b"NaN" in payload
    else:
        assert given_back.value is None


@given(st.binary(max_size=40))
def test_any_bytes_survive_the_file(payload: bytes) -> None:
    assert given_by(line(payload)).unchanged


def test_a_line_laid_out_anew_is_the_same_and_one_with_another_value_is_not() -> None:
    said = line(envelope(heartRate="60"))
    assert given_by(json.loads(json.dumps(said, indent=2, sort_keys=True))).unchanged
    said["record"]["payload"]["heartRate"] = 60
    mended = given_by(said)
    assert not mended.unchanged
    assert json.loads(mended.value or b"")["payload"]["heartRate"] == 60
    assert mended.received_at == "2026-07-01T12:00:00Z"


def test_what_is_no_base64_is_told() -> None:
    said = line(b"\xff")
    with pytest.raises(ValueError, match="recordBase64: must be base64"):
        given_by(said | {"recordBase64": "?"})


def test_an_envelope_is_no_such_line() -> None:
    assert not is_line(json.loads(envelope()))
