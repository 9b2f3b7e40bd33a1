"""What becomes of a record: a reading in the store, or a rejection with its reason."""

from collections.abc import Iterable
from dataclasses import field
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar, cast

from schemas.kinds import Kind
from schemas.reading import Reading
from schemas.reasons import Reason
from schemas.record import Place
from schemas.value import value


class ReadingKey(NamedTuple):
    """The natural key of rule 9."""

    subject: int
    """The device, or minus the patient where no device is named."""
    kind: Kind
    reading_timestamp: datetime


@value
class Accepted:
    """A reading that passed rules 1 to 8, with what the registry adds to it."""

    reading: Reading
    device_id: int | None
    patient_id: int | None
    customer_id: int | None
    patient_time_zone: str | None
    """IANA name; None without a patient, a zip code or a single zone."""
    patient_time_zone_offset: int | None
    """Seconds east of UTC at `reading_timestamp`, daylight saving included."""

    @property
    def subject(self) -> int:
        device_id = self.device_id
        if device_id is not None:
            return device_id
        assert self.patient_id is not None, "rule 3 lets nobody's readings go no further"
        return -self.patient_id

    @property
    def key(self) -> ReadingKey:
        return ReadingKey(self.subject, self.reading.kind, self.reading.reading_timestamp)


@value
class Rejected:
    """A record set aside, with as much of it as was understood before the rule that it broke."""

    reason: Reason
    detail: str | None = None
    kind: Kind | None = None
    reading: Reading | None = None
    """None under rules 1 to 3."""
    device_id: int | None = None
    patient_id: int | None = None
    customer_id: int | None = None
    payload: bytes = field(default=b"", repr=False)
    """The bytes as given under rules 1 to 4, the canonical envelope later."""


Judgement = Accepted | Rejected
Outcome_co = TypeVar("Outcome_co", bound=Judgement, covariant=True)


@value
class Entry(Generic[Outcome_co]):
    """One record's line in the ledger: its place, when it was received, and what became of it."""

    place: Place
    received_at: datetime | None
    judgement: Outcome_co


def told_apart(entries: Iterable[Entry[Judgement]]) -> tuple[list[Entry[Accepted]], list[Entry[Rejected]]]:
    """The accepted and the rejected ones."""
    accepted: list[Entry[Accepted]] = []
    rejected: list[Entry[Rejected]] = []
    for entry in entries:
        if isinstance(entry.judgement, Accepted):
            accepted.append(cast("Entry[Accepted]", entry))
        else:
            rejected.append(cast("Entry[Rejected]", entry))
    return accepted, rejected
