"""A file as a source: its records by number, and which of them nobody has taken yet.

The source is named by the hash of the content, and a record by its number. So the position in the database tells what
is stored already, under whatever name the file comes, and what is done with it can be killed, repeated, or run twice at
once.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise
from typing import Final, Literal, NamedTuple

from ingest.content import Content, Given
from schemas.record import ARCHIVE
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


Numbered = tuple[int, Given]
"""A record and its number in the archive."""


class Piece(NamedTuple):
    """Records of an archive that are to be stored together, and how far they move it."""

    records: list[Numbered]
    move: Move


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


def pieces(
    given: Iterator[Given],
    standing: Standing,
    *,
    most_records: int,
    most_bytes: int,
    wanted: Callable[[Iterator[Numbered]], Iterator[Numbered]] = lambda numbered: numbered,
) -> Iterator[Piece]:
    """What nobody has taken, in the order of the file.

    :param given: every record of the file, from the first on.
    :param wanted: leaves some out; what lies between two that are wanted is noted as a gap, to be taken another time.
    """
    numbered, passed = enumerate(given), 0
    for stretch in standing.stretches:
        expected, end = stretch
        inside = islice(numbered, expected - passed, None if end is None else end - passed)
        passed = end or 0
        for group in _groups(wanted(inside), most_records, most_bytes):
            next_offset = group[-1][0] + 1
            gaps = _gaps(expected, group) if next_offset - expected > len(group) else []
            repeated = [number for number, one in group if one.stands]
            move = Move(standing.source, PARTITION, expected, next_offset, gaps, end_of_gap=end, repeated=repeated)
            yield Piece([record for record in group if not record[1].stands] if repeated else group, move)
            expected = next_offset


def _gaps(expected: int, group: Iterable[Numbered]) -> list[Gap]:
    numbers = [expected - 1, *(number for number, _ in group)]
    return [Gap(a + 1, b, FILTERED) for a, b in pairwise(numbers) if b > a + 1]


def _groups(records: Iterable[Numbered], most_records: int, most_bytes: int) -> Iterator[list[Numbered]]:
    group: list[Numbered] = []
    size = 0
    for record in records:
        group.append(record)
        size += len(record[1].value)
        if len(group) >= most_records or size >= most_bytes:
            yield group
            group, size = [], 0
    if group:
        yield group
