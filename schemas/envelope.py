"""The platform's envelope `{id, type, payload}`: rules 1 to 3 of the law."""

from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from schemas.kinds import Kind
from schemas.payloads import PAYLOADS
from schemas.reading import Reading
from schemas.reasons import Reason
from schemas.value import value
from schemas.wire import Instant, MalformedError, broken_rules, parse_object

_RECEIVED_AT: Final = TypeAdapter[datetime | None](Instant | None)
_MAX_DEPTH: Final = 64


@value
class NotUnderstood:
    """Why the bytes are no reading: `detail` names the field and the rule, never a value."""

    reason: Reason
    detail: str | None
    kind: Kind | None = None


def understand(
    value: bytes | None, *, max_bytes: int, max_depth: int, in_archive: bool = False
) -> Reading | NotUnderstood:
    """The reading that the bytes say, or the first of rules 1 to 3 that they break. Never raises.

    :param in_archive: they are a line of an archive, where a `receivedAt` has to be a time.
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
        if in_archive:
            _received_at(envelope)
    except ValidationError as error:
        return NotUnderstood(Reason.INVALID, broken_rules(error, within="receivedAt"), payload_of.kind)
    try:
        return payload_of.reading(envelope.get("payload"))
    except ValidationError as error:
        return NotUnderstood(Reason.INVALID, broken_rules(error, within="payload"), payload_of.kind)


def archived_received_at(value: bytes) -> datetime | None:
    """When a line of an archive says that it was received; None where it says nothing that could be understood.

    Told by the bytes alone: a later law that takes larger records changes no receipt.
    """
    if b"receivedAt" not in value and b"\\u" not in value:
        return None  # without an escape the name can only be spelt out
    try:
        return _received_at(parse_object(value, max_bytes=len(value), max_depth=_MAX_DEPTH))
    except (MalformedError, ValidationError):
        return None


def _received_at(envelope: dict[str, Any]) -> datetime | None:
    return _RECEIVED_AT.validate_python(envelope.get("receivedAt"))
