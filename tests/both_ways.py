"""What bytes say, read in one go and step by step."""

from datetime import datetime

from schemas import envelope as read
from schemas.envelope import NotUnderstood, archived_received_at
from schemas.reading import Reading
from tests.build import LAW

LIMITS = {"max_bytes": LAW.max_bytes, "max_depth": LAW.max_depth}
Told = Reading | NotUnderstood


def told(value: bytes) -> tuple[Told, Told]:
    """By the way that is usual, and step by step."""
    return read.understand(value, **LIMITS), read._step_by_step(value, **LIMITS)


def told_of_line(line: bytes) -> tuple[tuple[Told, datetime | None], tuple[Told, datetime | None]]:
    """The same of a line of an archive, with when it was received."""
    received_at = archived_received_at(line)
    in_steps = read._step_by_step(line, **LIMITS, receipt_wanted=received_at is None)
    return read.understand_line(line, **LIMITS), (in_steps, received_at)
