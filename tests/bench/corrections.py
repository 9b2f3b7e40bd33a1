"""What late news cost: a decommission that touches 10,000 readings, states that touch none, and live batches meanwhile.

One PostgreSQL with the durability of its defaults and 300,000 readings: 10,000 of device 1, 200,000 of device 2, the
rest of 900 others. Live batches of 100 readings are stored with no pause while the 200,000 are worked off: in the same
process, as `readings consume` does it, and by another replica; with registry changes coming in all the while.
"""

import argparse
import asyncio
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import psutil

import sinks.registry
from enrich.law import Law
from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.batch import Batch
from ingest.correct import PAGE, correct
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.law_parameters import adopt_parameters, parameters
from ingest.patience import patiently
from ingest.store import store
from schemas.record import Place, Record
from schemas.states import About, State, understand_state
from sinks.corrections import pending_corrections
from sinks.database import Database
from sinks.ledger import Move, Source, begin_partition, open_source
from sinks.migrate import migrate
from sinks.registry import add_states

LAW = Law()
SOURCE, REGISTRY = "kafka:readings.raw", "kafka:registry.devices"
LIVE = 100
OTHERS = range(1_000, 1_900)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
TIMEOUT_S = 600


@dataclass
class Spent:
    """Wall-clock and processor seconds: ours, and those of the database with all that work for it."""

    seconds: float = 0.0
    ours_s: float = 0.0
    database_s: float = 0.0


@dataclass
class Waits:
    """Of live batches, in milliseconds."""

    batches: int
    median_ms: float
    longest_ms: float
    registry_change_longest_ms: float
    correction_s: float = 0.0


@dataclass
class Found:
    late_decommission_of_10_000: Spent = field(default_factory=Spent)
    taken_back_again: Spent = field(default_factory=Spent)
    states_without_rows: Spent = field(default_factory=Spent)
    of_which_queueing_s: float = 0.0
    longest_registry_batch_s: float = 0.0
    learning_them_all_at_once: Spent = field(default_factory=Spent)
    live_alone: Waits | None = None
    live_beside_correction: Waits | None = None
    live_beside_another_replica: Waits | None = None


def processor_s(pid: int | None) -> float:
    """Processor seconds of a server and all that ever worked for it."""
    server = psutil.Process(pid)
    spent = server.cpu_times()
    total = spent.user + spent.system + spent.children_user + spent.children_system
    for child in server.children(recursive=True):
        try:
            own = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += own.user + own.system
    return total


@contextmanager
def measured(spent: Spent, server: EmbeddedPostgres) -> Iterator[None]:
    began, ours, theirs = time.perf_counter(), time.process_time(), processor_s(server.pid)
    yield
    spent.seconds = round(time.perf_counter() - began, 2)
    spent.ours_s = round(time.process_time() - ours, 2)
    spent.database_s = round(processor_s(server.pid) - theirs, 2)


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


async def live(clinic: Clinic, until: Callable[[], bool]) -> Waits:
    """Store batches with no pause, and tell of a device that has no readings twice a second, until told to stop."""
    took: list[float] = []
    told: list[float] = []
    done = asyncio.Event()

    async def changes() -> None:
        while not done.is_set():
            began = time.perf_counter()
            await clinic.tell(clinic.state(5_000, note=str(began)))
            told.append(time.perf_counter() - began)
            await asyncio.sleep(0.5)

    telling = asyncio.ensure_future(changes())
    while not until():
        began = time.perf_counter()
        await clinic.give([OTHERS[n % len(OTHERS)] for n in range(LIVE)])
        took.append(time.perf_counter() - began)
    done.set()
    await telling
    return Waits(len(took), round(median(took) * 1000, 1), round(max(took) * 1000, 1), round(max(told) * 1000, 1))


async def run(server: EmbeddedPostgres, *, readings: int, states: int) -> Found:
    setup = Database(server.url, timeout_s=TIMEOUT_S)
    await migrate(setup)
    await adopt_parameters(setup, parameters(LAW, table_zones()))
    clinic, found = Clinic(server.url), Found()
    await clinic.open()
    await fill(clinic, readings=readings)
    await setup.fetch("ANALYZE readings")

    corrections = Database(server.url, timeout_s=TIMEOUT_S)
    for status, spent in (("decommissioned", found.late_decommission_of_10_000), ("lost", found.taken_back_again)):
        since = (BEGAN - timedelta(seconds=1)).isoformat()
        recorded = (BEGAN + timedelta(seconds=clinic.state_offset)).isoformat()
        await clinic.tell(clinic.state(1, currentStatus=status, effectiveAt=since, recordedAt=recorded))
        with measured(spent, server):
            await work_off(corrections, clinic.registry)
    refused = await setup.fetch("SELECT count(*) FROM rejections")
    assert refused[0][0] == 0, "all were released again"

    queue_states, queue_identifiers = sinks.registry.queue_states, sinks.registry.queue_identifiers

    def timed(queue: Callable[..., Any]) -> Callable[..., Any]:
        async def queueing(*arguments: Any) -> None:
            began = time.perf_counter()
            await queue(*arguments)
            found.of_which_queueing_s += time.perf_counter() - began

        return queueing

    sinks.registry.queue_states, sinks.registry.queue_identifiers = timed(queue_states), timed(queue_identifiers)
    try:
        with measured(found.states_without_rows, server):
            for first in range(0, states, 5_000):
                began = time.perf_counter()
                count = min(5_000, states - first)
                await clinic.tell(
                    *(
                        clinic.state(
                            10_000 + n,
                            currentStatus="withPatient",
                            patientId=10_000 + n,
                            customerId=1,
                            deviceIdentifiers=[{"type": "serial", "value": f"S{n:07}"}],
                        )
                        for n in range(first, first + count)
                    )
                )
                found.longest_registry_batch_s = max(found.longest_registry_batch_s, time.perf_counter() - began)
    finally:
        sinks.registry.queue_states, sinks.registry.queue_identifiers = queue_states, queue_identifiers
    found.of_which_queueing_s = round(found.of_which_queueing_s, 2)
    found.longest_registry_batch_s = round(found.longest_registry_batch_s, 2)
    assert await clinic.left() == 0
    with measured(found.learning_them_all_at_once, server):  # what a live batch would wait for that came first
        await correct(database=corrections, registry=clinic.registry, law=LAW)

    ends = time.perf_counter() + 5
    found.live_alone = await live(clinic, lambda: time.perf_counter() > ends)
    for elsewhere, status in ((False, "decommissioned"), (True, "lost")):
        since = (BEGAN - timedelta(seconds=1)).isoformat()
        recorded = (BEGAN + timedelta(seconds=clinic.state_offset)).isoformat()
        await clinic.tell(clinic.state(2, currentStatus=status, effectiveAt=since, recordedAt=recorded))
        began = time.perf_counter()
        if elsewhere:
            replica = multiprocessing.get_context("spawn").Process(target=another_replica, args=(server.url,))
            replica.start()
            working = asyncio.ensure_future(asyncio.to_thread(replica.join))
            found.live_beside_another_replica = waits = await live(clinic, working.done)
            assert replica.exitcode == 0
        else:
            working = asyncio.ensure_future(work_off(corrections, clinic.registry))
            found.live_beside_correction = waits = await live(clinic, working.done)
        await working
        waits.correction_s = round(time.perf_counter() - began, 1)
        assert await clinic.left() == 0
    for database in (setup, corrections, clinic):
        await database.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.corrections", description=__doc__.partition("\n")[0])
    parser.add_argument("--readings", type=int, default=300_000)
    parser.add_argument("--states", type=int, default=50_000)
    asked = parser.parse_args()
    with EmbeddedPostgres() as server:
        found = asyncio.run(run(server, readings=asked.readings, states=asked.states))
    print(json.dumps(asdict(found), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
