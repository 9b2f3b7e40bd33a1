"""The platform's envelope `{id, type, payload}`: rules 1 to 3 of the law."""

from dataclasses import dataclass

from pydantic import ValidationError

from schemas.kinds import Kind
from schemas.payloads import PAYLOADS
from schemas.reading import Reading
from schemas.reasons import Reason
from schemas.wire import MalformedError, broken_rules, parse_object


@dataclass(frozen=True, slots=True)
class NotUnderstood:
    """Why the bytes are no reading: `detail` names the field and the rule, never a value."""

    reason: Reason
    detail: str | None
    kind: Kind | None = None


def understand(value: bytes | None, *, max_bytes: int, max_depth: int) -> Reading | NotUnderstood:
    """The reading that the bytes say, or the first of rules 1 to 3 that they break. Never raises."""
    try:
        envelope = parse_object(value, max_bytes=max_bytes, max_depth=max_depth)
    except MalformedError as error:
        return NotUnderstood(Reason.MALFORMED, str(error))
    reading_type = envelope.get("type")
    model = PAYLOADS.get(reading_type) if isinstance(reading_type, str) else None
    if model is None:
        return NotUnderstood(Reason.UNKNOWN_READING_TYPE, None)
    try:
        return model.model_validate(envelope.get("payload")).reading()
    except ValidationError as error:
        return NotUnderstood(Reason.INVALID, broken_rules(error, within="payload"), model.kind)
