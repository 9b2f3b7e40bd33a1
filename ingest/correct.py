"""Corrections: what a late change of the registry may touch is judged again, by the function that judged it first."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from enrich.judge import judge_again, mentions
from enrich.law import Law
from enrich.rank import ranked_by_key, set_aside
from enrich.registry import Registry
from ingest.change import Change, fates
from ingest.learn import asked, hold
from schemas.judgement import Accepted, Entry, Judgement, ReadingKey, Rejected, told_apart
from schemas.kinds import Kind
from schemas.reading import canonical_envelope
from schemas.reasons import Reason
from schemas.record import Place
from schemas.wire import EARLIEST_INSTANT
from sinks.corrections import Correction, alone, finish, go_on_from, next_correction
from sinks.database import Connection, Database
from sinks.errors import CollisionError, OperatorError, RefusedRowError, translated
from sinks.ledger import Source
from sinks.readings import (
    Loaded,
    candidates,
    insert_lines,
    load_readings,
    load_rejections,
    note_mentions,
    remove_readings,
    remove_rejections,
)

PAGE: Final = 2_000
"""Most lines that one transaction judges again: what a live batch may have to wait for."""
_PIECES: Final = 200
_BEFORE_ALL_KEYS: Final = (-(2**63), next(iter(Kind)), EARLIEST_INSTANT)
_BEFORE_ALL_PLACES: Final = (-1, -1, -1)
_SET_ASIDE: Final = frozenset({Reason.DUPLICATE, Reason.CONFLICTING_DUPLICATE})

Insert = Callable[[Connection, Sequence[Entry[Judgement]], Mapping[str, Source]], Awaitable[None]]


async def correct(
    *,
    database: Database,
    registry: Registry,
    law: Law,
    page: int = PAGE,
    tell: Callable[[Change], None] = lambda _: None,
) -> int:
    """Work corrections off, in one transaction of bounded size; how many pieces were begun: 0 when none is left.

    Whichever replica is free does it, one at a time; killed anywhere, the next goes on where this one was.

    :param tell: is told what that did to the ledger.
    """
    try:
        pieces, change = await _one_page(database, registry, law, page, rearrange)
    except RefusedRowError:
        pieces, change = await _one_page(database, registry, law, page, _rearrange_one_by_one)
    tell(change)
    return pieces


async def _one_page(
    database: Database,
    registry: Registry,
    law: Law,
    page: int,
    rearranging: Callable[[Connection, Loaded, Registry, Law], Awaitable[Change]],
) -> tuple[int, Change]:
    async with database.transaction() as connection:
        change = Change(Counter(), Counter())
        await hold(connection, registry, since=registry.version)
        if not await alone(connection):
            return 0, change
        pieces, left = 0, page
        while left > 0 and pieces < _PIECES and (piece := await next_correction(connection)) is not None:
            pieces += 1
            touched = await _touched(connection, piece, left)
            done = await rearranging(connection, touched, registry, law)
            change = Change(change.added + done.added, change.removed + done.removed)
            if len(touched.entries) < left:
                await finish(connection, piece)
            else:
                await go_on_from(connection, piece, _last(touched, piece))
            left -= len(touched.entries)
        return pieces, change


async def rearrange(
    connection: Connection,
    touched: Loaded,
    registry: Registry,
    law: Law,
    *,
    refused: Mapping[Place, str] = MappingProxyType({}),
    insert: Insert = insert_lines,
) -> Change:
    """Judge lines of the ledger again, and bring what changed, with all that it competes with, to its right place.

    :param refused: those that the database does not take as what they are now, and why.
    :raises CollisionError: when a live batch has changed one of them meanwhile.
    """
    sources = dict(touched.sources)

    def again(entry: Entry[Judgement]) -> Line:
        if entry.place in refused:
            judgement = _unstorable(entry.judgement, refused[entry.place])
            return Line(entry, Entry(entry.place, entry.received_at, judgement))
        seen = sources[entry.place.source].first_seen
        return Line(entry, judge_again(entry, first_seen=seen, registry=registry, law=law))

    async def all_again(entries: Sequence[Entry[Judgement]]) -> dict[Place, Line]:
        return await asked(connection, registry, lambda: {entry.place: again(entry) for entry in entries})

    lines = {place: line for place, line in (await all_again(touched.entries)).items() if line.changed}
    known: set[ReadingKey] = set()
    while keys := {key for line in lines.values() for key in line.keys} - known:
        # Whatever competes under a key is judged again too: the same change may have touched it, on a later page, and
        # it may compete under another key now.
        standing, aside = await candidates(connection, keys)
        sources |= standing.sources | aside.sources
        held = {entry.place: entry for entry in (*standing.entries, *aside.entries)}
        if any(key in keys and place not in held for place, line in lines.items() for key in [line.old_key]):
            raise CollisionError("a line that was to be judged again has changed meanwhile")
        lines |= await all_again([entry for place, entry in held.items() if place not in lines])
        known |= keys
    moved = list(_moves(lines.values()))
    olds, news = [line.old for line in moved], [line.new for line in moved]
    readings, rejections = told_apart(olds)
    if readings:
        await remove_readings(connection, readings, sources)
    if rejections:
        await remove_rejections(connection, rejections, sources)
    await insert(connection, news, sources)
    await note_mentions(connection, await asked(connection, registry, lambda: mentions(news, registry)))
    return Change(fates(news), fates(olds))


class _RefusedLineError(Exception):
    def __init__(self, place: Place, why: str) -> None:
        super().__init__(why)
        self.place = place


async def _rearrange_one_by_one(connection: Connection, touched: Loaded, registry: Registry, law: Law) -> Change:
    """The same where the database refuses a line: that one is set aside as `unstorable`, the others are as ever."""
    refused: dict[Place, str] = {}
    while True:
        try:
            async with connection.transaction():
                return await rearrange(connection, touched, registry, law, refused=refused, insert=_insert_one_by_one)
        except _RefusedLineError as error:
            if error.place in refused:
                raise OperatorError(f"the database refuses even to set a record aside: {error}") from None
            refused[error.place] = str(error)


async def _insert_one_by_one(
    connection: Connection, entries: Sequence[Entry[Judgement]], sources: Mapping[str, Source]
) -> None:
    for entry in entries:
        try:
            with translated():
                async with connection.transaction():
                    await insert_lines(connection, [entry], sources)
        except RefusedRowError as error:
            raise _RefusedLineError(entry.place, str(error)) from None


def _unstorable(judgement: Judgement, why: str) -> Rejected:
    payload = canonical_envelope(judgement.reading) if isinstance(judgement, Accepted) else judgement.payload
    return Rejected(Reason.UNSTORABLE, why, payload=payload)


class Line(NamedTuple):
    """A line of the ledger as it stands, and as rules 1 to 8 have it now."""

    old: Entry[Judgement]
    new: Entry[Judgement]

    @property
    def changed(self) -> bool:
        """Whether it is another line now, but for rule 9."""
        old, new = self.old.judgement, self.new.judgement
        if isinstance(old, Rejected) and isinstance(new, Accepted) and old.reason in _SET_ASIDE:
            return (old.device_id, old.patient_id, old.customer_id) != (new.device_id, new.patient_id, new.customer_id)
        return old != new

    @property
    def old_key(self) -> ReadingKey | None:
        """The natural key under which it competes as it stands."""
        old = self.old.judgement
        if isinstance(old, Accepted):
            return old.key
        if old.reason not in _SET_ASIDE or old.reading is None:
            return None
        return Accepted(old.reading, old.device_id, old.patient_id, None, None, None).key

    @property
    def keys(self) -> set[ReadingKey]:
        """The natural keys under which it competes, as it stands and from now on."""
        new = self.new.judgement
        new_key = new.key if isinstance(new, Accepted) else None
        return {key for key in (self.old_key, new_key) if key is not None}


def _moves(lines: Iterable[Line]) -> Iterator[Line]:
    """Each line that has to move, with what becomes of it by rule 9 too."""
    lines = list(lines)
    final: dict[Place, Entry[Judgement]] = {}
    accepted, rejected = told_apart(line.new for line in lines)
    final |= {entry.place: entry for entry in rejected}
    for first, *others in ranked_by_key(accepted).values():
        final[first.place] = first
        final |= {other.place: set_aside(other, first) for other in others}
    return (Line(line.old, final[line.old.place]) for line in lines if line.old != final[line.old.place])


async def _touched(connection: Connection, piece: Correction, most: int) -> Loaded:
    by = (piece.subject, piece.patient_id, piece.identifier)
    match piece.about:
        case "readings_of_subject":
            reading_type, moment = piece.done_to or _BEFORE_ALL_KEYS[1:]
            return await load_readings(connection, piece.about, *by, piece.since, reading_type, _moment(moment), most)
        case "all_readings":
            subject, reading_type, moment = piece.done_to or _BEFORE_ALL_KEYS
            return await load_readings(connection, piece.about, subject, reading_type, _moment(moment), most)
        case "rejections_of_device":
            place = piece.done_to or _BEFORE_ALL_PLACES
            return await load_rejections(connection, piece.about, piece.subject, *place, piece.since, most)
        case "all_rejections":
            return await load_rejections(connection, piece.about, *(piece.done_to or _BEFORE_ALL_PLACES), most)
        case _:
            whose = piece.identifier if piece.patient_id is None else piece.patient_id
            return await load_rejections(connection, piece.about, whose, *(piece.done_to or _BEFORE_ALL_PLACES), most)


def _last(touched: Loaded, piece: Correction) -> tuple[Any, ...]:
    """The place in the piece's own order that is done."""
    entry = touched.entries[-1]
    if isinstance(entry.judgement, Accepted):
        subject, kind, moment = entry.judgement.key
        return (kind, moment) if piece.about == "readings_of_subject" else (subject, kind, moment)
    return (touched.sources[entry.place.source].source_id, *entry.place[1:])


def _moment(done: datetime | str) -> datetime:
    return datetime.fromisoformat(done) if isinstance(done, str) else done
