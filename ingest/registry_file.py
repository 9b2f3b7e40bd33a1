"""A registry file as a source: its states into the histories, exactly once, however often it is loaded.

The source is named by the hash of the content, and a record by its number: the position in the database tells what is
stored already, so that a load can be killed, repeated, or run twice at once.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from pydantic_core import to_json

from enrich.law import Law
from ingest.batch import Batch
from ingest.change import STATE
from ingest.patience import Patience
from ingest.pieces import store_in_pieces
from ingest.registry_content import Content, Given, UnreadableFileError, opened
from ingest.registry_csv import COLUMNS, csv_header, csv_rows
from ingest.registry_feed import store_states
from ingest.registry_json import json_array, json_lines, single_object
from ingest.registry_platform import in_our_words
from ingest.settings import Settings
from schemas.envelope import NotUnderstood
from schemas.reasons import Reason
from schemas.record import Place, Record
from schemas.states import State, understand_state
from schemas.wire import MalformedError, parse_object
from sinks.database import Database
from sinks.errors import PositionMovedError
from sinks.ledger import Move, Source, begin_partition, open_source, positions

_PARTITION: Final = 0
_EXAMPLES: Final = 5
_NOTHING_KNOWN: Final = "neither NDJSON, nor a JSON array, nor CSV with a column deviceId or patientId"


@dataclass(slots=True)
class Loaded:
    """What became of a file's records."""

    source: str
    records: int = 0
    states: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    ignored_columns: list[str] = field(default_factory=list)
    examples: list[tuple[int, str, str | None]] = field(default_factory=list)
    """The first few that were rejected: record number, reason, the field and its rule."""

    @property
    def already_there(self) -> int:
        return self.records - self.states - self.rejected.total()


class Format(NamedTuple):
    """How to read a file, once it is known what it is."""

    records: Callable[[], Iterator[Given]]
    """All records, from the first on; each call begins anew."""
    ignored_columns: list[str]


def format_of(content: Content, *, max_bytes: int) -> Format:
    """What the content is, told by the content alone.

    :raises UnreadableFileError: when it is nothing that a registry file may be.
    """
    head = content.head()
    match head.lstrip()[:1]:
        case b"":
            raise UnreadableFileError("it is empty")
        case b"[":
            return Format(partial(json_array, content), [])
        case b"{":
            one = single_object(content, max_bytes=max_bytes)
            return Format(partial(json_lines, content) if one is None else lambda: iter((one,)), [])
    header = csv_header(head)
    if header is not None:
        return Format(partial(csv_rows, content, header), [name for name in header if name not in COLUMNS])
    if b"\x00" in head:
        raise UnreadableFileError("not UTF-8 text: a spreadsheet, compressed, or in another encoding")
    if any(line.lstrip().startswith(b"{") for line in head.splitlines()):
        return Format(partial(json_lines, content), [])
    raise UnreadableFileError(_NOTHING_KNOWN)


async def load_file(
    path: Path, *, database: Database, settings: Settings, tell: Callable[[int, int], None] = lambda _read, _size: None
) -> Loaded:
    """Store what the file tells and was not stored before, in transactions bounded by the settings of a batch.

    :param tell: is told after each transaction how many bytes of the file were read, and of how many.
    :raises UnreadableFileError: when it cannot be read; what was stored before that stays, and is not stored again.
    :raises SinkError: as `sinks.errors` tells, the world being away for longer than `connect_timeout_s` included.
    """
    with opened(path) as content:
        form = format_of(content, max_bytes=settings.law.max_bytes)
        loaded = Loaded(f"archive:{content.sha256}", ignored_columns=form.ignored_columns)

        async def enter() -> tuple[Source, int]:
            async with database.transaction() as connection:
                source = await open_source(connection, loaded.source, first_seen=content.opened_at, holds="registry")
                await begin_partition(connection, source, _PARTITION, 0)
                known = await positions(connection, [source.name])
                return source, known[source.name, _PARTITION]

        within = Patience(give_up_after_s=settings.connect_timeout_s)
        given = form.records()
        while True:
            source, position = await within(enter)
            loaded.records = sum(1 for _ in islice(given, position))
            try:
                for batch in _batches(given, position, settings):
                    content.check_unchanged()
                    await _store(batch, loaded, source=source, database=database, settings=settings)
                    tell(content.read, content.size)
            except PositionMovedError:
                given = form.records()  # somebody else loads it, too, or our own commit held: on from where it stands
            else:
                return loaded


def file_state(record: Record, *, source: Source, law: Law) -> State | NotUnderstood:
    """The state that a record of a file tells, in our words or in the platform's."""
    try:
        document = parse_object(record.value, max_bytes=law.max_bytes, max_depth=law.max_depth)
    except MalformedError as error:
        return NotUnderstood(Reason.MALFORMED, str(error))
    worded = in_our_words(document)
    if isinstance(worded, NotUnderstood):
        return worded
    value = record.value if worded.document is document else to_json(worded.document)
    return understand_state(
        worded.about,
        Record(record.place, None, value),
        told_at=source.first_seen,
        from_file=True,
        max_bytes=max(law.max_bytes, len(value or b"")),
        max_depth=law.max_depth,
    )


class _Numbered(NamedTuple):
    number: int
    given: Given


def _batches(given: Iterator[Given], position: int, settings: Settings) -> Iterator[list[_Numbered]]:
    batch: list[_Numbered] = []
    size = 0
    for numbered in map(_Numbered._make, enumerate(given, position)):
        batch.append(numbered)
        size += len(numbered.given.value)
        if len(batch) >= settings.batch_records or size >= settings.batch_bytes:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


async def _store(
    batch: list[_Numbered], loaded: Loaded, *, source: Source, database: Database, settings: Settings
) -> None:
    records = [Record(Place(source.name, _PARTITION, number), None, given.value) for number, given in batch]
    told: Mapping[Place, State | NotUnderstood] = {
        record.place: file_state(record, source=source, law=settings.law)
        if given.fault is None
        else NotUnderstood(Reason.MALFORMED, given.fault)
        for record, (_, given) in zip(records, batch, strict=True)
    }
    move = Move(source, _PARTITION, batch[0].number, batch[-1].number + 1)
    moved = Batch(records, [move], {source.name: source})

    async def store_piece(piece: Batch) -> None:
        change = await store_states(piece, lambda record: told[record.place], database=database)
        loaded.states += change.added.pop(STATE, 0)
        loaded.rejected.update(change.added)

    await store_in_pieces(moved, store_piece, patiently=Patience(give_up_after_s=settings.connect_timeout_s))
    loaded.records += len(batch)
    for place, understood in told.items():
        if isinstance(understood, NotUnderstood) and len(loaded.examples) < _EXAMPLES:
            loaded.examples.append((place.offset, str(understood.reason), understood.detail))
