"""Sources and positions: how far each is taken, moved only by whoever knows where it stands."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

from schemas.envelope import receipt_of
from schemas.record import ARCHIVE, Record
from sinks.database import Connection
from sinks.errors import HeldOtherwiseError, PositionMovedError
from sinks.statements import sql

FILTERED: Final = "filtered"
"""The kind of gap that was left out on request, and is taken when somebody asks for it."""


class Source(NamedTuple):
    """A source as the database knows it."""

    source_id: int
    name: str
    first_seen: datetime


class Taken(NamedTuple):
    """The last record taken of a partition."""

    offset: int
    received_at: datetime | None
    digest: bytes


class Standing(NamedTuple):
    """How far a partition is taken."""

    next_offset: int
    last: Taken | None
    """None where no record was taken yet."""


class Topic(NamedTuple):
    """The present log of a topic, as the ledger knows it."""

    source: Source
    partitions: dict[int, Standing]


class Gap(NamedTuple):
    """Offsets from `first_offset` up to, not including, `next_offset` that were never given to us."""

    first_offset: int
    next_offset: int
    kind: str
    """`skipped`, `truncated`, `marker`, `filtered` or `awaited`, as `source_gaps` explains."""


class Move(NamedTuple):
    """What a batch does to the position of one partition."""

    source: Source
    partition: int
    expected: int
    next_offset: int
    gaps: Sequence[Gap] = ()
    repeated: Sequence[int] = ()
    """Those of the offsets whose record stands in the ledger already, at a place of its own."""
    end_of_gap: int | None = None
    """Where the gap ends that begins at `expected`, when what was left out is taken; the position stays, then."""


async def open_source(
    connection: Connection, name: str, *, first_seen: datetime, holds: Literal["readings", "registry"] = "readings"
) -> Source:
    """The source by that name; the rest is kept if it is new.

    :raises HeldOtherwiseError: when it is known, and for the other of the two.
    """
    row = await connection.fetchrow(sql("open_source"), name, first_seen, holds)
    if row is None:  # another process entered it between the two halves of the statement
        row = await connection.fetchrow(sql("open_source"), name, first_seen, holds)
    assert row is not None
    if row["holds"] != holds:
        raise HeldOtherwiseError(f"{name} was taken as {row['holds']}, and cannot be taken as {holds}")
    return Source(row["source_id"], name, row["first_seen"])


async def begin_partition(connection: Connection, source: Source, partition: int, first_offset: int) -> None:
    """Enter a partition where its log begins, unless it was entered before."""
    await connection.execute(sql("begin_partition"), source.source_id, partition, first_offset)


async def topics(connection: Connection, names: Iterable[str]) -> dict[str, Topic]:
    """Of each topic that was ever opened its present log, with every partition that was begun."""
    found: dict[str, Topic] = {}
    for row in await connection.fetch(sql("topics"), list(names)):
        source = Source(row["source_id"], row["source"], row["first_seen"])
        topic = found.setdefault(row["topic"], Topic(source, {}))
        if row["source_partition"] is not None:
            last = (row["last_offset"], row["last_received_at"], row["last_digest"])
            taken = None if row["last_offset"] is None else Taken(*last)
            topic.partitions[row["source_partition"]] = Standing(row["next_offset"], taken)
    return found


async def renew_topic(connection: Connection, topic: Topic, name: str) -> Source:
    """Open another log for a topic, to be taken from its beginning; what was taken of the old one stays as it is.

    :param name: what the new log is called.
    :raises CollisionError: when somebody else has opened it meanwhile.
    """
    row = await connection.fetchrow(sql("renew_source"), name, topic.source.source_id)
    assert row is not None, "an INSERT of what a SELECT of one row gives"
    return Source(row["source_id"], name, row["first_seen"])


async def positions(connection: Connection, names: Iterable[str]) -> dict[tuple[str, int], int]:
    """The next offset to take of each known (source name, partition)."""
    rows = await connection.fetch(sql("positions"), list(names))
    return {(row["source"], row["source_partition"]): row["next_offset"] for row in rows}


async def left_out(connection: Connection, source: Source, partition: int) -> list[Gap]:
    """What was left out on request or passed over, and may still be taken, in the order of offsets."""
    rows = await connection.fetch(sql("left_out"), source.source_id, partition)
    return [Gap(row["first_offset"], row["next_offset"], row["kind"]) for row in rows]


async def hold_archives(connection: Connection, source_ids: Iterable[int], *, alone: bool) -> None:
    """From here on, until the transaction ends, nobody who is alone with one of the archives does anything to it.

    :param alone: nobody else does either: for a run of the file, which takes piece after piece. Else others may take
        single records, too.
    """
    await connection.execute(sql("hold_archives"), list(source_ids), alone)


async def move(connection: Connection, moves: Sequence[Move], last: Mapping[tuple[str, int], Record]) -> None:
    """Move the positions, and note the gaps. First in a transaction: it keeps every other owner out of it.

    :param last: the last record of each (source, partition) that has any, by which the log is known again.
    :raises PositionMovedError: when any of them no longer stands at `expected`; nothing may be stored then.
    """
    if archives := {m.source.source_id for m in moves if m.source.name.startswith(ARCHIVE)}:
        await hold_archives(connection, archives, alone=True)
    await _move_on(connection, [m for m in moves if m.end_of_gap is None], last)
    for m in moves:
        if m.end_of_gap is not None:
            await _take_from_gap(connection, m, m.end_of_gap)
    gaps = [(m.source.source_id, m.partition, *gap) for m in moves for gap in m.gaps]
    if gaps:
        await connection.execute(sql("note_gaps"), *map(list, zip(*gaps, strict=True)))


async def _move_on(connection: Connection, moves: Sequence[Move], last: Mapping[tuple[str, int], Record]) -> None:
    taken = [last.get((m.source.name, m.partition)) for m in moves]
    status = await connection.execute(
        sql("move_positions"),
        [m.source.source_id for m in moves],
        [m.partition for m in moves],
        [m.expected for m in moves],
        [m.next_offset for m in moves],
        [_offsets_in(m.gaps) for m in moves],
        [record and record.place.offset for record in taken],
        [record and receipt_of(record) for record in taken],
        [record and record.digest for record in taken],
        [len(m.repeated) for m in moves],
    )
    if status != f"UPDATE {len(moves)}":
        raise PositionMovedError("another owner has moved the position")


async def _take_from_gap(connection: Connection, m: Move, end: int) -> None:
    taken = m.next_offset - m.expected - _offsets_in(m.gaps)
    where = (m.source.source_id, m.partition, m.expected, end, m.next_offset)
    if await connection.execute(sql("take_from_gap"), *where, taken, len(m.repeated)) != "UPDATE 1":
        raise PositionMovedError("another owner has taken from the gap")


def _offsets_in(gaps: Iterable[Gap]) -> int:
    return sum(gap.next_offset - gap.first_offset for gap in gaps)
