"""Records of archives that come one by one, by whatever consumer, and not in the order of their numbers.

A run of the file moves an archive's position by compare-and-set, piece after piece. Here each record is taken for
itself: out of a gap, if it was passed over before, or beyond the position, which then moves past it. What no consumer
has brought by then is a gap of the kind `awaited`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from schemas.record import Place
from sinks.database import Connection
from sinks.errors import CollisionError
from sinks.ledger import Gap, Source, hold_archives
from sinks.statements import sql

AWAITED: Final = "awaited"
"""The kind of gap that other records of the archive have passed over."""

_Archive = tuple[int, int]
"""Source and partition."""


class Run(NamedTuple):
    """Records from `begin` up to, not including, `end`."""

    begin: int
    end: int


async def taken_already(connection: Connection, places: Collection[Place], sources: Mapping[str, Source]) -> set[Place]:
    """Those that were taken before. Until the transaction ends no run of the archives' files takes any of them."""
    await hold_archives(connection, {sources[place.source].source_id for place in places}, alone=False)
    names = {sources[place.source].source_id: place.source for place in places}
    rows = [(sources[place.source].source_id, place.partition, place.offset) for place in places]
    found = await connection.fetch(sql("records_taken"), *map(list, zip(*rows, strict=True)))
    return {Place(names[source_id], partition, offset) for source_id, partition, offset in found}


async def take(
    connection: Connection, places: Iterable[Place], sources: Mapping[str, Source], *, repeated: Iterable[Place] = ()
) -> None:
    """Enter these as taken. Last in a transaction, since whoever takes others of the same archive waits from here on.

    :param repeated: those of which the ledger has the record at another place: they are counted, and have no row.
    :raises CollisionError: when one was taken meanwhile.
    """
    repeats = _by_archive(repeated, sources)
    runs = {archive: runs_of(numbers) for archive, numbers in _by_archive([*places, *repeated], sources).items()}
    if not runs:
        return
    archives = sorted(runs)
    positions = {
        (row["source_id"], row["source_partition"]): row["next_offset"]
        for row in await connection.fetch(sql("lock_positions"), *_columns(archives))
    }
    asked = [(*archive, *run) for archive in archives for run in runs[archive]]
    standing: dict[_Archive, list[Gap]] = {archive: [] for archive in archives}
    for source_id, partition, *gap in await connection.fetch(sql("gaps_of_runs"), *_columns(asked)):
        standing[source_id, partition].append(Gap(*gap))
    moved = []
    for archive in archives:
        next_offset, left = after(positions[archive], standing[archive], runs[archive])
        missing = _offsets_in(left) - _offsets_in(standing[archive])
        moved.append((*archive, next_offset, missing, len(repeats.get(archive, ()))))
        if gone := [(*archive, gap.first_offset) for gap in standing[archive]]:
            await connection.execute(sql("remove_gaps"), *_columns(gone))
        if left:
            await connection.execute(sql("note_gaps"), *_columns([(*archive, *gap) for gap in left]))
    await connection.execute(sql("take_records"), *_columns(moved))


def after(position: int, gaps: Sequence[Gap], runs: Sequence[Run]) -> tuple[int, list[Gap]]:
    """Where an archive stands once the runs are taken: its position, and what is left of the gaps that they lie in.

    :param gaps: those that overlap the runs, and no others.
    :raises CollisionError: when something of the runs lies before the position and in no gap.
    """
    left = [piece for gap in gaps for piece in _without(gap, runs)]
    before = sum(min(run.end, position) - run.begin for run in runs if run.begin < position)
    if _offsets_in(gaps) - _offsets_in(left) != before:
        raise CollisionError("a record of an archive was taken meanwhile")
    for run in runs:
        if run.end > position:
            if run.begin > position:
                left.append(Gap(position, run.begin, AWAITED))
            position = run.end
    return position, left


def runs_of(numbers: Iterable[int]) -> list[Run]:
    """The same numbers as runs, in their order."""
    found = []
    for _, run in groupby(enumerate(sorted(set(numbers))), key=lambda one: one[1] - one[0]):
        members = [number for _, number in run]
        found.append(Run(members[0], members[-1] + 1))
    return found


def _without(gap: Gap, runs: Iterable[Run]) -> list[Gap]:
    left, begin = [], gap.first_offset
    for run in runs:
        if run.end > begin and run.begin < gap.next_offset:
            if run.begin > begin:
                left.append(gap._replace(first_offset=begin, next_offset=run.begin))
            begin = run.end
    return left if begin >= gap.next_offset else [*left, gap._replace(first_offset=begin)]


def _by_archive(places: Iterable[Place], sources: Mapping[str, Source]) -> dict[_Archive, list[int]]:
    found: dict[_Archive, list[int]] = {}
    for place in places:
        found.setdefault((sources[place.source].source_id, place.partition), []).append(place.offset)
    return found


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _offsets_in(gaps: Iterable[Gap]) -> int:
    return sum(gap.next_offset - gap.first_offset for gap in gaps)
