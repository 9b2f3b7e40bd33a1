"""The data path: take a batch, judge each record, store all with the position. One transaction, top to bottom."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from enrich.judge import mentions
from enrich.law import Law
from enrich.rank import rank, ranked_by_key, reason_beside, set_aside
from enrich.registry import Registry
from ingest.batch import Batch
from ingest.change import READING, Change, fates
from ingest.judging import Ahead, Judging
from ingest.learn import asked
from ingest.newest import Newest
from schemas.envelope import understand
from schemas.judgement import Accepted, Entry, Judgement, ReadingKey, Rejected, told_apart
from schemas.reading import Reading
from schemas.record import Place
from sinks.carried import take, taken_already
from sinks.database import Connection, Database
from sinks.errors import CollisionError
from sinks.ledger import Source, move
from sinks.readings import (
    Standing,
    change_reasons,
    hold_subjects,
    insert_readings,
    insert_rejections,
    note_mentions,
    remove_readings,
    set_aside_under,
    standing_readings,
)


async def store(
    batch: Batch,
    *,
    database: Database,
    registry: Registry,
    law: Law,
    newest: Newest | None = None,
    ahead: Ahead | None = None,
    look: Callable[[Sequence[Entry[Judgement]]], None] = lambda _: None,
) -> Change:
    """Judge every record and store what becomes of it, together with the position; what that did to the ledger.

    :param newest: tells which readings need not be looked for before they are stored; None is none of them.
    :param ahead: may have judged the batch while the one before it was stored.
    :param look: is shown what the records are by rules 1 to 4 before anything is stored, and may raise.
    :raises PositionMovedError: when the batch is no longer ours to store; :raises SinkError: as `sinks.errors` tells.
        In each case nothing is stored.
    """
    judging = (ahead and ahead.taken(batch)) or Judging(batch, registry, law, newest)
    newest = judging.newest
    look(judging.entries)
    try:
        async with database.transaction() as connection:
            await move(connection, batch.moves, batch.last)
            carried = {*batch.carried, *batch.stand_elsewhere}
            taken = await taken_already(connection, carried, batch.sources) if carried else set[Place]()
            entries = await judging.settled(connection)
            if carried:
                entries, carried = untaken(entries, taken), carried - taken
            accepted, rejected = told_apart(entries)
            alone, beside = newest.told_apart(accepted) if newest else ([], accepted)
            ranked = await first_received(connection, ranked_by_key(beside), batch.sources)
            winners = [*alone, *ranked.winners]
            await insert_readings(connection, winners, ranked.sources)
            await insert_rejections(connection, [*rejected, *ranked.others], ranked.sources)
            await note_mentions(connection, await asked(connection, registry, lambda: mentions(winners, registry)))
            if carried:
                await take(connection, carried, batch.sources, repeated=carried - {entry.place for entry in entries})
    except CollisionError:
        if newest:
            newest.collided()
        raise
    added = Counter({READING: len(winners)}) + fates([*rejected, *ranked.others])
    return Change(added + ranked.now, fates(ranked.given_way) + ranked.was)


class Ranked(NamedTuple):
    """What rule 9 makes of accepted readings, those that stood before them included."""

    winners: list[Entry[Accepted]]
    """To be stored."""
    others: list[Entry[Rejected]]
    """To be set aside."""
    given_way: list[Entry[Accepted]]
    """Taken out already: they are among the others."""
    was: Counter[str]
    """Reasons of those set aside earlier that have changed with the winner, as they were."""
    now: Counter[str]
    """And as they are."""
    sources: Mapping[str, Source]


async def first_received(
    connection: Connection, by_key: Mapping[ReadingKey, Sequence[Entry[Accepted]]], sources: Mapping[str, Source]
) -> Ranked:
    """Rule 9 against what stands. What gives way, to a reading of this or another source, is taken out."""
    standing = await standing_beside(connection, by_key)
    sources = {**sources, **standing.sources}
    winners, given_way, others = [], [], []
    for key, newcomers in by_key.items():
        incumbent = standing.by_key.get(key)
        if incumbent is None and len(newcomers) == 1:
            winners.append(newcomers[0])
            continue
        ranked = newcomers if incumbent is None else sorted([incumbent, *newcomers], key=rank)
        first = ranked[0]
        if first is not incumbent:
            winners.append(first)
            if incumbent is not None:
                given_way.append(incumbent)
        others += [set_aside(entry, first) for entry in ranked[1:]]
    was, now = Counter[str](), Counter[str]()
    if given_way:
        await remove_readings(connection, given_way, sources)
        outranking = {key: by_key[key][0] for key in (gone.judgement.key for gone in given_way)}
        was, now = await follow_winners(connection, outranking)
    return Ranked(winners, others, given_way, was, now, sources)


async def standing_beside(
    connection: Connection, newcomers: Mapping[ReadingKey, Sequence[Entry[Accepted]]]
) -> Standing:
    """The readings that stand under the keys of newcomers; they stay as they are until the transaction ends.

    A key under which none stands may be taken at any moment: then the newcomer collides.

    :raises CollisionError: when one that was to stay has changed meanwhile, and is to give way.
    """

    def giving_way(standing: Standing) -> set[ReadingKey]:
        return {key for key, incumbent in standing.by_key.items() if rank(newcomers[key][0]) < rank(incumbent)}

    standing = await standing_readings(connection, newcomers)
    if standing.by_key:
        alone = giving_way(standing)
        await hold_subjects(connection, shared=standing.by_key.keys() - alone, alone=alone)
        standing = await standing_readings(connection, standing.by_key)
        if giving_way(standing) - alone:
            raise CollisionError("a reading that was to stay has changed meanwhile")
    return standing


def untaken(entries: Iterable[Entry[Judgement]], taken: Collection[Place]) -> list[Entry[Judgement]]:
    """Those whose places were not taken before; of those with one place the first."""
    seen = set(taken)
    return [entry for entry in entries if entry.place not in seen and not seen.add(entry.place)]  # type: ignore[func-returns-value]


async def follow_winners(
    connection: Connection, winners: Mapping[ReadingKey, Entry[Accepted]]
) -> tuple[Counter[str], Counter[str]]:
    """The reasons of those set aside under a key follow its new winner; those that changed, as they were and are."""
    changed = []
    for line in await set_aside_under(connection, winners):
        reading = understand(line.payload, max_bytes=len(line.payload), max_depth=Law().max_depth)
        assert isinstance(reading, Reading), "what rule 9 set aside keeps its canonical envelope"
        reason = reason_beside(winners[line.key].judgement.reading, reading)
        if reason != line.reason:
            changed.append((line, reason))
    if changed:
        await change_reasons(connection, changed)
    return Counter(line.reason for line, _ in changed), Counter(str(reason) for _, reason in changed)
