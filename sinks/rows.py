"""Rows of `readings` and `rejections` from lines of the ledger, and lines from rows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import asyncpg

from schemas.envelope import understand
from schemas.judgement import Accepted, Entry, Judgement, ReadingKey, Rejected
from schemas.kinds import Kind
from schemas.reading import MEASURES, MEASURES_OF, Reading
from schemas.reasons import Reason
from schemas.record import Place
from sinks.database import aware
from sinks.ledger import Source

READING_COLUMNS: Final = (
    "subject",
    "reading_type",
    "reading_timestamp",
    "received_at",
    "device_id",
    "patient_id",
    "customer_id",
    "reading_id",
    "device_id_named",
    "identifiers_named",
    "patient_id_named",
    "source_id",
    "source_partition",
    "source_offset",
    "device_time_zone_offset",
    "patient_time_zone_offset",
    "patient_time_zone",
    "manual",
    *MEASURES,
)
REJECTION_COLUMNS: Final = (
    "source_id",
    "source_partition",
    "source_offset",
    "received_at",
    "reason",
    "detail",
    "reading_type",
    "device_id",
    "patient_id",
    "customer_id",
    "reading_timestamp",
    "device_id_named",
    "identifiers_named",
    "patient_id_named",
    "payload",
)

_NOT_UNDERSTOOD: Final = frozenset({Reason.MALFORMED, Reason.UNKNOWN_READING_TYPE, Reason.INVALID, Reason.UNSTORABLE})


def reading_row(entry: Entry[Accepted], sources: Mapping[str, Source]) -> tuple[Any, ...]:
    """By `READING_COLUMNS`."""
    accepted, place = entry.judgement, entry.place
    reading = accepted.reading
    return (
        accepted.subject,
        reading.kind,
        reading.reading_timestamp,
        entry.received_at,
        accepted.device_id,
        accepted.patient_id,
        accepted.customer_id,
        reading.reading_id,
        reading.device_id_named,
        reading.identifiers_named or None,
        reading.patient_id_named,
        sources[place.source].source_id,
        place.partition,
        place.offset,
        reading.device_time_zone_offset,
        accepted.patient_time_zone_offset,
        accepted.patient_time_zone,
        reading.manual,
        *map(reading.measured.get, MEASURES),
    )


def rejection_row(entry: Entry[Rejected], sources: Mapping[str, Source]) -> tuple[Any, ...]:
    """By `REJECTION_COLUMNS`."""
    rejected, place = entry.judgement, entry.place
    reading = rejected.reading
    understood = (
        (
            reading.reading_timestamp,
            reading.device_id_named,
            reading.identifiers_named or None,
            reading.patient_id_named,
        )
        if reading is not None
        else (None, None, None, None)
    )
    return (
        sources[place.source].source_id,
        place.partition,
        place.offset,
        entry.received_at,
        rejected.reason,
        rejected.detail,
        rejected.kind,
        rejected.device_id,
        rejected.patient_id,
        rejected.customer_id,
        *understood,
        rejected.payload,
    )


def reading_of(row: asyncpg.Record) -> Entry[Accepted]:
    """Of every column of `readings`, and its source."""
    kind = Kind(row["reading_type"])
    reading = Reading(
        kind=kind,
        reading_timestamp=aware(row["reading_timestamp"]),
        device_id_named=row["device_id_named"],
        identifiers_named=tuple(row["identifiers_named"] or ()),
        patient_id_named=row["patient_id_named"],
        device_time_zone_offset=row["device_time_zone_offset"],
        manual=row["manual"],
        reading_id=row["reading_id"],
        measures=tuple(row[name] for name in MEASURES_OF[kind]),
    )
    accepted = Accepted(
        reading,
        row["device_id"],
        row["patient_id"],
        row["customer_id"],
        row["patient_time_zone"],
        row["patient_time_zone_offset"],
    )
    place = Place(row["source"], row["source_partition"], row["source_offset"])
    return Entry(place, aware(row["received_at"]), accepted)


def rejection_of(row: asyncpg.Record) -> Entry[Judgement]:
    """Of every column of `rejections`, `reason_word`, and its source."""
    reason = Reason(row["reason_word"])
    reading = None
    if reason not in _NOT_UNDERSTOOD:
        understood = understand(row["payload"], max_bytes=len(row["payload"]), max_depth=64)
        assert isinstance(understood, Reading), "what was understood once is kept in a form that is"
        reading = understood
    rejected = Rejected(
        reason,
        row["detail"],
        None if row["reading_type"] is None else Kind(row["reading_type"]),
        reading,
        row["device_id"],
        row["patient_id"],
        row["customer_id"],
        payload=row["payload"],
    )
    return Entry(
        Place(row["source"], row["source_partition"], row["source_offset"]), aware(row["received_at"]), rejected
    )


def key_columns(keys: Sequence[ReadingKey]) -> list[list[Any]]:
    """Subjects, kinds and moments, as the statements that ask for keys take them."""
    return [[key.subject for key in keys], [key.kind for key in keys], [key.reading_timestamp for key in keys]]


def sources_of(rows: Iterable[asyncpg.Record]) -> dict[str, Source]:
    """The sources that rows came from, by name."""
    return {row["source"]: Source(row["source_id"], row["source"], row["first_seen"]) for row in rows}
