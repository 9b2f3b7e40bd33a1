"""Readings and rejections read through, all or a sample: as they stand, good or not, and in bounded memory."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg

from schemas.judgement import Accepted, Entry, Judgement, ReadingKey, Rejected
from schemas.record import Place
from sinks.database import Connection, aware
from sinks.ledger import Source
from sinks.readings import standing_readings
from sinks.rows import READING_COLUMNS, REJECTION_COLUMNS, reading_of, reading_row, rejection_row
from sinks.statements import sql
from sinks.tally import SCAN_TIMEOUT_S, Tally

_PAGE: Final = 2_000
_LEAST_HASH: Final = -(2**63)
_HASHES: Final = 2**64

Columns = dict[str, Any]
"""A row by its columns, those of its place left out; times aware."""
Mention = tuple[int, str | None, int | None]
"""Subject, and the identifier or the patient that its reading names."""


class Line(NamedTuple):
    """A row of `readings` or `rejections`."""

    place: Place
    received_at: datetime | None
    source: Source
    names: Sequence[str]
    row: asyncpg.Record

    @property
    def columns(self) -> Columns:
        return {name: _plain(self.row[name]) for name in self.names if not name.startswith("source_")}


class Sample(NamedTuple):
    """How many readings, and how many rejections, of each partition to look at, and what picks them."""

    size: int
    seed: int


async def readings_scanned(
    connection: Connection, tallies: Sequence[Tally], sample: Sample | None
) -> AsyncIterator[list[tuple[Line, Accepted]]]:
    """Readings, a page at a time, each with what it says."""
    standing = [(tally.source_id, tally.partition, tally.readings) for tally in tallies]
    async for page in _pages(connection, "readings", standing, sample):
        yield [(_line(row, READING_COLUMNS), reading_of(row).judgement) for row in page]


async def rejections_scanned(
    connection: Connection, tallies: Sequence[Tally], sample: Sample | None
) -> AsyncIterator[list[Line]]:
    """What was refused, a page at a time."""
    standing = [(tally.source_id, tally.partition, tally.rejections) for tally in tallies]
    async for page in _pages(connection, "rejections", standing, sample):
        yield [_line(row, REJECTION_COLUMNS) for row in page]


async def standing_under(connection: Connection, keys: Iterable[ReadingKey]) -> dict[ReadingKey, Entry[Accepted]]:
    """The readings that stand under `keys`."""
    standing = await standing_readings(connection, keys)
    return {key: Entry(e.place, aware(e.received_at), e.judgement) for key, e in standing.by_key.items()}


async def mentions_lacking(connection: Connection, mentions: Sequence[Mention]) -> set[Mention]:
    """Those of them that are not noted, and that a change of the registry would not be led to otherwise either."""
    if not mentions:
        return set()
    rows = await connection.fetch(sql("verify_mentions"), *map(list, zip(*mentions, strict=True)))
    return {(row["subject"], row["identifier"], row["patient_id"]) for row in rows}


def columns_of(entry: Entry[Judgement], source: Source) -> Columns:
    """What the columns of this line's row have to say."""
    sources = {source.name: source}
    match entry.judgement:
        case Accepted() as accepted:
            row = reading_row(Entry(entry.place, entry.received_at, accepted), sources)
            said = dict(zip(READING_COLUMNS, row, strict=True))
        case Rejected() as rejected:
            row = rejection_row(Entry(entry.place, entry.received_at, rejected), sources)
            said = dict(zip(REJECTION_COLUMNS, row, strict=True))
    return {name: _plain(value) for name, value in said.items() if not name.startswith("source_")}


async def _pages(
    connection: Connection, table: str, standing: Iterable[tuple[int, int, int]], sample: Sample | None
) -> AsyncIterator[list[asyncpg.Record]]:
    if sample is None:
        cursor = await connection.cursor(sql(f"verify_{table}"), timeout=SCAN_TIMEOUT_S)
    else:
        thresholds = [
            (source_id, number, _threshold(sample.size, rows)) for source_id, number, rows in standing if rows
        ]
        picked = [list(column) for column in zip(*thresholds, strict=True)] or [[], [], []]
        statement = sql(f"verify_some_{table}")
        cursor = await connection.cursor(statement, sample.seed, *picked, sample.size, timeout=SCAN_TIMEOUT_S)
    while page := await cursor.fetch(_PAGE, timeout=SCAN_TIMEOUT_S):
        yield page


def _threshold(size: int, rows: int) -> int:
    """Below it lie, of as many hashes as there are rows, a few more than `size`: six deviations more."""
    share = (size + 6 * size**0.5 + 6) / rows
    return _LEAST_HASH + min(int(share * _HASHES), _HASHES - 1)


def _line(row: asyncpg.Record, names: Sequence[str]) -> Line:
    place = Place(row["source"], row["source_partition"], row["source_offset"])
    source = Source(row["source_id"], row["source"], row["first_seen"])
    return Line(place, aware(row["received_at"]), source, names, row)


def _plain(value: Any) -> Any:
    """Alike, whether it comes from the database or is on its way there."""
    match value:
        case datetime():
            return aware(value)
        case tuple():
            return list(value)
        case _:
            return value
