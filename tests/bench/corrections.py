"""What late news cost: a decommission that touches 10,000 readings, states that touch none, and live batches meanwhile.

300,000 readings: 10,000 of device 1, 200,000 of device 2, the rest of 900 others. Live batches of 100 readings are stored
with no pause while corrections are worked off: in the same process, as `readings consume` does it, and the large one by
another replica too; with registry changes coming in all the while.
"""

import asyncio
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import sinks.registry
from enrich.law import Law
from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.batch import Batch
from ingest.correct import PAGE, correct
from ingest.patience import patiently
from ingest.store import store
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import About, State
from sinks.corrections import pending_corrections
from sinks.database import Database
from sinks.ledger import Move, Source, begin_partition, open_source
from sinks.registry import add_states
from tests.bench.found import Found, Row
from tests.bench.machine import processor_s, spent
from tests.bench.parts import TIMEOUT_S, Parts
from tests.bench.run import Asked, run

LAW = Law()
SOURCE, REGISTRY = "kafka:readings.raw", "kafka:registry.devices"
LIVE = 100
OTHERS = range(1_000, 1_900)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
FILLED, STATES = 300_000, 50_000


@contextmanager
def timed(rows: list[Row], what: str, parts: Parts) -> Iterator[None]:
    """Wall-clock and processor seconds: ours, and those of the database with all that work for it."""
    began, ours, theirs = time.perf_counter(), time.process_time(), processor_s(parts.database_pid)
    yield
    seconds, ours_s = time.perf_counter() - began, time.process_time() - ours
    database_s = spent(processor_s(parts.database_pid), theirs)
    rows.append({
        "": what,
        "seconds": round(seconds, 2),
        "ours_s": round(ours_s, 2),
        "database_s": database_s and round(database_s, 2),
    })  # fmt: skip


class Clinic:
    """One replica with its sources and positions."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url, timeout_s=TIMEOUT_S)
        self.feed = Database(url, timeout_s=TIMEOUT_S)
        self.registry = Registry(table_zones())
        self.sources: dict[str, Source] = {}
        self.offset = self.state_offset = 0

    async def open(self) -> None:
        async with self.database.transaction() as connection:
            self.sources[SOURCE] = await open_source(connection, SOURCE, first_seen=BEGAN)
            self.sources[REGISTRY] = await open_source(connection, REGISTRY, first_seen=BEGAN, holds="registry")
            await begin_partition(connection, self.sources[SOURCE], 0, 0)

    async def give(self, devices: list[int]) -> None:
        """One reading of each of these, a second apart, as one batch."""
        records = []
        for n, device in enumerate(devices, start=self.offset):
            moment = BEGAN + timedelta(seconds=n)
            payload = {"readingTimestamp": moment.isoformat(), "deviceId": device, "systolic": 120, "diastolic": n % 90}
            value = json.dumps({"type": "reading.bloodPressure", "payload": payload}).encode()
            records.append(Record(Place(SOURCE, 0, n), moment, value))
        move = Move(self.sources[SOURCE], 0, self.offset, self.offset + len(records))
        batch = Batch(records, [move], self.sources)
        await patiently(lambda: store(batch, database=self.database, registry=self.registry, law=LAW))
        self.offset += len(records)

    def state(self, device: int, **says: Any) -> State:
        record = Record(Place(REGISTRY, 0, self.state_offset), BEGAN, json.dumps({"deviceId": device, **says}).encode())
        self.state_offset += 1
        state = understand_state(
            About.DEVICE,
            record,
            told_at=BEGAN,
            from_file=False,
            max_bytes=LAW.max_bytes,
            max_depth=LAW.max_depth,
        )
        assert isinstance(state, State), state
        return state

    async def tell(self, *states: State) -> None:
        async with self.feed.transaction() as connection:
            await add_states(connection, states, self.sources)

    async def left(self) -> int:
        async with self.feed.transaction() as connection:
            return await pending_corrections(connection)

    async def close(self) -> None:
        await self.database.close()
        await self.feed.close()


async def work_off(database: Database, registry: Registry) -> None:
    """All that is pending, as a consumer does it."""
    while True:
        async with database.transaction() as connection:
            if not await pending_corrections(connection):
                return
        await patiently(lambda: correct(database=database, registry=registry, law=LAW, page=PAGE))


def another_replica(url: str) -> None:
    async def work() -> None:
        database = Database(url, timeout_s=TIMEOUT_S)
        await work_off(database, Registry(table_zones()))
        await database.close()

    asyncio.run(work())


async def fill(clinic: Clinic, *, readings: int) -> None:
    """Device 1 has one in thirty of the readings, device 2 twenty, others the rest."""
    await clinic.tell(*(clinic.state(device, patientId=device, customerId=1) for device in (1, 2, *OTHERS)))
    turn = [1] + [2] * 20
    given = 0
    while given < readings:
        devices = []
        for n in range(given, min(given + 4_980, readings)):
            place = n % 30
            devices.append(turn[place] if place < len(turn) else OTHERS[n % len(OTHERS)])
        await clinic.give(devices)
        given += len(devices)


async def live(clinic: Clinic, what: str, until: Callable[[], bool]) -> Row:
    """Store batches with no pause, and tell of a device that has no readings twice a second, until told to stop."""
    took: list[float] = []
    told: list[float] = []
    done, began = asyncio.Event(), time.perf_counter()

    async def changes() -> None:
        while not done.is_set():
            telling = time.perf_counter()
            await clinic.tell(clinic.state(5_000, note=str(telling)))
            told.append(time.perf_counter() - telling)
            await asyncio.sleep(0.5)

    telling = asyncio.ensure_future(changes())
    while not took or not until():
        storing = time.perf_counter()
        await clinic.give([OTHERS[n % len(OTHERS)] for n in range(LIVE)])
        took.append(time.perf_counter() - storing)
    seconds = time.perf_counter() - began
    done.set()
    await telling
    return {
        "live batches": what,
        "seconds": round(seconds, 1),
        "batches": len(took),
        "median_ms": round(median(took) * 1000, 1),
        "longest_ms": round(max(took) * 1000, 1),
        "longest registry change ms": round(max(told) * 1000, 1),
    }


async def late_news(clinic: Clinic, device: int, status: str) -> None:
    """The device has been in this status since before its first reading."""
    since = (BEGAN - timedelta(seconds=1)).isoformat()
    recorded = (BEGAN + timedelta(seconds=clinic.state_offset)).isoformat()
    await clinic.tell(clinic.state(device, currentStatus=status, effectiveAt=since, recordedAt=recorded))


async def tell_of_many(clinic: Clinic, states: int) -> Row:
    """Devices without readings: how long a batch of such states takes, and what of it is looking for what it touches."""
    longest, queueing_s = 0.0, 0.0
    queue_states, queue_identifiers = sinks.registry.queue_states, sinks.registry.queue_identifiers

    def watched(queue: Callable[..., Any]) -> Callable[..., Any]:
        async def queueing(*arguments: Any) -> None:
            nonlocal queueing_s
            began = time.perf_counter()
            await queue(*arguments)
            queueing_s += time.perf_counter() - began

        return queueing

    sinks.registry.queue_states, sinks.registry.queue_identifiers = watched(queue_states), watched(queue_identifiers)
    try:
        for first in range(0, states, 5_000):
            began = time.perf_counter()
            await clinic.tell(
                *(
                    clinic.state(
                        10_000 + n,
                        currentStatus="withPatient",
                        patientId=10_000 + n,
                        customerId=1,
                        deviceIdentifiers=[{"type": "serial", "value": f"S{n:07}"}],
                    )
                    for n in range(first, min(first + 5_000, states))
                )
            )
            longest = max(longest, time.perf_counter() - began)
    finally:
        sinks.registry.queue_states, sinks.registry.queue_identifiers = queue_states, queue_identifiers
    return {"states": states, "longest batch s": round(longest, 2), "of it all, queueing s": round(queueing_s, 2)}


async def measured(parts: Parts, asked: Asked) -> Found:
    """Once: it takes its time, and its figures are of many batches each."""
    async with parts.database() as url:
        return await _measured(parts, url, filled=min(FILLED, asked.readings * 3), states=min(STATES, asked.readings))


async def _measured(parts: Parts, url: str, *, filled: int, states: int) -> Found:
    setup, clinic = Database(url, timeout_s=TIMEOUT_S), Clinic(url)
    corrections = Database(url, timeout_s=TIMEOUT_S)
    costs: list[Row] = []
    try:
        await clinic.open()
        await fill(clinic, readings=filled)
        await setup.fetch("ANALYZE readings")
        for what, status in (("decommissioned late", "decommissioned"), ("taken back", "lost")):
            await late_news(clinic, 1, status)
            with timed(costs, f"{what}: {filled // 30:,} readings", parts):
                await work_off(corrections, clinic.registry)
        [[refused]] = await setup.fetch("SELECT count(*) FROM rejections")
        assert refused == 0, "all were released again"
        with timed(costs, f"{states:,} states that touch nothing", parts):
            told = await tell_of_many(clinic, states)
        assert await clinic.left() == 0
        with timed(costs, "a correction that has nothing to do notices them", parts):
            await correct(database=corrections, registry=clinic.registry, law=LAW)

        ends = time.perf_counter() + 5
        waits = [await live(clinic, "alone", lambda: time.perf_counter() > ends)]
        for device, status, share in ((1, "decommissioned", 1), (2, "decommissioned", 20)):
            await late_news(clinic, device, status)
            working = asyncio.ensure_future(work_off(corrections, clinic.registry))
            waits.append(await live(clinic, f"beside a correction of {filled // 30 * share:,}", working.done))
            await working
            assert await clinic.left() == 0
        await late_news(clinic, 2, "lost")
        replica = multiprocessing.get_context("spawn").Process(target=another_replica, args=(url,))
        replica.start()
        working = asyncio.ensure_future(asyncio.to_thread(replica.join))
        waits.append(await live(clinic, "beside another replica's of the same", working.done))
        await working
        assert replica.exitcode == 0
        assert await clinic.left() == 0
    finally:
        for database in (setup, corrections, clinic):
            await database.close()
    return Found({"corrections": costs, "states": [told], "live batches meanwhile": waits})


if __name__ == "__main__":
    sys.exit(run("corrections", __doc__, measured))
