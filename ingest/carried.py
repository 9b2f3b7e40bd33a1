"""Records of archives in the backfill topic: what carries them there, and how they come out again.

A record of the backfill topic carries one of an archive: its value is the archive's record, byte for byte, and its
headers say where that one belongs:

    archive      the SHA-256 of the archive's unpacked content, 64 hexadecimal digits
    record       its number in the archive, from 0, in decimal digits
    receivedAt   when it was received, RFC 3339; absent where the archive does not say

Without a value it says that the ledger has the record at a place of its own: an unchanged line of exported rejections.

They are honoured in that topic only: in any other whoever may write a reading could give it a place and a time of
receipt of its choice. A record of the topic whose headers say no place is an ordinary one, at its place in the topic.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from ingest.archive import PARTITION
from schemas.envelope import receipt_of
from schemas.record import ARCHIVE, Place, Record
from schemas.wire import Instant
from sinks.database import Database
from sinks.errors import HeldOtherwiseError
from sinks.ledger import Source, begin_partition, open_source

Headers = Sequence[tuple[str, bytes | None]]

_ARCHIVE, _RECORD, _RECEIVED_AT = "archive", "record", "receivedAt"
_OURS: Final = {_ARCHIVE, _RECORD, _RECEIVED_AT}
_HASH: Final = re.compile(rb"[0-9a-f]{64}")
_NUMBER: Final = re.compile(rb"0|[1-9][0-9]{0,17}")
_INSTANT: Final = TypeAdapter[datetime](Instant)


class Address(NamedTuple):
    """Where a carried record belongs, and when it was received."""

    place: Place
    received_at: datetime | None


def headers_of(record: Record) -> list[tuple[str, bytes]]:
    """The headers that say where a record of an archive belongs."""
    headers = [
        (_ARCHIVE, record.place.source.removeprefix(ARCHIVE).encode()),
        (_RECORD, b"%d" % record.place.offset),
    ]
    if (received_at := receipt_of(record)) is not None:
        headers.append((_RECEIVED_AT, received_at.isoformat().encode()))
    return headers


def address_of(headers: Headers) -> Address | None:
    """What the headers say; None when they are not ours, incomplete, say something twice, or nothing that may be."""
    ours = [(name, value) for name, value in headers if name in _OURS]
    told = dict(ours)
    archive, number, received_at = (told.get(name) or b"" for name in (_ARCHIVE, _RECORD, _RECEIVED_AT))
    if len(told) != len(ours) or not _HASH.fullmatch(archive) or not _NUMBER.fullmatch(number):
        return None
    place = Place(ARCHIVE + archive.decode(), PARTITION, int(number))
    if _RECEIVED_AT not in told:
        return Address(place, None)
    try:
        return Address(place, _INSTANT.validate_python(received_at.decode()))
    except (ValidationError, UnicodeDecodeError):
        return None


class Archives:
    """The archives that the backfill topic tells of, as the ledger knows them; it is asked once for each."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Source | None] = {}

    async def look_up(self, told: Iterable[Headers]) -> None:
        """Learn of the archives that these headers name; those that are new are entered, seen now for the first time.

        :raises AwayError: when the database is away; nothing is wrong with asking again.
        """
        named = {address.place.source for headers in told if (address := address_of(headers)) is not None}
        for name in sorted(named - self._known.keys()):
            try:
                async with self._database.transaction() as connection:
                    source = await open_source(connection, name, first_seen=datetime.now(UTC))
                    await begin_partition(connection, source, PARTITION, 0)
            except HeldOtherwiseError:
                self._known[name] = None  # a content of the registry holds no readings
            else:
                self._known[name] = source

    def carried(self, carrier: Record, headers: Headers) -> tuple[Source, Record] | None:
        """The record that this one carries, and its archive; None when it carries none. Its archive was looked up."""
        address = address_of(headers)
        source = None if address is None else self._known.get(address.place.source)
        if address is None or source is None:
            return None
        return source, Record(address.place, address.received_at, carrier.value, carrier)
