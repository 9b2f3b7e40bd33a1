"""Readings and rejections: rows in, rows out."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import asyncpg

from schemas.judgement import Accepted, Entry, Judgement, ReadingKey, Rejected, told_apart
from schemas.kinds import Kind
from sinks.copy_format import NO_SUCH_VALUE, PACKED_COLUMNS, packed
from sinks.database import Connection, aware
from sinks.errors import CollisionError, RefusedRowError
from sinks.ledger import Source
from sinks.rows import (
    REJECTION_COLUMNS,
    key_columns,
    reading_of,
    rejection_of,
    rejection_row,
    sources_of,
)
from sinks.statements import sql

_A_MONTH: Final = timedelta(days=30)


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
    except NO_SUCH_VALUE:
        raise _refused("readings") from None
    source: Any = memoryview(rows)  # a buffer is sent as it is; asyncpg's types do not tell that it takes one
    await connection.copy_to_table("readings", source=source, columns=PACKED_COLUMNS, format="binary")


async def insert_rejections(
    connection: Connection, entries: Iterable[Entry[Rejected]], sources: Mapping[str, Source]
) -> None:
    """Set records aside, with their reasons."""
    rows = [rejection_row(entry, sources) for entry in entries]
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
    rows: list[asyncpg.Record] = []
    for month in _months(keys):
        moments = [key.reading_timestamp for key in month]
        rows += await connection.fetch(sql("readings_of_keys"), *key_columns(sorted(month)), moments[0], moments[-1])
    return Standing({entry.judgement.key: entry for entry in map(reading_of, rows)}, sources_of(rows))


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
            ReadingKey(row["subject"], Kind(row["reading_type"]), aware(row["reading_timestamp"])),
            row["payload"],
        )
        for row in await connection.fetch(sql("set_aside_under"), *key_columns(sorted(keys)))
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
    return Loaded([reading_of(row) for row in rows], sources_of(rows))


async def load_rejections(connection: Connection, statement: str, *arguments: Any) -> Loaded:
    """The rejections that a statement finds: every column of `rejections`, `reason_word`, and its source."""
    rows = await connection.fetch(sql(statement), *arguments)
    return Loaded([rejection_of(row) for row in rows], sources_of(rows))


async def candidates(connection: Connection, keys: Collection[ReadingKey]) -> tuple[Loaded, Loaded]:
    """What stands, and what rule 9 set aside, under `keys`; nobody else changes them until the transaction ends."""
    await hold_subjects(connection, alone=keys)
    standing = await standing_readings(connection, keys)
    aside = await load_rejections(connection, "candidates_set_aside", *key_columns(sorted(keys)))
    return Loaded([*standing.by_key.values()], standing.sources), aside


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


def _months(keys: Iterable[ReadingKey]) -> Iterator[list[ReadingKey]]:
    """Keys in the order of time, as many at once as lie within a month: a chunk or two, unless set otherwise.

    Asked for keys of all times at once TimescaleDB would look for each of them in every chunk of those times.
    """
    month: list[ReadingKey] = []
    for key in sorted(keys, key=lambda key: key.reading_timestamp):
        if month and key.reading_timestamp - month[0].reading_timestamp > _A_MONTH:
            yield month
            month = []
        month.append(key)
    if month:
        yield month


async def _copy(connection: Connection, table: str, rows: Sequence[tuple[Any, ...]], columns: Sequence[str]) -> None:
    if not rows:
        return
    try:
        await connection.copy_records_to_table(table, records=rows, columns=columns)
    except NO_SUCH_VALUE:
        raise _refused(table) from None  # what asyncpg cannot encode into a COPY it raises as it comes


def _refused(table: str) -> RefusedRowError:
    """The error's own text may hold the value."""
    return RefusedRowError(f"{table}: a value cannot be encoded for its column")
