"""One law, whichever way a record comes: out of an archive, live, through the backfill topic, or by several of these."""

import asyncio
import json
import secrets
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import pytest

from enrich.zones import table_zones
from ingest.consume import Consumer
from ingest.settings import Settings
from schemas.envelope import archived_received_at
from tests import archives, oracle
from tests.archives import conserved, fetch, file, line
from tests.build import NOON
from tests.chaos.compare import unlike
from tests.conftest import Broker, MakeTopics, Produce, fresh_database
from tests.histories import History, history
from tests.service import environment, readings
from tests.test_kill import ms

pytestmark = pytest.mark.thorough


@dataclass(frozen=True)
class World:
    """An empty database, and topics for everything."""

    url: str
    env: dict[str, str]
    produce: Produce

    def topic(self, name: str) -> str:
        return self.env[f"READINGS_{name}_TOPIC"]

    @property
    def settings(self) -> dict[str, str]:
        ours = {name: value for name, value in self.env.items() if name.startswith("READINGS_")}
        return {name.removeprefix("READINGS_").lower(): value for name, value in ours.items()}

    async def caught_up(self) -> None:
        consumer = Consumer(Settings(**self.settings), table_zones(), asyncio.Event())
        await consumer.run(until_caught_up=True, accept_bad_input=True)

    async def store(self, path: Path) -> None:
        await archives.stored(self.url, path, settings=self.settings)

    async def publish(self, path: Path) -> None:
        await archives.stored(self.url, path, settings=self.settings, to_topic=True)
        await self.caught_up()

    async def live(self, values: list[bytes]) -> None:
        await self.send("RAW", [(archived_received_at(value), value) for value in values])
        await self.caught_up()

    async def send(self, name: str, messages: list[tuple[datetime | None, bytes | None]]) -> None:
        await self.produce(self.topic(name), [(b"", value, ms(at) if at else -1, 0) for at, value in messages])


async def made(url: str, broker: Broker, make_topics: MakeTopics, produce: Produce) -> World:
    raw, devices, patients, backfill = await make_topics(raw=1, devices=1, patients=1, backfill=3)
    names = {"RAW": raw, "DEVICES": devices, "PATIENTS": patients, "BACKFILL": backfill}
    topics = {f"READINGS_{name}_TOPIC": topic for name, topic in names.items()}
    return World(url, environment(url, broker, topics, LOG_LEVEL="error", BATCH_RECORDS=40), produce)


def drawn(seed: int, records: int, states: int) -> tuple[list[bytes], list[oracle.RegistryRecord]]:
    """Lines of an archive, received to the millisecond, as a topic tells it; and what the registry topics are told."""
    values, registry = archives.archived(history(seed, most_records=records, most_states=states))
    said = [archived_received_at(value) for value in values]
    whole = [value for value, at in zip(values, said, strict=True) if at is not None and at.microsecond % 1000 == 0]
    return whole, [one for one in registry if not one.from_file and one.timestamp.microsecond % 1000 == 0]


def as_archive(folder: Path, name: str, values: list[bytes]) -> Path:
    return file(folder, name, b"".join(value + b"\n" for value in values))


SAID = "SELECT to_jsonb(t) - '{{source_id,source_partition,source_offset}}'::text[] AS row FROM {} t ORDER BY 1"


async def said(url: str) -> list[Any]:
    """Every row in every column but where it came from."""
    return [await fetch(url, SAID.format(table)) for table in ("readings", "rejections")]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(1, 6))])
async def test_archive_stream_and_topic_differ_in_no_column_but_where_it_came_from(
    postgres_server, migrated_template, broker, make_topics, produce, tmp_path, seed
):
    """The registry told before one, in the middle of the next, and after the last."""
    values, registry = drawn(seed + 40, 300, 40)
    path = as_archive(tmp_path, "a.ndjson", values)
    found = []
    for number, way in enumerate(("archive", "stream", "topic", "half and half")):
        async with fresh_database(postgres_server, migrated_template) as url:
            world = await made(url, broker, make_topics, produce)
            half = len(values) // 2
            halves = [as_archive(tmp_path, "b.ndjson", values[:half]), as_archive(tmp_path, "c.ndjson", values[half:])]
            steps: list[Callable[[], Awaitable[None]]] = {
                "archive": [partial(world.store, path)],
                "stream": [partial(world.live, values)],
                "topic": [partial(world.publish, path)],
                "half and half": [partial(world.store, halves[1]), partial(world.live, values[:half])],
            }[way]
            steps.insert(min(number, len(steps)), partial(tell, world, registry))
            for step in steps:
                await step()
            await world.caught_up()
            assert await conserved(url)
            found.append(await said(url))
    assert found[0][0], "some are accepted"
    assert found[0][1], "some are refused"
    for other in found[1:3]:
        assert other == found[0]
    assert ranked_alike(found[3], found[0])


async def tell(world: World, registry: list[oracle.RegistryRecord]) -> None:
    for name, kind in (("DEVICES", "device"), ("PATIENTS", "patient")):
        await world.send(name, [(one.timestamp, one.value) for one in registry if one.kind == kind])
    await world.caught_up()


def ranked_alike(one: list[Any], other: list[Any]) -> bool:
    """The same keys and, of what was received at one moment, perhaps another that came first: places break that tie."""
    keys = [{json_key(row) for row in rows[0]} for rows in (one, other)]
    counts = [Counter(len(table) for table in tables) for tables in (one[:2], other[:2])]
    return keys[0] == keys[1] and counts[0] == counts[1]


def json_key(row: tuple[str]) -> tuple[Any, ...]:
    said_ = json.loads(row[0])
    return tuple(said_[name] for name in ("subject", "reading_type", "reading_timestamp", "received_at"))


ORDERS = list(permutations(("archive", "another archive", "stream", "topic")))


@pytest.mark.parametrize("order", [ORDERS[0], ORDERS[9], ORDERS[23]], ids=" then ".join)
async def test_in_an_overlap_each_further_copy_is_a_duplicate(migrated, broker, make_topics, produce, tmp_path, order):
    """Each reading stands once, however many ways it came, with one column beside its place the same: all of them."""
    world = await made(migrated, broker, make_topics, produce)
    await world.send("DEVICES", [(NOON - timedelta(days=30), b'{"deviceId":1,"patientId":7,"customerId":3}')])
    await world.send("PATIENTS", [(NOON - timedelta(days=30), b'{"patientId":7,"zipCode":"19137"}')])
    values = [line(number).strip() for number in range(60)]
    paths = {
        "archive": as_archive(tmp_path, "a.ndjson", values),
        "another archive": as_archive(tmp_path, "b.ndjson", values[::-1]),
        "topic": as_archive(tmp_path, "c.ndjson", [*values, b""] + values[:1]),
    }
    await world.caught_up()
    for way in order:
        match way:
            case "stream":
                await world.live(values)
            case "topic":
                await world.publish(paths["topic"])
            case _:
                await world.store(paths[way])
    assert await fetch(migrated, "SELECT count(*) FROM readings") == [(60,)]
    assert await fetch(migrated, "SELECT reason::text, count(*) FROM rejections GROUP BY 1") == [("duplicate", 181)]
    sources = {f"archive:{sha256(path.read_bytes()).hexdigest()}" for path in paths.values()}
    # Received at one moment, the first by source name is the reading, whichever came first.
    assert await fetch(migrated, "SELECT DISTINCT source FROM readings JOIN sources USING (source_id)") == [
        (min(sources),)
    ]
    assert await fetch(
        migrated, "SELECT DISTINCT patient_id, customer_id, patient_time_zone_offset, reading_timestamp = received_at FROM readings"
    ) == [(7, 3, -14_400, True)]  # fmt: skip
    assert await conserved(migrated)


@pytest.mark.parametrize("kills", [6, pytest.param(50, marks=[pytest.mark.thorough, pytest.mark.timeout(1_500)])])
async def test_all_ways_at_once_killed_at_random_come_to_what_the_oracle_says(
    migrated, broker, make_topics, produce, tmp_path, kills
):
    """Archive, stream and topic overlap, the registry comes in between, and whatever runs is killed again and again."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    rng = Random(seed)
    world = await made(migrated, broker, make_topics, produce)
    values, registry = drawn(seed, 6_000, 60)
    cut = len(values) // 4
    parts = {"local": values[: 2 * cut], "live": values[cut : 3 * cut], "topic": values[2 * cut :] + values[:50]}
    paths = {way: as_archive(tmp_path, f"{way}.ndjson", parts[way]) for way in ("local", "topic")}
    commands = [
        ("backfill", "--accept-bad-input", str(paths["local"])),
        ("backfill", "--to-topic", str(paths["topic"])),
        ("consume", "--accept-bad-input"),
        ("consume", "--accept-bad-input"),
    ]

    async def run_and_kill() -> None:
        env = world.env | {"READINGS_BATCH_RECORDS": str(rng.choice((7, 40, 300)))}
        async with readings(*rng.choice(commands), env=env) as process:
            killer = asyncio.get_running_loop().call_later(rng.uniform(1, 4), process.send, signal.SIGKILL)
            code, _, err = await process.ended()
            killer.cancel()
        assert code in (0, -signal.SIGKILL), err

    rounds = kills // 2
    for number in range(rounds):
        live = [(archived_received_at(value), value) for value in parts["live"][number::rounds]]
        told = registry[number::rounds]
        await asyncio.gather(
            run_and_kill(),
            run_and_kill(),
            world.send("RAW", live),
            *(
                world.send(name, [(one.timestamp, one.value) for one in told if one.kind == kind])
                for name, kind in (("DEVICES", "device"), ("PATIENTS", "patient"))
            ),
        )
    await archives.stored(world.url, paths["topic"], settings=world.settings, to_topic=True)
    await world.store(paths["local"])
    await world.caught_up()
    assert await conserved(migrated)
    assert await unlike(migrated, given_to(world, parts, registry, paths, rounds)) == []


def given_to(
    world: World, parts: dict[str, list[bytes]], registry: list[oracle.RegistryRecord], paths: dict[str, Path], rounds: int
) -> History:  # fmt: skip
    """All that was given, each record at its place."""
    records = []
    for way, path in paths.items():
        name = f"archive:{sha256(path.read_bytes()).hexdigest()}"
        records += [oracle.Record(name, 0, n, archived_received_at(value), value) for n, value in enumerate(parts[way])]
    live = [value for number in range(rounds) for value in parts["live"][number::rounds]]
    raw = f"kafka:{world.topic('RAW')}"
    records += [oracle.Record(raw, 0, n, archived_received_at(value), value) for n, value in enumerate(live)]
    told = [one for number in range(rounds) for one in registry[number::rounds]]
    states = []
    for name, kind in (("DEVICES", "device"), ("PATIENTS", "patient")):
        of_kind = [one for one in told if one.kind == kind]
        source = f"kafka:{world.topic(name)}"
        states += [
            oracle.RegistryRecord(kind, source, 0, n, one.timestamp, False, one.value) for n, one in enumerate(of_kind)
        ]
    return History(tuple(records), tuple(states))
