"""A registry file as a source: its states into the histories, exactly once, however often it is loaded."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from pydantic_core import to_json

from enrich.law import Law
from ingest.archive import Standing, batches, enter
from ingest.batch import Batch
from ingest.change import STATE
from ingest.content import Content, NoRecord, UnreadableFileError, Watch, opened
from ingest.csv_rows import csv_rows
from ingest.json_records import json_array, json_lines, single_object
from ingest.patience import Patience
from ingest.pieces import store_in_pieces
from ingest.registry_csv import COLUMNS, registry_header, state_of
from ingest.registry_feed import MOST_STATES, store_states
from ingest.registry_platform import in_our_words
from ingest.settings import Settings
from schemas.envelope import NotUnderstood
from schemas.reasons import Reason
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import State
from schemas.wire import MalformedError, parse_object
from sinks.database import Database
from sinks.errors import HeldOtherwiseError, PositionMovedError
from sinks.ledger import Source

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

    records: Callable[[], Iterator[list[bytes]]]
    """All records, from the first on, some at a time; each call begins anew."""
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
            return Format(partial(json_lines, content) if one is None else lambda: iter(([one],)), [])
    header = registry_header(head)
    if header is not None:
        rows = partial(csv_rows, content, header, partial(state_of, header))
        return Format(rows, [name for name in header if name not in COLUMNS])
    if b"\x00" in head:
        raise UnreadableFileError("not UTF-8 text: a spreadsheet, compressed, or in another encoding")
    if any(line.lstrip().startswith(b"{") for line in head.splitlines()):
        return Format(partial(json_lines, content), [])
    raise UnreadableFileError(_NOTHING_KNOWN)


async def load_file(
    path: Path, *, database: Database, settings: Settings, watch: Watch = lambda _read, _size: None
) -> Loaded:
    """Store what the file tells and was not stored before, in transactions bounded by the settings of a batch.

    :param watch: is told how many bytes of the file were read, and of how many.
    :raises UnreadableFileError: when it cannot be read; what was stored before that stays, and is not stored again.
    :raises SinkError: as `sinks.errors` tells, the world being away for longer than `connect_timeout_s` included.
    """
    with opened(path, watch=watch) as content:
        form = format_of(content, max_bytes=settings.law.max_bytes)
        loaded = Loaded(f"archive:{content.sha256}", ignored_columns=form.ignored_columns)

        async def stand() -> Standing:
            async with database.transaction() as connection:
                return await enter(connection, content, holds="registry")

        within = Patience(give_up_after_s=settings.connect_timeout_s)
        given = form.records()
        while True:
            try:
                standing = await within(stand)
            except HeldOtherwiseError:
                raise UnreadableFileError("its content was stored as readings already, by: readings backfill") from None
            loaded.records = standing.taken
            try:
                for batch in batches(
                    given,
                    standing,
                    most_records=min(settings.batch_records, MOST_STATES),
                    most_bytes=settings.batch_bytes,
                ):
                    content.check_unchanged()
                    await _store(batch, loaded, database=database, settings=settings)
            except PositionMovedError:
                given = form.records()  # somebody else loads it, too, or our own commit held: on from where it stands
                continue
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


async def _store(read: Batch, loaded: Loaded, *, database: Database, settings: Settings) -> None:
    told: Mapping[Place, State | NotUnderstood] = {
        record.place: NotUnderstood(Reason.MALFORMED, record.value.fault)
        if isinstance(record.value, NoRecord)
        else file_state(record, source=read.sources[record.place.source], law=settings.law)
        for record in read.records
    }

    async def store_batch(batch: Batch) -> None:
        change = await store_states(batch, lambda record: told[record.place], database=database)
        loaded.states += change.added.pop(STATE, 0)
        loaded.rejected.update(change.added)

    await store_in_pieces(read, store_batch, patiently=Patience(give_up_after_s=settings.connect_timeout_s))
    loaded.records += len(read.records)
    for place, understood in told.items():
        if isinstance(understood, NotUnderstood) and len(loaded.examples) < _EXAMPLES:
            loaded.examples.append((place.offset, str(understood.reason), understood.detail))
