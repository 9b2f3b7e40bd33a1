"""What arrives: bytes, and the place they hold in the ledger for ever."""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from hashlib import blake2b
from itertools import repeat
from typing import Final, NamedTuple

from schemas.value import Value

ARCHIVE: Final = "archive:"
"""What the names of sources begin with that are files, known by their content."""


class Place(NamedTuple):
    """Where a record came from. Places order by source name (by code point), partition, offset."""

    source: str
    """`kafka:<topic>` or `archive:<hash of the decompressed content>`."""
    partition: int
    offset: int

    @property
    def in_archive(self) -> bool:
        return self.source.startswith(ARCHIVE)


_place: Callable[[tuple[str, int, int]], Place] = partial(tuple.__new__, Place)
"""A place as quickly as a tuple, which it is; by its own name it takes three times as long."""


def places(source: str, partition: int, offsets: Iterable[int]) -> list[Place]:
    """Places of one partition."""
    return list(map(_place, zip(repeat(source), repeat(partition), offsets)))


class Record(Value):
    """One record as a source gave it. The same record delivered again is equal to itself in `place`."""

    __slots__ = ("carrier", "place", "received_at", "value")

    def __init__(
        self,
        place: Place,
        received_at: datetime | None,
        value: bytes | None,
        carrier: "Record | None" = None,
    ) -> None:
        self.place: Final = place
        self.received_at: Final = received_at
        """The broker's record timestamp, UTC, or what came with a carried one; None: its line may say it."""
        self.value: Final = value
        self.carrier: Final = carrier
        """Of a record of an archive that came through the backfill topic: the record there that carried it."""

    def said(self) -> tuple[object, ...]:
        return self.place, self.received_at, self.value, self.carrier

    @property
    def delivered(self) -> "Record":
        """As it was delivered, with its place in the log that it was read from."""
        return self.carrier or self

    @property
    def digest(self) -> bytes:
        """By which the record is known again: 16 bytes, which tell nothing of what it says."""
        return blake2b(self.value or b"", digest_size=16).digest()
