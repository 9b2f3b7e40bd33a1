"""The judgement and the store against an oracle that was written from the contract alone."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from enrich.law import Law
from enrich.offsets import offset_s
from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.batch import Batch
from ingest.correct import correct
from ingest.newest import Newest
from ingest.store import store
from schemas.envelope import NotUnderstood
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import About, State
from sinks.database import Database
from sinks.errors import CollisionError
from sinks.ledger import Move, begin_partition, open_source
from sinks.registry import add_states
from sinks.rows import READING_COLUMNS, REJECTION_COLUMNS
from tests import oracle
from tests.histories import History, first_seen, history

LAW = Law()
HISTORIES = int(os.environ.get("HISTORIES", "60"))
FIRST = int(os.environ.get("FIRST_HISTORY", "0"))


def zone_of(zip_code: str | None, country: str | None) -> str | None:
    return table_zones().of(zip_code, country).zone


def told(record: oracle.RegistryRecord) -> State | NotUnderstood:
    place = Place(record.source, record.partition, record.offset)
    return understand_state(
        About(record.kind),
        Record(place, record.timestamp, record.value),
        told_at=record.timestamp,
        from_file=record.from_file,
        max_bytes=LAW.max_bytes,
        max_depth=LAW.max_depth,
    )


def by_oracle(given: History) -> oracle.Store:
    return oracle.store(given.records, given.registry, oracle.Law(), zone_of, offset_s, first_seen)


async def stored(url: str, given: History, seed: int) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """What the real store holds when registry and records came in a random order of partitions and batches.

    Corrections are worked off now and then, in pages of a few lines, and to the end at last.
    """
    database = Database(url, timeout_s=30)
    try:
        return await stored_by(database, given, Random(seed))
    finally:
        await database.close()


async def stored_by(database: Database, given: History, rng: Random) -> tuple[dict[Any, Any], dict[Any, Any]]:
    registry = Registry(table_zones())
    states = {s.place: s for s in map(told, given.registry) if isinstance(s, State)}
    raw = {
        Place(r.source, r.partition, r.offset): Record(Place(r.source, r.partition, r.offset), r.received_at, r.value)
        for r in given.records
    }
    async with database.transaction() as connection:
        names = {place.source for place in (*states, *raw)}
        sources = {name: await open_source(connection, name, first_seen=first_seen(name)) for name in sorted(names)}
    partitions: dict[tuple[str, int], list[Record]] = {}
    for place in sorted(raw):
        partitions.setdefault((place.source, place.partition), []).append(raw[place])
    async with database.transaction() as connection:
        for (name, partition), records in partitions.items():
            await begin_partition(connection, sources[name], partition, records[0].place.offset)
    telling = rng.sample(sorted(states.values(), key=lambda s: s.place), k=len(states))
    newest = Newest()
    late = rng.random()  # how much of the registry comes behind the readings
    while partitions or telling:
        if telling and (not partitions or rng.random() > late):
            count = rng.randint(1, 5)
            async with database.transaction() as connection:
                await add_states(connection, telling[:count], sources)
            telling = telling[count:]
        if rng.random() < 0.2:
            await correct(database=database, registry=registry, law=LAW, page=rng.randint(1, 7))
        taken = rng.sample(sorted(partitions), k=rng.randint(min(1, len(partitions)), len(partitions)))
        batch, moves = [], []
        for key in taken:
            records = partitions[key][: rng.randint(1, 6)]
            partitions[key] = partitions[key][len(records) :]
            nxt = partitions[key][0].place.offset if partitions[key] else records[-1].place.offset + 1
            moves.append(Move(sources[key[0]], key[1], records[0].place.offset, nxt))
            batch += records
            if not partitions[key]:
                del partitions[key]
        if batch:
            given_now, named = Batch(batch, moves, sources), {"database": database, "registry": registry, "law": LAW}
            try:
                await store(given_now, newest=newest, **named)
            except CollisionError:  # a correction has brought up a reading as new as that
                await store(given_now, newest=newest, **named)
    while await correct(database=database, registry=registry, law=LAW, page=rng.randint(1, 7)):
        pass
    readings = await rows(database, "readings", READING_COLUMNS, sources.values())
    rejections = await rows(database, "rejections", REJECTION_COLUMNS, sources.values())
    return readings, rejections


async def rows(database: Database, table: str, columns: Sequence[str], sources: Any) -> dict[Any, dict[str, Any]]:
    names = {source.source_id: source.name for source in sources}
    found = {}
    for row in await database.fetch(f"SELECT {', '.join(columns)} FROM {table}"):
        values = {name: in_utc(value) for name, value in row.items()}
        found[names[values.pop("source_id")], values.pop("source_partition"), values.pop("source_offset")] = values
    return found


def in_utc(value: Any) -> Any:
    """asyncpg gives ±infinity, which stands for the edges of time, without a zone."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def expected(lines: dict[Any, dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    """The oracle's lines as the tables write them: nothing named is null."""
    return {
        tuple(place): {
            name: value or None if name == "identifiers_named" else value
            for name, value in line.items()
            if not name.startswith("source_")
        }
        for place, line in lines.items()
    }


@pytest.mark.parametrize("seed", range(FIRST, FIRST + HISTORIES))
async def test_the_store_holds_what_the_oracle_says(migrated: str, seed: int) -> None:
    """Whatever the order of partitions and the size of batches: every row, every column. The seed names the history."""
    given = history(seed)
    said = by_oracle(given)
    readings, rejections = await stored(migrated, given, seed)
    of_files = ("archive:cc", "archive:dd")  # the registry's own records, which are not given here
    refused = {
        place: line
        for place, line in said.rejections.items()
        if "registry" not in place[0] and place[0] not in of_files
    }
    unlike = differences("readings", readings, expected(said.readings))
    unlike += differences("rejections", rejections, expected(refused))
    unlike += [
        f"payload of {place}"
        for place, value in said.payloads.items()
        if place in refused and rejections[place]["payload"] != (value or b"")
    ]
    assert not unlike, "\n".join([f"history {seed}", *unlike])


def differences(table: str, is_there: dict[Any, dict[str, Any]], should_be: dict[Any, dict[str, Any]]) -> list[str]:
    """Every row and column that differs; the oracle says nothing of detail and payload."""
    lines = [
        f"{table} {place} {'lacking' if place in should_be else 'too many'}"
        for place in sorted(is_there.keys() ^ should_be.keys())
    ]
    for place in sorted(is_there.keys() & should_be.keys()):
        row, line = is_there[place], should_be[place]
        names = (row.keys() | line.keys()) - {"detail", "payload"}
        lines += [
            f"{table} {place} {name}: {row.get(name)!r} should be {line.get(name)!r}"
            for name in sorted(names)
            if row.get(name) != line.get(name)
        ]
    return lines
