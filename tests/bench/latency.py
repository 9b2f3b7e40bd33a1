"""From a record's timestamp to its commit, under steady traffic, by one `readings consume`.

A process of its own publishes a tick's records every 10 ms, with the timestamp of the moment at which they are handed to
the broker: the wait for the broker counts. Another connection asks for the positions every few milliseconds: a record is
stored when its partition's position is seen beyond it. The first seconds are not counted.
"""

import asyncio
import bisect
import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

import asyncpg
from aiokafka import AIOKafkaProducer

from tests.bench.found import Found, Row, Target, medians
from tests.bench.machine import processor_s, spent
from tests.bench.parts import TIMEOUT_S, Parts
from tests.bench.passage import environment
from tests.bench.registry_tables import load_registry
from tests.bench.run import Asked, progress, run
from tests.bench.traffic import Fleet
from tests.service import Process, readings

P99_MS = 250
PARTITIONS = 4
RESENT = 0.01
_TICK_S, _LOOK_EVERY_S = 0.01, 0.004
_WARM_UP_S = 3
_PATIENCE_S = 300
_POSITIONS = """
SELECT p.source_partition, p.next_offset FROM source_positions p JOIN sources s USING (source_id) WHERE s.source = $1
"""
Sent = tuple[int, int, int, float]
"""Partition, first offset, how many, and the timestamp of them all in seconds."""


async def measured(parts: Parts, asked: Asked) -> Found:
    rows = []
    for number in range(asked.runs):
        progress(f"run {number + 1}")
        rows.append(await _one(parts, asked))
    row = medians(rows)
    target = Target(f"p99 of the latency at {asked.rate:,} readings/s, ms", row["p99_ms"], P99_MS)
    return Found({"latency from a record's timestamp to its commit": [row]}, [target])


async def _one(parts: Parts, asked: Asked) -> Row:
    fleet = Fleet(asked.devices)
    async with parts.database() as url, parts.topics(raw=PARTITIONS, devices=1, patients=1) as topics:
        raw, devices, patients = topics
        await load_registry(url, fleet)
        # One of each, so that what is counted finds a consumer that has every partition.
        await parts.publish(raw, fleet.readings(asked.devices), partitions=PARTITIONS)
        watch = await asyncpg.connect(url, command_timeout=TIMEOUT_S)
        source = f"kafka:{raw}"
        try:
            env = environment(parts, url, raw, devices=devices, patients=patients)
            async with readings("consume", env=env) as service:
                while sum((await _positions(watch, source)).values()) < asked.devices:
                    assert service.process.returncode is None, (await service.ended())[2]
                    await asyncio.sleep(0.1)
                arguments = [parts.bootstrap, raw, str(asked.devices), str(asked.rate), str(asked.seconds)]
                async with Process(
                    "-m", "tests.bench.latency", "publish", *arguments, env=dict(os.environ)
                ) as publisher:
                    before = processor_s(service.process.pid), processor_s(parts.database_pid)
                    seen = await _watched(watch, source, publisher)
                    code, out, err = await publisher.ended()
                    assert code == 0, err
                    sent: list[Sent] = [tuple(one) for one in json.loads(out)]
                    await _until_stored(watch, source, sent, seen)
                    after = processor_s(service.process.pid), processor_s(parts.database_pid)
                service.send(signal.SIGTERM)
                assert (ended := await service.ended())[0] == 0, ended[2]
        finally:
            await watch.close()
    began, ended_at = min(at for *_, at in sent), max(at for *_, at in sent)
    counted = [one for one in sent if one[3] >= min(began + _WARM_UP_S, began + (ended_at - began) / 3)]
    latencies = sorted((_stored_at(seen, one) - one[3], one[2]) for one in counted)
    count = sum(one[2] for one in sent)
    process_s, database_s = (spent(now, then) for now, then in zip(after, before, strict=True))
    assert process_s is not None
    return {
        "per_s": round(count / (ended_at - began + _TICK_S)),
        "p50_ms": round(_percentile(latencies, 50) * 1000, 1),
        "p99_ms": round(_percentile(latencies, 99) * 1000, 1),
        "longest_ms": round(latencies[-1][0] * 1000, 1),
        "process_us": round(process_s * 1e6 / count, 2),
        "database_us": database_s and round(database_s * 1e6 / count, 2),
    }


class _Seen:
    """When the position of a partition was first seen to be so far."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.at: list[float] = []


async def _watched(watch: asyncpg.Connection, source: str, publisher: Process) -> dict[int, _Seen]:
    """Every move of the positions until the publisher has ended."""
    seen: dict[int, _Seen] = defaultdict(_Seen)
    while publisher.process.returncode is None:
        await _look(watch, source, seen)
        await asyncio.sleep(_LOOK_EVERY_S)
    return seen


async def _until_stored(watch: asyncpg.Connection, source: str, sent: Sequence[Sent], seen: dict[int, _Seen]) -> None:
    ends: dict[int, int] = defaultdict(int)
    for partition, first, count, _ in sent:
        ends[partition] = max(ends[partition], first + count)
    async with asyncio.timeout(_PATIENCE_S):
        while any(not seen[partition].offsets or seen[partition].offsets[-1] < end for partition, end in ends.items()):
            await _look(watch, source, seen)
            await asyncio.sleep(_LOOK_EVERY_S)


async def _look(watch: asyncpg.Connection, source: str, seen: dict[int, _Seen]) -> None:
    positions = await _positions(watch, source)
    at = time.time()
    for partition, offset in positions.items():
        one = seen[partition]
        if not one.offsets or offset > one.offsets[-1]:
            one.offsets.append(offset)
            one.at.append(at)


async def _positions(watch: asyncpg.Connection, source: str) -> dict[int, int]:
    return dict(await watch.fetch(_POSITIONS, source))


def _stored_at(seen: dict[int, _Seen], sent: Sent) -> float:
    partition, first, count, _ = sent
    return seen[partition].at[bisect.bisect_left(seen[partition].offsets, first + count)]


def _percentile(latencies: Sequence[tuple[float, int]], hundredths: int) -> float:
    """Of latencies in ascending order, each of so many records."""
    left = sum(count for _, count in latencies) * hundredths / 100
    for latency, count in latencies:
        left -= count
        if left <= 0:
            return latency
    return latencies[-1][0]


async def _publish(bootstrap: str, topic: str, devices: str, rate: str, seconds: str) -> None:
    """At a steady pace; says at the end what was sent, as JSON."""
    a_tick = int(int(rate) * _TICK_S)
    warm = int(devices)
    count = int(rate) * int(seconds)
    every = Fleet(int(devices)).readings(warm + count, resent=RESENT)
    messages = list(islice(every, warm, None))
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks=1, max_batch_size=1_048_576)
    await producer.start()
    sent: list[tuple[float, asyncio.Future]] = []
    try:
        began = time.monotonic()
        for tick, first in enumerate(range(0, count, a_tick)):
            await asyncio.sleep(max(0.0, began + tick * _TICK_S - time.monotonic()))
            now_ms, builders = int(time.time() * 1000), {}
            for key, _, value in messages[first : first + a_tick]:
                partition = int(key) % PARTITIONS
                builder = builders.get(partition) or builders.setdefault(partition, producer.create_batch())
                builder.append(key=key, value=value, timestamp=now_ms)
            for partition, builder in builders.items():
                builder.close()
                future = await producer.send_batch(builder, topic, partition=partition)
                sent.append((builder.record_count(), now_ms / 1000, future))
        results = [(count, at, await future) for count, at, future in sent]
    finally:
        await producer.stop()
    print(json.dumps([[stored.partition, stored.offset, count, at] for count, at, stored in results]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["publish"]:
        asyncio.run(_publish(*sys.argv[2:]))
        sys.exit(0)
    sys.exit(run("latency", __doc__, measured))
