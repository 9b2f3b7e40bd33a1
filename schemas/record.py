"""What arrives: bytes, and the place they hold in the ledger for ever."""

from dataclasses import field
from datetime import datetime
from hashlib import blake2b
from typing import Final, NamedTuple

from schemas.value import value

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


@value
class Record:
    """One record as a source gave it. The same record delivered again is equal to itself in `place`."""

    place: Place
    received_at: datetime | None
    """The broker's record timestamp, UTC, or what a line of an archive says itself; None is unknown."""
    value: bytes | None = field(repr=False)
    carrier: "Record | None" = None
    """Of a record of an archive that came through the backfill topic: the record there that carried it."""

    @property
    def delivered(self) -> "Record":
        """As it was delivered, with its place in the log that it was read from."""
        return self.carrier or self

    @property
    def digest(self) -> bytes:
        """By which the record is known again: 16 bytes, which tell nothing of what it says."""
        return blake2b(self.value or b"", digest_size=16).digest()
