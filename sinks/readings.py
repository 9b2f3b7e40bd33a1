"""Readings and rejections: rows in, rows out."""

import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import asyncpg

from schemas.envelope import understand
from schemas.judgement import Accepted, Entry, Judgement, ReadingKey, Rejected, told_apart
from schemas.kinds import Kind
from schemas.reading import MEASURES, MEASURES_OF, Reading
from schemas.reasons import Reason
from schemas.record import Place
from sinks.copy_format import PACKED_COLUMNS, packed
from sinks.database import Connection
from sinks.errors import CollisionError, RefusedRowError
from sinks.ledger import Source
from sinks.statements import sql

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


class SetAside(NamedTuple):
    """A line of the ledger that rule 9 set aside, as far as its reason may have to change."""

    source_id: int
    place: tuple[int, int]
    reason: str
    key: ReadingKey
    payload: bytes


async def insert_readings(
    connection: Connection, entries: Collection[Entry[Accepted]], sources: Mapping[str, Source]
) -> None:
    """Store accepted readings, in the order of their key.

    :raises CollisionError: when one of the keys was taken meanwhile.
    """
    if not entries:
        return
    try:
        rows = packed(entries, sources)
    except (struct.error, OverflowError, ValueError):
        raise _refused("readings") from None
    source: Any = memoryview(rows)  # a buffer is sent as it is; asyncpg's types do not tell that it takes one
    await connection.copy_to_table("readings", source=source, columns=PACKED_COLUMNS, format="binary")


async def insert_rejections(
    connection: Connection, entries: Iterable[Entry[Rejected]], sources: Mapping[str, Source]
) -> None:
    """Set records aside, with their reasons."""
    rows = [_rejection_row(entry, sources) for entry in entries]
    await _copy(connection, "rejections", rows, REJECTION_COLUMNS)


async def insert_lines(
    connection: Connection, entries: Iterable[Entry[Judgement]], sources: Mapping[str, Source]
) -> None:
    """Store the accepted ones, set the others aside; as the two above."""
    accepted, rejected = told_apart(entries)
    await insert_readings(connection, accepted, sources)
    await insert_rejections(connection, rejected, sources)


class Standing(NamedTuple):
    """The readings that stand under natural keys, and the sources that they came from."""

    by_key: dict[ReadingKey, Entry[Accepted]]
    sources: dict[str, Source]


async def standing_readings(connection: Connection, keys: Iterable[ReadingKey]) -> Standing:
    """The readings that stand under `keys`; those of held subjects stay as they are until the transaction ends."""
    asked = sorted(keys)
    rows = await connection.fetch(sql("readings_of_keys"), *_columns(asked)) if asked else []
    entries = map(_entry, rows)
    return Standing({entry.judgement.key: entry for entry in entries}, _sources(rows))


async def hold_subjects(
    connection: Connection, *, shared: Iterable[ReadingKey] = (), alone: Iterable[ReadingKey] = ()
) -> None:
    """From here on, until the transaction ends, nobody else moves what stands or is set aside under these subjects.

    Whoever sets a reading aside beside one that stands shares its subject; whoever takes one out that stands has its
    subject alone. What was read before may have changed while this waited.
    """
    how = {key.subject: False for key in shared} | {key.subject: True for key in alone}
    await connection.execute(sql("hold_subjects"), list(how), list(how.values()))


async def remove_readings(
    connection: Connection, entries: Sequence[Entry[Accepted]], sources: Mapping[str, Source]
) -> None:
    """Take readings out that give way.

    :raises CollisionError: when one of them is no longer what stands under its key.
    """
    keys = [(*entry.judgement.key, sources[entry.place.source].source_id, *entry.place[1:]) for entry in entries]
    status = await connection.execute(sql("remove_readings"), *map(list, zip(*keys, strict=True)))
    if status != f"DELETE {len(entries)}":
        raise CollisionError("a reading that was to give way has changed meanwhile")


async def set_aside_under(connection: Connection, keys: Iterable[ReadingKey]) -> list[SetAside]:
    """Those that rule 9 set aside under `keys`; they stay as they are until the transaction ends."""
    return [
        SetAside(
            row["source_id"],
            (row["source_partition"], row["source_offset"]),
            row["reason"],
            ReadingKey(row["subject"], Kind(row["reading_type"]), row["reading_timestamp"].replace(tzinfo=UTC)),
            row["payload"],
        )
        for row in await connection.fetch(sql("set_aside_under"), *_columns(sorted(keys)))
    ]


async def change_reasons(connection: Connection, changed: Sequence[tuple[SetAside, str]]) -> None:
    """Give each of them its new reason."""
    rows = [(line.source_id, *line.place, reason) for line, reason in changed]
    await connection.execute(sql("change_reasons"), *map(list, zip(*rows, strict=True)))


class Loaded(NamedTuple):
    """Lines of the ledger as they stand, and the sources that they came from."""

    entries: list[Entry[Judgement]]
    sources: dict[str, Source]


async def load_readings(connection: Connection, statement: str, *arguments: Any) -> Loaded:
    """The readings that a statement finds: every column of `readings`, and its source."""
    rows = await connection.fetch(sql(statement), *arguments)
    return Loaded([_entry(row) for row in rows], _sources(rows))


async def load_rejections(connection: Connection, statement: str, *arguments: Any) -> Loaded:
    """The rejections that a statement finds: every column of `rejections`, `reason_word`, and its source."""
    rows = await connection.fetch(sql(statement), *arguments)
    return Loaded([_rejected_entry(row) for row in rows], _sources(rows))


async def candidates(connection: Connection, keys: Collection[ReadingKey]) -> tuple[Loaded, Loaded]:
    """What stands, and what rule 9 set aside, under `keys`; nobody else changes them until the transaction ends."""
    await hold_subjects(connection, alone=keys)
    asked = _columns(sorted(keys))
    standing = await load_readings(connection, "readings_of_keys", *asked)
    return standing, await load_rejections(connection, "candidates_set_aside", *asked)


async def remove_rejections(
    connection: Connection, entries: Sequence[Entry[Judgement]], sources: Mapping[str, Source]
) -> None:
    """Take lines out of `rejections`: they become readings, or are set aside for another reason.

    :raises CollisionError: when one of them is not there any more.
    """
    places = [(sources[entry.place.source].source_id, *entry.place[1:]) for entry in entries]
    status = await connection.execute(sql("remove_rejections"), *map(list, zip(*places, strict=True)))
    if status != f"DELETE {len(entries)}":
        raise CollisionError("a line that was to be judged again has changed meanwhile")


async def note_mentions(connection: Connection, mentions: Sequence[tuple[int, str | None, int | None]]) -> None:
    """Note which identifiers and patients readings of a subject name although the registry does not tell of it."""
    if mentions:
        await connection.execute(sql("note_mentions"), *map(list, zip(*mentions, strict=True)))


async def _copy(connection: Connection, table: str, rows: Sequence[tuple[Any, ...]], columns: Sequence[str]) -> None:
    if not rows:
        return
    try:
        await connection.copy_records_to_table(table, records=rows, columns=columns)
    except (OverflowError, TypeError, ValueError):
        raise _refused(table) from None  # what asyncpg cannot encode into a COPY it raises as it comes


def _refused(table: str) -> RefusedRowError:
    """The error's own text may hold the value."""
    return RefusedRowError(f"{table}: a value cannot be encoded for its column")


def _sources(rows: Iterable[asyncpg.Record]) -> dict[str, Source]:
    return {row["source"]: Source(row["source_id"], row["source"], row["first_seen"]) for row in rows}


def _rejected_entry(row: asyncpg.Record) -> Entry[Judgement]:
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
        Place(row["source"], row["source_partition"], row["source_offset"]), _in_utc(row["received_at"]), rejected
    )


def _columns(keys: Sequence[ReadingKey]) -> list[list[Any]]:
    return [[key.subject for key in keys], [key.kind for key in keys], [key.reading_timestamp for key in keys]]


def _reading_row(entry: Entry[Accepted], sources: Mapping[str, Source]) -> tuple[Any, ...]:
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


def _rejection_row(entry: Entry[Rejected], sources: Mapping[str, Source]) -> tuple[Any, ...]:
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


def _entry(row: asyncpg.Record) -> Entry[Accepted]:
    kind = Kind(row["reading_type"])
    reading = Reading(
        kind=kind,
        reading_timestamp=row["reading_timestamp"].replace(tzinfo=UTC),
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
    return Entry(place, _in_utc(row["received_at"]), accepted)


def _in_utc(moment: datetime | None) -> datetime | None:
    """Asyncpg gives ±infinity, which stands for the edges of time, without a zone."""
    return None if moment is None else moment.replace(tzinfo=UTC)
