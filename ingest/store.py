"""The data path: take a batch, judge each record, store all with the position. One transaction, top to bottom."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from enrich.judge import judge, unregistered_mentions
from enrich.law import Law
from enrich.rank import rank, ranked_by_key, reason_beside, set_aside
from enrich.registry import Registry
from schemas.envelope import understand
from schemas.judgement import Accepted, Entry, Judgement, ReadingKey, Rejected, told_apart
from schemas.reading import Reading
from schemas.record import Record
from sinks.database import Connection, Database
from sinks.ledger import Move, Source, move
from sinks.readings import (
    change_reasons,
    insert_readings,
    insert_rejections,
    note_mentions,
    remove_readings,
    set_aside_under,
    standing_readings,
)
from sinks.registry import News, news_since, share_registry


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that are stored together, and how far they move their partitions."""

    records: Sequence[Record]
    moves: Sequence[Move]
    sources: Mapping[str, Source]


class Stored(NamedTuple):
    """The ledger's new lines."""

    readings: list[Entry[Accepted]]
    rejections: list[Entry[Rejected]]


async def store(batch: Batch, *, database: Database, registry: Registry, law: Law) -> Stored:
    """Judge every record and store what becomes of it, together with the position.

    :raises PositionMovedError: when the batch is no longer ours to store; :raises SinkError: as `sinks.errors` tells.
        In each case nothing is stored.
    """

    def judged(record: Record) -> Entry[Judgement]:
        seen = batch.sources[record.place.source].first_seen
        return Entry(record.place, record.received_at, judge(record, first_seen=seen, registry=registry, law=law))

    judged_with = registry.version  # the registry may learn, for a correction, before our transaction begins
    entries = [judged(record) for record in batch.records]
    async with database.transaction() as connection:
        await move(connection, batch.moves)
        if await share_registry(connection) > judged_with:
            news = await news_since(connection, judged_with)
            registry.learn(news.states, news.owners, version=news.version)
            pairs = zip(batch.records, entries, strict=True)
            entries = [judged(record) if touches(news, entry.judgement) else entry for record, entry in pairs]
        accepted, rejected = told_apart(entries)
        winners, outranked, sources = await first_received(connection, accepted, batch.sources)
        await insert_readings(connection, winners, sources)
        await insert_rejections(connection, [*rejected, *outranked], sources)
        await note_mentions(connection, mentions(winners, registry))
    return Stored(winners, [*rejected, *outranked])


async def first_received(
    connection: Connection, accepted: Iterable[Entry[Accepted]], sources: Mapping[str, Source]
) -> tuple[list[Entry[Accepted]], list[Entry[Rejected]], Mapping[str, Source]]:
    """Rule 9 against what stands: the readings to store, those set aside, and the sources of both.

    What gives way, to a reading of this or another source, is taken out already.
    """
    by_key = ranked_by_key(accepted)
    standing = await standing_readings(connection, by_key)
    sources = {**sources, **standing.sources}
    winners, giving_way, others = [], [], []
    for key, newcomers in by_key.items():
        incumbent = standing.by_key.get(key)
        ranked = newcomers if incumbent is None else sorted([incumbent, *newcomers], key=rank)
        first = ranked[0]
        if first is not incumbent:
            winners.append(first)
            if incumbent is not None:
                giving_way.append(incumbent)
        others += [set_aside(entry, first) for entry in ranked[1:]]
    if giving_way:
        await remove_readings(connection, giving_way, sources)
        await follow_winners(connection, {key: by_key[key][0] for key in (gone.judgement.key for gone in giving_way)})
    return winners, others, sources


def mentions(entries: Iterable[Entry[Judgement]], registry: Registry) -> list[tuple[int, str | None, int | None]]:
    """What readings that are stored name though the registry does not tell of it, each once."""
    named = (mention for entry in entries for mention in unregistered_mentions(entry.judgement, registry))
    return list(dict.fromkeys(named))


async def follow_winners(connection: Connection, winners: Mapping[ReadingKey, Entry[Accepted]]) -> None:
    """The reasons of those set aside under a key follow its new winner."""
    changed = []
    for line in await set_aside_under(connection, winners):
        reading = understand(line.payload, max_bytes=len(line.payload), max_depth=Law().max_depth)
        assert isinstance(reading, Reading), "what rule 9 set aside keeps its canonical envelope"
        reason = reason_beside(winners[line.key].judgement.reading, reading)
        if reason != line.reason:
            changed.append((line, reason))
    if changed:
        await change_reasons(connection, changed)


def touches(news: News, judgement: Judgement) -> bool:
    """Whether the news concern a device, identifier or patient that the reading names or was given."""
    reading = judgement.reading
    if reading is None:
        return False
    return (
        not news.devices.isdisjoint((judgement.device_id, reading.device_id_named))
        or not news.patients.isdisjoint((judgement.patient_id, reading.patient_id_named))
        or any(identifier in news.owners for identifier in reading.identifiers_named)
    )
