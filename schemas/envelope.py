"""The platform's envelope `{id, type, payload}`: rules 1 to 3 of the law."""

from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from schemas.kinds import Kind
from schemas.payloads import PAYLOADS
from schemas.plain import is_plain, plain_instant
from schemas.plain_envelope import READERS, decode
from schemas.reading import Reading
from schemas.reasons import Reason
from schemas.record import Record
from schemas.value import Value
from schemas.wire import Instant, MalformedError, broken_rules, parse_object

_RECEIVED_AT: Final = TypeAdapter[datetime | None](Instant | None)


_MAX_DEPTH: Final = 64


class NotUnderstood(Value):
    """Why the bytes are no reading: `detail` names the field and the rule, never a value."""

    __slots__ = ("detail", "kind", "reason")

    def __init__(self, reason: Reason, detail: str | None, kind: Kind | None = None) -> None:
        self.reason: Final = reason
        self.detail: Final = detail
        self.kind: Final = kind

    def said(self) -> tuple[object, ...]:
        return self.reason, self.detail, self.kind


def understand(value: bytes | None, *, max_bytes: int, max_depth: int) -> Reading | NotUnderstood:
    """The reading that the bytes say, or the first of rules 1 to 3 that they break. Never raises."""
    if value is not None and is_plain(value, max_bytes=max_bytes, max_depth=max_depth):
        try:
            # In one go from JSON: a third of what it costs step by step.
            envelope = decode(value)
            return READERS[type(envelope)].reading_at(envelope.payload)
        except ValueError:
            pass  # wrong, or written unusually: step by step it is told which
    return _step_by_step(value, max_bytes=max_bytes, max_depth=max_depth)


def understand_line(
    value: bytes | None, *, max_bytes: int, max_depth: int
) -> tuple[Reading | NotUnderstood, datetime | None]:
    """The same of a line of an archive, in which a `receivedAt` has to be a time; and that time, where it says one."""
    if value is not None and is_plain(value, max_bytes=max_bytes, max_depth=max_depth):
        try:
            envelope = decode(value)
            written = envelope.received_at
            received_at = None if written is None else plain_instant(written)
            return READERS[type(envelope)].reading_at(envelope.payload), received_at
        except ValueError:
            pass
    received_at = archived_received_at(value)
    understood = _step_by_step(value, max_bytes=max_bytes, max_depth=max_depth, receipt_wanted=received_at is None)
    return understood, received_at


def _step_by_step(
    value: bytes | None, *, max_bytes: int, max_depth: int, receipt_wanted: bool = False
) -> Reading | NotUnderstood:
    """The bytes, the envelope, the payload: and what is wrong with the first that is no such thing.

    :param receipt_wanted: a `receivedAt` has to be a time.
    """
    try:
        envelope = parse_object(value, max_bytes=max_bytes, max_depth=max_depth)
    except MalformedError as error:
        return NotUnderstood(Reason.MALFORMED, str(error))
    reading_type = envelope.get("type")
    payload_of = PAYLOADS.get(reading_type) if isinstance(reading_type, str) else None
    if payload_of is None:
        return NotUnderstood(Reason.UNKNOWN_READING_TYPE, None)
    try:
        if receipt_wanted:
            _received_at(envelope)
    except ValidationError as error:
        return NotUnderstood(Reason.INVALID, broken_rules(error, within="receivedAt"), payload_of.kind)
    try:
        return payload_of.reading(envelope.get("payload"))
    except ValidationError as error:
        return NotUnderstood(Reason.INVALID, broken_rules(error, within="payload"), payload_of.kind)


def archived_received_at(value: bytes | None) -> datetime | None:
    """When a line of an archive says that it was received; None where it says nothing that could be understood.

    Told by the bytes alone: a later law that takes larger records changes no receipt.
    """
    if value is None or (b"receivedAt" not in value and b"\\u" not in value):
        return None  # without an escape the name can only be spelt out
    try:
        return _received_at(parse_object(value, max_bytes=len(value), max_depth=_MAX_DEPTH))
    except (MalformedError, ValidationError):
        return None


def receipt_of(record: Record) -> datetime | None:
    """When a record was received, as far as it is known: a line of an archive tells it itself."""
    if record.received_at is None and record.place.in_archive:
        return archived_received_at(record.value)
    return record.received_at


def _received_at(envelope: dict[str, Any]) -> datetime | None:
    return _RECEIVED_AT.validate_python(envelope.get("receivedAt"))
