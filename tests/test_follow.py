"""The loop of every source: while one batch is stored the next is taken and judged, and neither loses its turn."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import ingest.kafka
from ingest.batch import Batch
from ingest.follow import follow
from ingest.kafka import KafkaSource
from ingest.patience import Patience
from ingest.settings import Settings
from ingest.stop_line import StopLineError
from sinks.database import Database
from sinks.errors import AwayError, PositionMovedError
from tests.conftest import Broker, MakeTopics, Produce

WITHIN_S = 20


class Source:
    """Gives batches one after the other, and begins again where it is told to."""

    def __init__(self, batches: int) -> None:
        self.batches = [Batch([], [], {}) for _ in range(batches)]
        self.at = 0
        self.done: list[Any] = []
        self.away: set[bool] = set()
        """How it cannot be asked once: ahead, or not."""

    async def take(self, *, ahead_until: asyncio.Event | None = None) -> Batch | None:
        ahead = ahead_until is not None
        if ahead in self.away:
            self.away.remove(ahead)
            raise AwayError("no broker")
        if self.at == len(self.batches):
            await asyncio.sleep(0.01)
            return None
        self.at += 1
        self.done.append(("taken", self.at - 1))
        return self.batches[self.at - 1]

    def number(self, batch: Batch) -> int:
        return next(number for number, one in enumerate(self.batches) if one is batch)

    def stored(self, batch: Batch) -> None:
        self.done.append(("stored", self.number(batch)))

    def reposition(self) -> None:
        self.done.append("repositioned")
        self.at = sum(1 for one in self.done if one[0] == "stored")


async def followed(source: Source, storing: Callable[[int, asyncio.Event], Any], **named: Any) -> list[Any]:
    """What was done until all was stored or told to stop."""
    stop = asyncio.Event()

    async def store_batch(batch: Batch) -> None:
        await storing(source.number(batch), stop)

    async def prepare(batch: Batch) -> None:
        await asyncio.sleep(0)
        source.done.append(("prepared", source.number(batch)))

    async def until_all_is_stored() -> None:
        while ("stored", len(source.batches) - 1) not in source.done and not stop.is_set():
            await asyncio.sleep(0.005)
        stop.set()

    named = {"patiently": Patience(), "stand_still": lambda _: None, "prepare": prepare} | named
    async with asyncio.timeout(WITHIN_S):
        await asyncio.gather(follow(source, store_batch, stop=stop, **named), until_all_is_stored())
    return source.done


async def until(source: Source, what: tuple[str, int]) -> None:
    while what not in source.done:
        await asyncio.sleep(0.001)


async def test_the_next_batch_is_prepared_while_one_is_stored() -> None:
    source = Source(4)

    async def storing(number: int, _: asyncio.Event) -> None:
        if number < 3:
            await until(source, ("prepared", number + 1))  # else this never ends

    done = await followed(source, storing)
    assert [what for what in done if what[0] == "stored"] == [("stored", number) for number in range(4)]
    assert done.index(("prepared", 1)) < done.index(("stored", 0)) < done.index(("taken", 2))


async def test_what_was_taken_ahead_is_dropped_where_the_position_has_moved() -> None:
    source, moved = Source(3), [True]

    async def storing(number: int, _: asyncio.Event) -> None:
        if number == 1 and moved:
            await until(source, ("prepared", 2))
            moved.clear()
            raise PositionMovedError("another owner was first")

    done = await followed(source, storing)
    again = done[done.index("repositioned") :]
    for what in ("taken", "stored"):
        assert [one for one in again if one[0] == what] == [(what, 1), (what, 2)]


async def test_a_line_that_stands_still_takes_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.follow._LOOK_AGAIN_EVERY_S", 0.05)
    source, told = Source(3), list[StopLineError]()

    async def storing(number: int, _: asyncio.Event) -> None:
        if number == 1 and not told:
            await until(source, ("prepared", 2))
            raise StopLineError("a bad deployment")

    def stand_still(error: StopLineError) -> None:
        told.append(error)
        source.done.append("standing still")

    done = await followed(source, storing, stand_still=stand_still)
    at = done.index("standing still")
    assert done[at + 1 : at + 3] == ["repositioned", ("taken", 1)]
    assert len(told) == 1


async def test_told_to_stop_the_batch_in_hand_is_finished_and_the_next_is_not_begun() -> None:
    source = Source(5)

    async def storing(number: int, stop: asyncio.Event) -> None:
        if number == 1:
            await until(source, ("prepared", 2))
            stop.set()
            await asyncio.sleep(0.02)

    done = await followed(source, storing)
    assert [one for one in done if one[0] == "stored"] == [("stored", 0), ("stored", 1)]


@pytest.mark.parametrize("ahead", [True, False])
async def test_an_outage_is_waited_for_by_who_has_the_patience(ahead: bool) -> None:
    source, told = Source(3), list[str | None]()
    source.away = {True, False} if ahead else {False}

    async def storing(_: int, __: asyncio.Event) -> None:
        await asyncio.sleep(0.005)

    done = await followed(source, storing, patiently=Patience(told.append))
    assert [one for one in done if one[0] == "stored"] == [("stored", number) for number in range(3)]
    assert told.count("no broker") == 1


@pytest.mark.parametrize("where", ["stored", "prepared"])
async def test_what_is_our_own_fault_ends_it(where: str) -> None:
    source = Source(3)

    async def wrong(*_: Any) -> None:
        raise ZeroDivisionError

    async def right(*_: Any) -> None:
        await asyncio.sleep(0)

    with pytest.raises(ZeroDivisionError):
        await followed(source, wrong if where == "stored" else right, prepare=wrong if where == "prepared" else right)
    assert len(asyncio.all_tasks()) <= 2, "ours, and who waits for all to be stored"


# --- the source ------------------------------------------------------------------------------------------------------


async def test_ahead_nothing_is_asked_of_the_database(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce
) -> None:
    """Its connection is at work for the batch that is being stored."""
    (raw,) = await make_topics(raw=1)
    await produce(raw, [(b"k", b"v", 0)] * 25)
    settings = Settings(database_url=migrated, kafka_bootstrap_servers=broker.bootstrap, batch_records=10)
    database = Asked(migrated, timeout_s=30)
    source = KafkaSource(settings, database, [raw], group_id=raw, holds="readings")
    await source.start()
    try:
        assert (await source.take(ahead_until=asyncio.Event()), database.asked) == (None, 0)
        first = None
        while first is None:
            first = await source.take()
        asked = database.asked
        second = await source.take(ahead_until=asyncio.Event())
        assert second is not None
        stored = asyncio.Event()
        coming = asyncio.create_task(source.take(ahead_until=stored))
        await asyncio.sleep(4 * settings.batch_age_ms / 1000)
        assert not coming.done(), "it is not full, and need not be while the one before is stored"
        stored.set()
        assert await coming is None
        third = await source.take()
        assert third is not None
        batches = (first, second, third)
        assert [record.place.offset for batch in batches for record in batch.records] == list(range(25))
        source.forget()  # a rebalance
        assert (await source.take(ahead_until=asyncio.Event()), database.asked) == (None, asked)
    finally:
        await source.stop()
        await database.close()


async def test_ahead_a_little_is_taken_at_a_time_and_a_rebalance_between_forgets_it(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stores has a turn after each little; what was taken before partitions were given up is taken again."""
    monkeypatch.setattr(ingest.kafka, "_AHEAD_AT_ONCE", 10)
    (raw,) = await make_topics(raw=1)
    await produce(raw, [(b"k", b"v", 0)] * 400)
    settings = Settings(database_url=migrated, kafka_bootstrap_servers=broker.bootstrap, batch_records=100)
    database = Database(migrated, timeout_s=30)
    source = KafkaSource(settings, database, [raw], group_id=raw, holds="readings")

    async def begun() -> Batch:
        while True:
            if (batch := await source.take()) is not None:
                return batch

    def held() -> int:
        return len(source._pending.records)

    await source.start()
    try:
        assert [record.place.offset for record in (await begun()).records] == list(range(100))
        coming, seen = asyncio.create_task(source.take(ahead_until=asyncio.Event())), list[int]()
        while not coming.done():
            await asyncio.sleep(0)
            seen.append(held())
        second = await coming
        assert second is not None
        assert set(range(10, 100, 10)) <= set(seen)
        assert [record.place.offset for record in second.records] == list(range(100, 200))
        coming = asyncio.create_task(source.take(ahead_until=asyncio.Event()))
        while held() < 50:
            await asyncio.sleep(0)
        source.forget()
        assert await coming is None, "the database has to be asked where it stands"
        again = await begun()
        assert [record.place.offset for record in again.records] == list(range(100))
    finally:
        await source.stop()
        await database.close()


class Asked(Database):
    """How often it was asked."""

    asked = 0

    def transaction(self, **how: Any) -> Any:
        self.asked += 1
        return super().transaction(**how)
