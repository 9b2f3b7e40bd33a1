"""A store as the product fills it: registry and readings at their places, positions, gaps, corrections worked off."""

from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import pairwise
from random import Random

from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.batch import Batch
from ingest.correct import correct
from ingest.registry_feed import store_states
from ingest.store import store
from schemas.envelope import NotUnderstood
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import About, State
from sinks.database import Database
from sinks.ledger import Gap, Move, Source, begin_partition, open_source
from tests import histories
from tests.build import LAW, NEW_YEAR

DEVICES, PATIENTS, RAW = "kafka:registry.devices", "kafka:registry.patients", "kafka:readings.raw"
REGISTRY, READINGS = "registry", "readings"


def topic_state(record: Record) -> State | NotUnderstood:
    """What a record of one of the registry topics tells."""
    about = About.DEVICE if record.place.source == DEVICES else About.PATIENT
    return understand_state(about, record, told_at=record.received_at or NEW_YEAR, from_file=False, max_bytes=LAW.max_bytes, max_depth=LAW.max_depth)  # fmt: skip


async def fill(
    url: str,
    registry: Iterable[Record],
    readings: Iterable[Record],
    *,
    understand: Callable[[Record], State | NotUnderstood] = topic_state,
    first_seen: Callable[[str], datetime] = lambda _source: NEW_YEAR,
    late: bool = False,
    interleaved: Random | None = None,
    corrected: bool = True,
) -> None:
    """Store them, each partition from its first offset on, what lies between as a gap.

    :param late: the registry behind the readings, so that corrections mend all.
    :param interleaved: partitions in turns, a few records at a time, corrections now and then.
    :param corrected: work the corrections off at the end.
    """
    database, known = Database(url, timeout_s=30), Registry(table_zones())
    sources: dict[str, Source] = {}
    queues = [
        *await _batches(database, registry, REGISTRY, sources, first_seen, interleaved),
        *await _batches(database, readings, READINGS, sources, first_seen, interleaved),
    ]
    if late:
        queues.reverse()
    while queues:
        holds, batches = interleaved.choice(queues) if interleaved else queues[0]
        batch = batches.pop(0)
        if holds == REGISTRY:
            await store_states(batch, understand, database=database)
        else:
            await store(batch, database=database, registry=known, law=LAW)
        if interleaved and interleaved.random() < 0.3:
            await correct(database=database, registry=known, law=LAW, page=interleaved.randint(1, 7))
        queues = [queue for queue in queues if queue[1]]
    while corrected and await correct(database=database, registry=known, law=LAW):
        pass
    await database.close()


async def fill_with(
    url: str, given: histories.History, *, late: bool = False, interleaved: Random | None = None
) -> None:
    """A history of small worlds, the registry's files included."""
    told = {Place(*record.place): record for record in given.registry}

    def understand(record: Record) -> State | NotUnderstood:
        one = told[record.place]
        return understand_state(About(one.kind), record, told_at=one.timestamp, from_file=one.from_file, max_bytes=LAW.max_bytes, max_depth=LAW.max_depth)  # fmt: skip

    registry = [Record(place, one.timestamp, one.value) for place, one in told.items()]
    readings = [Record(Place(*one.place), one.received_at, one.value) for one in given.records]
    await fill(url, registry, readings, understand=understand, first_seen=histories.first_seen, late=late, interleaved=interleaved)  # fmt: skip


async def _batches(
    database: Database,
    records: Iterable[Record],
    holds: str,
    sources: dict[str, Source],
    first_seen: Callable[[str], datetime],
    interleaved: Random | None,
) -> list[tuple[str, list[Batch]]]:
    """For each partition what it holds, in one batch or in a few."""
    partitions: dict[tuple[str, int], dict[Place, Record]] = {}
    for record in sorted(records, key=lambda record: record.place):
        partitions.setdefault(record.place[:2], {}).setdefault(record.place, record)
    queues = []
    for (name, partition), given in partitions.items():
        places = list(given)
        async with database.transaction() as connection:
            sources[name] = await open_source(connection, name, first_seen=first_seen(name), holds=holds)
            await begin_partition(connection, sources[name], partition, places[0].offset)
        batches = []
        while places:
            most = interleaved.randint(1, 6) if interleaved else len(places)
            now, places = places[:most], places[most:]
            end = [places[0].offset] if places else []
            offsets = [place.offset for place in now] + end
            gaps = [Gap(a + 1, b, "skipped") for a, b in pairwise(offsets) if b > a + 1]
            move = Move(sources[name], partition, now[0].offset, end[0] if end else now[-1].offset + 1, gaps)
            batches.append(Batch([given[place] for place in now], [move], sources))
        queues.append((holds, batches))
    return queues
