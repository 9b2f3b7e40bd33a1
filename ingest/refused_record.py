"""A refused record as a line of a file: to look at, to mend, and to give again.

    {"source": "kafka:readings.raw", "partition": 0, "offset": 12, "reason": "invalid", "detail": "…",
     "receivedAt": "2026-07-01T12:00:00Z", "digest": "…", "record": {"type": "reading.heartRate", "payload": {…}}}

`record` is the JSON object where the bytes are one, else their text, else `recordBase64`; null is a record without a
value. By `digest` a line that nobody has changed is known to be the record that stands in the ledger already.
"""

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from schemas.judgement import Entry, Judgement, Rejected

_RECORD, _BASE64, _DIGEST, _RECEIVED_AT = "record", "recordBase64", "digest", "receivedAt"
FIELDS: Final = ("source", "partition", "offset", "reason", "detail", _RECEIVED_AT, _DIGEST, _RECORD)


class Given(NamedTuple):
    """What a line gives."""

    value: bytes | None
    received_at: Any
    """As the line says it."""
    unchanged: bool
    """It is the record that was exported."""


def line_of(entry: Entry[Judgement]) -> dict[str, Any]:
    """The line that a refused record is exported as."""
    rejected = entry.judgement
    assert isinstance(rejected, Rejected), "only what was refused is exported"
    told = _told(rejected.payload)
    received_at = entry.received_at
    return {
        "source": entry.place.source,
        "partition": entry.place.partition,
        "offset": entry.place.offset,
        "reason": str(rejected.reason),
        "detail": rejected.detail,
        _RECEIVED_AT: None if received_at is None else received_at.isoformat().replace("+00:00", "Z"),
        _DIGEST: _digest(told),
        **told,
    }


def is_line(document: dict[str, Any]) -> bool:
    """Whether an object of a file is such a line, and no envelope."""
    return _DIGEST in document and (_RECORD in document or _BASE64 in document)


def given_by(document: dict[str, Any]) -> Given:
    """The record that a line gives.

    :raises ValueError: when `recordBase64` is none.
    """
    told = {name: document[name] for name in (_RECORD, _BASE64) if name in document}
    unchanged = document[_DIGEST] == _digest(told)
    return Given(_value(told), document.get(_RECEIVED_AT), unchanged)


def _told(payload: bytes) -> dict[str, Any]:
    if not payload:
        return {_RECORD: None}
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return {_BASE64: b64encode(payload).decode()}
    try:
        document = json.loads(text, object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        return {_RECORD: text}
    return {_RECORD: document if isinstance(document, dict) else text}


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(document := dict(pairs)) != len(pairs):
        raise ValueError("a key twice: as an object it would say less")
    return document


def _value(told: dict[str, Any]) -> bytes | None:
    if _BASE64 in told:
        try:
            return b64decode(told[_BASE64], validate=True)
        except (Base64Error, TypeError):
            raise ValueError("recordBase64: must be base64") from None
    record = told[_RECORD]
    if record is None:
        return None
    return record.encode() if isinstance(record, str) else json.dumps(record).encode()


def _digest(told: dict[str, Any]) -> str:
    """Of what a line tells, however it is laid out."""
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()
