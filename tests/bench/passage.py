"""Readings that wait in the broker pass into the database, and what that costs once all is under way.

Whoever is to store them is started first and held back by a lock on `readings`; when each has a batch at the database's
door, the lock is let go. What it takes to start is so told apart from what a reading takes.
"""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg
import psutil

from tests.bench.machine import processor_s, spent
from tests.bench.parts import TIMEOUT_S, Parts
from tests.service import Process, readings

START_WITHIN_S = 300
_LOOK_EVERY_S = 0.04
_UNDER_WAY = 0.1
"""Measured from this share of the readings on: by then what was judged while the lock was held is stored."""
_TAKEN = """
SELECT coalesce(sum(taken), 0)::bigint AS of_all, coalesce(count(*) * min(taken), 0)::bigint AS evenly
FROM (
    SELECT p.next_offset - p.first_offset AS taken FROM source_positions p JOIN sources s USING (source_id)
    WHERE s.source = $1
) AS partitions
"""
"""Of all partitions; and as many as there would be if each were as far as the slowest is."""
_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND wait_event_type = 'Lock'
"""


@dataclass(frozen=True)
class Passage:
    """What it took; of processor time, µs a reading, which are seconds a million."""

    start_s: float
    """Until the last process stood at the database's door with its first batch."""
    start_rss_mb: float
    """Of the largest process at that moment; a MB is 2**20 bytes."""
    per_s: float
    process_us: float
    """Of all processes that store together."""
    warming_up_us: float
    """The same of the readings before, to which whatever is learnt on the way belongs."""
    database_us: float | None
    broker_us: float | None
    peak_rss_mb: float
    """Of the largest process, to the end."""


def environment(parts: Parts, url: str, topic: str, *, devices: str, patients: str) -> dict[str, str]:
    """Of a consumer in a group that is new; with its defaults, but for what READINGS_* of this process says."""
    return {
        **os.environ,
        "READINGS_DATABASE_URL": url,
        "READINGS_DATABASE_TIMEOUT_S": str(TIMEOUT_S),
        "READINGS_KAFKA_BOOTSTRAP_SERVERS": parts.bootstrap,
        "READINGS_KAFKA_GROUP_ID": f"bench-{secrets.token_hex(6)}",
        "READINGS_KAFKA_SESSION_TIMEOUT_S": "2",  # the embedded broker lets a member wait for half of it
        "READINGS_RAW_TOPIC": topic,
        "READINGS_DEVICES_TOPIC": devices,
        "READINGS_PATIENTS_TOPIC": patients,
    }


async def consumed(
    parts: Parts, url: str, topic: str, *, count: int, consumers: int = 1, warming_up: int | None = None
) -> Passage:
    """By so many `readings consume` with the registry that the database holds; each reading is there once."""
    before = sum(await stands(url))
    async with parts.topics(devices=1, patients=1) as (devices, patients):
        env = environment(parts, url, topic, devices=devices, patients=patients)
        services = [readings("consume", env=env) for _ in range(consumers)]
        found = await passage(parts, url, topic, services, count=count, warming_up=warming_up)
    stood = sum(await stands(url)) - before
    assert stood == count, f"{stood} of {count} are stored or set aside"
    return found


async def stands(url: str) -> tuple[int, int]:
    """Rows in `readings` and in `rejections`."""
    connection = await asyncpg.connect(url, command_timeout=TIMEOUT_S)
    try:
        return tuple(
            await connection.fetchrow("SELECT (SELECT count(*) FROM readings), (SELECT count(*) FROM rejections)")
        )
    finally:
        await connection.close()


async def passage(
    parts: Parts, url: str, topic: str, services: Sequence[Process], *, count: int, warming_up: int | None = None
) -> Passage:
    """Of `count` readings of the topic, by services that are started here and told to end when all is stored.

    Steady state: from the moment when each partition's share of the first `warming_up`, or of a tenth, is stored to that
    when all is. Where that is as many readings as there are devices, each has been heard of by then (traffic.py).

    :raises TimeoutError: when one of them has not come to its first batch within `START_WITHIN_S`.
    """
    steady_from = round(count * _UNDER_WAY) if warming_up is None else warming_up
    watch = await asyncpg.connect(url, command_timeout=TIMEOUT_S)
    try:
        async with AsyncExitStack() as running:
            async with _held_back(url):
                began = time.monotonic()
                for service in services:
                    await running.enter_async_context(service)
                async with asyncio.timeout(START_WITHIN_S):
                    while await watch.fetchval(_WAITING) < len(services):
                        await _still_running(services)
                        await asyncio.sleep(_LOOK_EVERY_S)
                start_s = time.monotonic() - began
                start_rss = peak = max(map(_rss_mb, services))
                begun = before = await _sample(parts, watch, topic, services)
            while (taken := await watch.fetchrow(_TAKEN, f"kafka:{topic}"))["of_all"] < count:
                if before is begun and steady_from <= taken["evenly"]:
                    before = await _sample(parts, watch, topic, services)
                await _still_running(services)
                peak = max(peak, *map(_rss_mb, services))
                await asyncio.sleep(_LOOK_EVERY_S)
            after = await _sample(parts, watch, topic, services)
            for service in services:
                service.send(signal.SIGTERM)
            for service in services:
                code, _, err = await service.ended()
                assert code == 0, err
    finally:
        await watch.close()
    passed = after.taken - before.taken
    warmed_up_s = before.processes_s - begun.processes_s

    def a_reading(now: float | None, then: float | None) -> float | None:
        seconds = spent(now, then)
        return None if seconds is None else round(seconds * 1e6 / passed, 2)

    process_us = a_reading(after.processes_s, before.processes_s)
    assert process_us is not None
    return Passage(
        start_s=round(start_s, 2),
        start_rss_mb=round(start_rss),
        per_s=round(passed / (after.at - before.at)),
        process_us=process_us,
        warming_up_us=round(warmed_up_s * 1e6 / max(before.taken - begun.taken, 1), 2),
        database_us=a_reading(after.database_s, before.database_s),
        broker_us=a_reading(after.broker_s, before.broker_s),
        peak_rss_mb=round(peak),
    )


@dataclass(frozen=True)
class _Sample:
    at: float
    taken: int
    processes_s: float
    database_s: float | None
    broker_s: float | None


async def _sample(parts: Parts, watch: asyncpg.Connection, topic: str, services: Sequence[Process]) -> _Sample:
    taken = (await watch.fetchrow(_TAKEN, f"kafka:{topic}"))["of_all"]
    at = time.monotonic()
    of_services = sum(processor_s(service.process.pid) or 0.0 for service in services)
    return _Sample(at, taken, of_services, processor_s(parts.database_pid), processor_s(parts.broker_pid))


@asynccontextmanager
async def _held_back(url: str) -> AsyncIterator[None]:
    """Nobody inserts a reading meanwhile."""
    connection = await asyncpg.connect(url, command_timeout=TIMEOUT_S)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE readings IN SHARE MODE")
            yield
    finally:
        await connection.close()


async def _still_running(services: Sequence[Process]) -> None:
    for service in services:
        if service.process.returncode is not None:
            code, _, err = await service.ended()
            raise AssertionError(f"a process ended with {code} before all was stored: {err}")


def _rss_mb(service: Process) -> float:
    return psutil.Process(service.process.pid).memory_info().rss / 2**20
