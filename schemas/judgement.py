"""What becomes of a record: a reading in the store, or a rejection with its reason."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Generic, NamedTuple, TypeVar, cast

from schemas.kinds import Kind
from schemas.reading import Reading
from schemas.reasons import Reason
from schemas.record import Place
from schemas.value import Value


class ReadingKey(NamedTuple):
    """The natural key of rule 9."""

    subject: int
    """The device, or minus the patient where no device is named."""
    kind: Kind
    reading_timestamp: datetime


class Accepted(Value):
    """A reading that passed rules 1 to 8, with what the registry adds to it."""

    __slots__ = (
        "customer_id",
        "device_id",
        "patient_id",
        "patient_time_zone",
        "patient_time_zone_offset",
        "reading",
        "subject",
    )

    def __init__(
        self,
        reading: Reading,
        device_id: int | None,
        patient_id: int | None,
        customer_id: int | None,
        patient_time_zone: str | None,
        patient_time_zone_offset: int | None,
    ) -> None:
        self.reading: Final = reading
        self.device_id: Final = device_id
        self.patient_id: Final = patient_id
        self.customer_id: Final = customer_id
        self.patient_time_zone: Final = patient_time_zone
        """IANA name; None without a patient, a zip code or a single zone."""
        self.patient_time_zone_offset: Final = patient_time_zone_offset
        """Seconds east of UTC at `reading_timestamp`, daylight saving included."""
        subject = device_id
        if subject is None:
            assert patient_id is not None, "rule 3 lets nobody's readings go no further"
            subject = -patient_id
        self.subject: Final = subject
        """Of its natural key."""

    def said(self) -> tuple[object, ...]:
        return (
            self.reading,
            self.device_id,
            self.patient_id,
            self.customer_id,
            self.patient_time_zone,
            self.patient_time_zone_offset,
        )

    @property
    def key(self) -> ReadingKey:
        return ReadingKey(self.subject, self.reading.kind, self.reading.reading_timestamp)


class Rejected(Value):
    """A record set aside, with as much of it as was understood before the rule that it broke."""

    __slots__ = ("customer_id", "detail", "device_id", "kind", "patient_id", "payload", "reading", "reason")

    def __init__(
        self,
        reason: Reason,
        detail: str | None = None,
        kind: Kind | None = None,
        reading: Reading | None = None,
        device_id: int | None = None,
        patient_id: int | None = None,
        customer_id: int | None = None,
        payload: bytes = b"",
    ) -> None:
        self.reason: Final = reason
        self.detail: Final = detail
        self.kind: Final = kind
        self.reading: Final = reading
        """None under rules 1 to 3."""
        self.device_id: Final = device_id
        self.patient_id: Final = patient_id
        self.customer_id: Final = customer_id
        self.payload: Final = payload
        """The bytes as given under rules 1 to 4, the canonical envelope later."""

    def said(self) -> tuple[object, ...]:
        return (
            self.reason,
            self.detail,
            self.kind,
            self.reading,
            self.device_id,
            self.patient_id,
            self.customer_id,
            self.payload,
        )


Judgement = Accepted | Rejected
Outcome_co = TypeVar("Outcome_co", bound=Judgement, covariant=True)


class Entry(Value, Generic[Outcome_co]):
    """One record's line in the ledger: its place, when it was received, and what became of it."""

    __slots__ = ("judgement", "place", "received_at", "row")

    def __init__(self, place: Place, received_at: datetime | None, judgement: Outcome_co) -> None:
        self.place: Final = place
        self.received_at: Final = received_at
        self.judgement: Final = judgement
        self.row: bytes | None = None
        """A reading's, as COPY takes it: made ahead only of one that may be stored without a look (`ingest.newest`)."""

    def said(self) -> tuple[object, ...]:
        return self.place, self.received_at, self.judgement


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
