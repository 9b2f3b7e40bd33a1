"""Memory and processor time of `readings consume` while a million readings pass from the broker to the database.

The real process, the embedded broker and the embedded PostgreSQL with the durability of its defaults. All is published
before the process starts, so that nothing but itself holds it back. Exits 1 when the process grew past the limit.
"""

import argparse
import asyncio
import json
import secrets
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import asyncpg
import psutil
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from enrich.law import Law
from enrich.zones import table_zones
from ingest.demo.embedded_broker import EmbeddedBroker
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.law_parameters import adopt_parameters, parameters
from sinks.database import Database
from sinks.migrate import migrate
from tests.bench.traffic import Fleet, Message
from tests.service import environment, readings

LIMIT_MB = 300
_IN_FLIGHT = 16
_SAMPLE_EVERY_S = 0.02


@dataclass(frozen=True)
class Passage:
    """What it took; a MB is 2**20 bytes."""

    readings: int
    stored: int
    set_aside: int
    published_in_s: float
    seconds: float
    """From the start of the process to its end, its start-up and the registry included."""
    readings_per_s: float
    rss_mb: dict[int, float]
    """The greatest so far when this many hundredths of the seconds had passed."""
    peak_rss_mb: float
    consumer_s_per_million: float
    database_s_per_million: float
    broker_s_per_million: float


async def publish(bootstrap: str, topic: str, messages: Iterable[Message], *, partitions: int) -> None:
    """In the order given, keyed as the contract asks; by whole batches, some ten times as fast as one by one."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", max_batch_size=262_144, linger_ms=5, max_request_size=4_194_304
    )
    await producer.start()
    under_way: set[asyncio.Future[object]] = set()

    async def send(partition: int) -> None:
        nonlocal under_way
        builders[partition].close()
        under_way.add(await producer.send_batch(builders.pop(partition), topic, partition=partition))
        if len(under_way) >= _IN_FLIGHT:
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for sent in done:
                sent.result()

    try:
        builders = {}
        for key, timestamp, value in messages:
            partition = int(key) % partitions
            builder = builders.get(partition) or builders.setdefault(partition, producer.create_batch())
            if builder.append(key=key, value=value, timestamp=timestamp) is None:
                await send(partition)
                builders[partition] = producer.create_batch()
                builders[partition].append(key=key, value=value, timestamp=timestamp)
        for partition in list(builders):
            await send(partition)
        await asyncio.gather(*under_way)
    finally:
        await producer.stop()


async def passage(
    url: str, server: EmbeddedPostgres, broker: EmbeddedBroker, *, count: int, devices: int, partitions: int = 4
) -> Passage:
    """Let `count` readings pass from the broker into the migrated, empty database at `url`."""
    fleet, names = Fleet(devices), await _topics(broker, partitions)
    began = time.monotonic()
    await publish(broker.bootstrap, names["READINGS_DEVICES_TOPIC"], fleet.device_states(), partitions=1)
    await publish(broker.bootstrap, names["READINGS_PATIENTS_TOPIC"], fleet.patient_states(), partitions=1)
    await publish(broker.bootstrap, names["READINGS_RAW_TOPIC"], fleet.readings(count), partitions=partitions)
    published = time.monotonic()
    before = _processor_s(server.pid), _processor_s(broker.pid)
    settings = environment(url, broker, names, BATCH_RECORDS=5_000)
    async with readings("consume", "--until-caught-up", env=settings) as service:
        watched = await _watch(service.process.pid)
        code, _, err = await service.ended()
    seconds = time.monotonic() - published
    assert code == 0, err
    database_s, broker_s = _processor_s(server.pid) - before[0], _processor_s(broker.pid) - before[1]
    stored, set_aside = await _conserved(url, count)
    peaks = _peaks(watched)
    return Passage(
        readings=count,
        stored=stored,
        set_aside=set_aside,
        published_in_s=round(published - began, 1),
        seconds=round(seconds, 1),
        readings_per_s=round(count / seconds),
        rss_mb=peaks,
        peak_rss_mb=peaks[100],
        consumer_s_per_million=round(watched[-1][2] * 1e6 / count, 1),
        database_s_per_million=round(database_s * 1e6 / count, 1),
        broker_s_per_million=round(broker_s * 1e6 / count, 1),
    )


async def _topics(broker: EmbeddedBroker, partitions: int) -> dict[str, str]:
    wanted = {"READINGS_RAW_TOPIC": partitions, "READINGS_DEVICES_TOPIC": 1, "READINGS_PATIENTS_TOPIC": 1}
    names = {setting: f"{setting.lower()}-{secrets.token_hex(6)}" for setting in wanted}
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(names[setting], count, 1) for setting, count in wanted.items()])
        assert all(code == 0 for _, code, *_ in answer.topic_errors), answer
    finally:
        await admin.close()
    return names


async def _watch(pid: int) -> list[tuple[float, float, float]]:
    """When, resident MB and processor seconds, again and again until the process has ended."""
    process, seen = psutil.Process(pid), []
    while True:
        try:
            with process.oneshot():
                spent = process.cpu_times()
                resident = process.memory_info().rss / 2**20
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return seen
        if resident == 0:  # it has ended and nobody has asked for its exit code yet
            return seen
        seen.append((time.monotonic(), resident, spent.user + spent.system))
        await asyncio.sleep(_SAMPLE_EVERY_S)


def _peaks(watched: list[tuple[float, float, float]]) -> dict[int, float]:
    began, ended = watched[0][0], watched[-1][0]
    shares = (10, 25, 50, 75, 100)
    return {
        share: round(max(rss for at, rss, _ in watched if at <= began + (ended - began) * share / 100), 1)
        for share in shares
    }


def _processor_s(pid: int | None) -> float:
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


async def _conserved(url: str, count: int) -> tuple[int, int]:
    """Rows in `readings` and in `rejections`, which together are what was published."""
    connection = await asyncpg.connect(url)
    try:
        stored = await connection.fetchval("SELECT count(*) FROM readings")
        set_aside = await connection.fetchval("SELECT count(*) FROM rejections")
    finally:
        await connection.close()
    assert stored + set_aside == count, f"{stored} stored and {set_aside} set aside of {count}"
    return stored, set_aside


async def _measured(count: int, devices: int, partitions: int) -> Passage:
    with EmbeddedPostgres() as server, EmbeddedBroker() as broker:
        database = Database(server.url, timeout_s=30)
        await migrate(database)
        await adopt_parameters(database, parameters(Law(), table_zones()))
        await database.close()
        return await passage(server.url, server, broker, count=count, devices=devices, partitions=partitions)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__.partition("\n")[0])
    parser.add_argument("--readings", type=int, default=1_000_000)
    parser.add_argument("--devices", type=int, default=20_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    found = asyncio.run(_measured(asked.readings, asked.devices, asked.partitions))
    if asked.json:
        print(json.dumps(asdict(found)))
    else:
        for name, figure in asdict(found).items():
            print(f"{name:24} {figure}")
        verdict = "within" if found.peak_rss_mb <= LIMIT_MB else "OVER"
        print(f"{verdict} the limit of {LIMIT_MB} MB")
    return int(found.peak_rss_mb > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
