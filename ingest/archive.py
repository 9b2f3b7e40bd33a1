"""A file as a source: its records by number, and which of them nobody has taken yet.

The source is named by the hash of the content, and a record by its number. So the position in the database tells what
is stored already, under whatever name the file comes, and what is done with it can be killed, repeated, or run twice at
once.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, groupby, pairwise
from operator import attrgetter
from typing import Final, Literal, NamedTuple

from ingest.batch import Batch
from ingest.content import Content
from ingest.refused_record import StandsAlready
from schemas.record import ARCHIVE, Record, places
from sinks.database import Connection
from sinks.errors import HeldOtherwiseError
from sinks.ledger import FILTERED, Gap, Move, Source, begin_partition, left_out, open_source, positions
from sinks.whereabouts import position_at

PARTITION: Final = 0


class Stretch(NamedTuple):
    """Records that nobody has taken."""

    begin: int
    end: int | None
    """None: to the end of the file."""


class Standing(NamedTuple):
    """How far an archive is taken."""

    source: Source
    taken: int
    """How many of its records."""
    stretches: list[Stretch]
    """The others."""


class Block(NamedTuple):
    """Records that follow each other in a stretch that nobody has taken."""

    stretch: Stretch
    numbers: Sequence[int]
    values: list[bytes]


async def enter(connection: Connection, content: Content, *, holds: Literal["readings", "registry"]) -> Standing:
    """Where the database stands with a content; it is entered, with the moment of its opening, when it is new.

    :raises HeldOtherwiseError: when the same content was taken as the other of the two.
    """
    source = await open_source(connection, ARCHIVE + content.sha256, first_seen=content.opened_at, holds=holds)
    await begin_partition(connection, source, PARTITION, 0)
    position = (await positions(connection, [source.name]))[source.name, PARTITION]
    return standing_at(source, position, await left_out(connection, source, PARTITION))


async def look_up(connection: Connection, content: Content) -> Standing:
    """Where the database stands with a content of readings, without entering it.

    :raises HeldOtherwiseError: when it is the registry's.
    """
    name = ARCHIVE + content.sha256
    known = await position_at(connection, name, PARTITION)
    if known is None:
        return standing_at(Source(0, name, content.opened_at), 0, [])
    if known.holds != "readings":
        raise HeldOtherwiseError(f"{name} was taken as {known.holds}")
    gaps = await left_out(connection, known.source, PARTITION)
    return standing_at(known.source, known.next_offset or 0, gaps)


def standing_at(source: Source, position: int, gaps: Iterable[Gap]) -> Standing:
    stretches = [Stretch(gap.first_offset, gap.next_offset) for gap in gaps]
    taken = position - sum(gap.next_offset - gap.first_offset for gap in gaps)
    return Standing(source, taken, [*stretches, Stretch(position, None)])


def batches(
    given: Iterator[list[bytes]],
    standing: Standing,
    *,
    most_records: int,
    most_bytes: int,
    wanted: Callable[[Iterator[Block]], Iterator[Block]] = lambda blocks: blocks,
) -> Iterator[Batch]:
    """What nobody has taken, in the order of the file; each record tells itself when it was received.

    :param given: every record of the file, from the first on.
    :param wanted: leaves some out; what lies between two that are wanted is noted as a gap, to be taken another time.
    """
    source, within, expected = standing.source, None, 0
    for stretch, numbers, values in _in_size(wanted(_untaken(given, standing.stretches)), most_records, most_bytes):
        if stretch is not within:
            within, expected = stretch, stretch.begin
        next_offset = numbers[-1] + 1
        gaps = _gaps(expected, numbers) if next_offset - expected > len(numbers) else []
        stand = places(source.name, PARTITION, numbers)
        repeated = [number for number, value in zip(numbers, values, strict=True) if type(value) is StandsAlready]
        records = [
            Record(place, None, value)
            for place, value in zip(stand, values, strict=True)
            if type(value) is not StandsAlready
        ]
        move = Move(source, PARTITION, expected, next_offset, gaps, end_of_gap=stretch.end, repeated=repeated)
        yield Batch(records, [move], {source.name: source})
        expected = next_offset


def _untaken(given: Iterator[list[bytes]], stretches: Iterable[Stretch]) -> Iterator[Block]:
    left, begin = deque(stretches), 0
    for values in given:
        end = begin + len(values)
        while left and left[0].begin < end:
            stretch = left[0]
            first, last = max(begin, stretch.begin), end if stretch.end is None else min(end, stretch.end)
            if first < last:
                yield Block(stretch, range(first, last), values[first - begin : last - begin])
            if stretch.end is None or stretch.end > end:
                break
            left.popleft()
        begin = end


def _in_size(blocks: Iterable[Block], most_records: int, most_bytes: int) -> Iterator[Block]:
    """The same, as many together as go into a transaction, and none of two stretches."""
    for stretch, inside in groupby(blocks, attrgetter("stretch")):
        numbers, values, size = list[int](), list[bytes](), 0
        for block in inside:
            at, sizes = 0, list(accumulate(map(len, block.values), initial=0))
            while at < len(block.values):
                full = bisect_left(sizes, sizes[at] + most_bytes - size, at + 1)
                to = min(full, at + most_records - len(values), len(block.values))
                numbers += block.numbers[at:to]
                values += block.values[at:to]
                size += sizes[to] - sizes[at]
                at = to
                if len(values) >= most_records or size >= most_bytes:
                    yield Block(stretch, numbers, values)
                    numbers, values, size = [], [], 0
        if values:
            yield Block(stretch, numbers, values)


def _gaps(expected: int, taken: Sequence[int]) -> list[Gap]:
    return [Gap(a + 1, b, FILTERED) for a, b in pairwise([expected - 1, *taken]) if b > a + 1]
