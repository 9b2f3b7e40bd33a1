"""Where one record went: asked by its place, table by table."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from schemas.judgement import Entry, Judgement, ReadingKey
from schemas.record import Place
from schemas.states import About
from sinks.database import Connection, aware
from sinks.ledger import Gap, Source
from sinks.readings import load_rejections, standing_readings
from sinks.rows import key_columns, reading_of
from sinks.statements import sql
from sinks.tally import SCAN_TIMEOUT_S


class Position(NamedTuple):
    """How far a partition of a source is taken."""

    source: Source
    holds: str
    first_offset: int | None
    """None, like `next_offset`, where nobody has begun the partition."""
    next_offset: int | None
    repeated: int
    expired: int


async def position_at(connection: Connection, name: str, partition: int) -> Position | None:
    """The source by its name, or by that of its topic alone; None if there is no such source."""
    row = await connection.fetchrow(sql("position_at"), name, f"kafka:{name}", partition)
    if row is None:
        return None
    source = Source(row["source_id"], row["source"], row["first_seen"])
    counts = (row["first_offset"], row["next_offset"], row["repeated"] or 0, row["expired"] or 0)
    return Position(source, row["holds"], *counts)


async def archives_like(connection: Connection, beginning: str) -> list[str]:
    """The names of archives that begin so; no more than two of them."""
    return [row["source"] for row in await connection.fetch(sql("archives_like"), beginning)]


async def sources_named(connection: Connection, name: str) -> list[int]:
    """The ids of the sources that a name means: one, all logs of a topic, or archives whose names begin so."""
    return [row["source_id"] for row in await connection.fetch(sql("sources_named"), name)]


async def rejection_at(connection: Connection, source: Source, place: Place) -> Entry[Judgement] | None:
    """What a record was refused as."""
    found = await load_rejections(connection, "rejection_at", source.source_id, place.partition, place.offset)
    return _timed(found.entries[0]) if found.entries else None


async def reading_at(connection: Connection, source: Source, place: Place) -> Entry[Judgement] | None:
    """The reading that a record became. No index leads to it: this takes as long as the table is large."""
    where = (source.source_id, place.partition, place.offset)
    row = await connection.fetchrow(sql("reading_at"), *where, timeout=SCAN_TIMEOUT_S)
    return None if row is None else _timed(reading_of(row))


async def told_at(connection: Connection, source: Source, place: Place) -> tuple[About, int] | None:
    """The device or patient that a record tells of."""
    row = await connection.fetchrow(sql("states_at"), source.source_id, place.partition, place.offset)
    return None if row is None else (About(row["about"]), row["subject_id"])


async def gap_at(connection: Connection, source: Source, place: Place) -> Gap | None:
    """The gap that an offset lies in."""
    row = await connection.fetchrow(sql("gap_at"), source.source_id, place.partition, place.offset)
    return None if row is None else Gap(row["first_offset"], row["next_offset"], row["kind"])


async def competing_for(connection: Connection, keys: Iterable[ReadingKey]) -> list[Entry[Judgement]]:
    """What stands under natural keys, and what rule 9 set aside under them, only to look at."""
    asked = sorted(keys)
    standing = await standing_readings(connection, asked)
    aside = await load_rejections(connection, "set_aside_of_keys", *key_columns(asked))
    return [_timed(entry) for entry in (*standing.by_key.values(), *aside.entries)]


def _timed(entry: Entry[Any]) -> Entry[Judgement]:
    return Entry(entry.place, aware(entry.received_at), entry.judgement)
