"""A refused record as a line of a file: to look at, to mend, and to give again.

    {"source": "kafka:readings.raw", "partition": 0, "offset": 12, "reason": "invalid", "detail": "…",
     "receivedAt": "2026-07-01T12:00:00Z", "digest": "…", "record": {"type": "reading.heartRate", "payload": {…}}}

`record` is the JSON object where the bytes are one, else their text, else `recordBase64`; null is a record without a
value. By `digest` a line that nobody has changed is known to be the record that stands in the ledger already; where it
is null, the line is a new one in any case.
"""

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from hashlib import blake2b
from typing import Any, Final

from ingest.content import NoRecord
from schemas.judgement import Entry, Judgement, Rejected

_RECORD, _BASE64, _DIGEST, _RECEIVED_AT = "record", "recordBase64", "digest", "receivedAt"
_NAME: Final = b'"digest"'


def line_of(entry: Entry[Judgement], *, as_new: bool = False) -> dict[str, Any]:
    """The line that a refused record is exported as.

    :param as_new: given again it is a new record, though nobody changes it.
    """
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
        _DIGEST: None if as_new else _digest(told),
        **told,
    }


class StandsAlready(bytes):
    """A line of an archive that gives a record that the ledger has already, at a place of its own."""


def as_given_again(lines: list[bytes]) -> list[bytes]:
    """What lines of an archive give: those that are one of these the record in it, all others themselves."""
    return [_given_again(line) if _NAME in line else line for line in lines]


def _given_again(line: bytes) -> bytes:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return line
    if not isinstance(document, dict) or _DIGEST not in document or not {_RECORD, _BASE64} & document.keys():
        return line
    told = {name: document[name] for name in (_RECORD, _BASE64) if name in document}
    if document[_DIGEST] == _digest(told):
        return StandsAlready(line)
    try:
        return _value(told, document.get(_RECEIVED_AT))
    except ValueError as error:
        return NoRecord(line, str(error))


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


def _value(told: dict[str, Any], received_at: Any) -> bytes:
    """The bytes of a record of an archive, which says itself when it was received."""
    if _BASE64 in told:
        try:
            return b64decode(told[_BASE64], validate=True)
        except (Base64Error, TypeError):
            raise ValueError("recordBase64: must be base64") from None
    record = told[_RECORD]
    if isinstance(record, dict):
        record = json.dumps(record if received_at is None else record | {_RECEIVED_AT: received_at})
    return str(record or "").encode()


def _digest(told: dict[str, Any]) -> str:
    """Of what a line tells, however it is laid out."""
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()
