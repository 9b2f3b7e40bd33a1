"""Records that are stored together, and how they come apart when the database does not take them together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from schemas.record import Place, Record
from sinks.ledger import Move, Source


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that are stored together, and how far they move their partitions."""

    records: Sequence[Record]
    moves: Sequence[Move]
    sources: Mapping[str, Source]
    refused: str | None = None
    """Why the database does not take the one record that is here: it is to be set aside as `unstorable`."""
    stand_elsewhere: Sequence[Place] = ()
    """Of carried records those that say what the ledger has at a place of its own: they are counted, and no more."""

    @property
    def carried(self) -> list[Place]:
        """The places in archives of the records that were carried here, each by a record of the backfill topic."""
        return [record.place for record in self.records if record.carrier is not None]

    @property
    def last(self) -> dict[tuple[str, int], Record]:
        """The last record, as it was delivered, of each (source, partition) that has any."""
        found: dict[tuple[str, int], Record] = {}
        for record in reversed(self.records):
            delivered = record.delivered
            found.setdefault(delivered.place[:2], delivered)
            if len(found) == len(self.moves):  # no others move
                break
        return found

    @property
    def halves(self) -> "tuple[Batch, Batch]":
        """The earlier and the later half of the records, each with its part of the way. Asked of two or more."""
        middle = len(self.records) // 2
        earlier = replace(self, records=self.records[:middle])
        later = replace(self, records=self.records[middle:], stand_elsewhere=())
        to, beyond = earlier.last, later.last
        moves: tuple[list[Move], list[Move]] = ([], [])
        for move in self.moves:
            key = (move.source.name, move.partition)
            cut = to[key].place.offset + 1 if key in to else move.expected
            if key not in beyond:  # the way goes on over a gap at most
                cut = move.next_offset
            for half, (expected, next_offset) in zip(
                moves, ((move.expected, cut), (cut, move.next_offset)), strict=True
            ):
                gaps = [gap for gap in move.gaps if expected <= gap.first_offset < next_offset]
                repeated = [offset for offset in move.repeated if expected <= offset < next_offset]
                if expected < next_offset:
                    half.append(
                        Move(move.source, move.partition, expected, next_offset, gaps, repeated, move.end_of_gap)
                    )
        return replace(earlier, moves=moves[0]), replace(later, moves=moves[1])
