"""The order of it all: trouble while records flow in, then peace, then the comparison."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

import asyncpg

from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from tests.apache_kafka import ApacheKafka
from tests.chaos.compare import held, unlike
from tests.chaos.load import RAW_PARTITIONS, Load, Topics
from tests.chaos.trouble import TROUBLES, EndedByItselfError, Replica, came_within, finished, outages, ways_to_end
from tests.histories import History
from tests.service import environment, readings
from tests.test_broker_realities import make_topic

TELL_EVERY_S = 10
SESSION_S = 3
SETTLES_WITHIN_S, CATCHES_UP_WITHIN_S, VERIFIES_WITHIN_S = 120, 180, 300

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    counts: str
    faults: list[str]
    """Who ended that should not have, and what differs; none of it, if all is well."""
    left: Mapping[str, str]
    """What the consumers logged and what the broker holds, by the name of a file: to find out why."""


async def chaos(
    database: EmbeddedPostgres, url: str, broker: ApacheKafka, *, seconds: float, seed: int, consumers: int, say: Say
) -> Outcome:
    """So many seconds of trouble for so many consumers of one group; `url` is a database there, with the schema."""

    def dice(name: str) -> Random:
        return Random(f"{seed} {name}")

    topics = await make_topics(broker)
    env = environment(url, broker, topics.settings, KAFKA_SESSION_TIMEOUT_S=SESSION_S)
    happened = Counter(dict.fromkeys(TROUBLES, 0))
    load = Load(broker.bootstrap, topics, dice("load"), seconds=seconds)
    replicas = [Replica(number, env, dice(f"consumer {number}"), happened) for number in range(1, consumers + 1)]
    ways, faults = ways_to_end(database, broker), []
    peace, over = asyncio.Event(), asyncio.Event()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tell(url, load, happened, over, say))
            for replica in replicas:
                tasks.create_task(replica.live(peace, over))
            disturbing = [
                tasks.create_task(load.flow(peace)),
                tasks.create_task(outages(database, ways, (4, 20), dice("database"), happened, peace)),
                tasks.create_task(outages(broker, ways, (8, 40), dice("broker"), happened, peace)),
            ]
            await asyncio.sleep(seconds)
            peace.set()
            async with asyncio.timeout(SETTLES_WITHIN_S):
                await asyncio.gather(*disturbing)
            say("peace: catching up")
            faults += await ran_well("consume", "--until-caught-up", env=env, within_s=CATCHES_UP_WITHIN_S)
            over.set()
    except* EndedByItselfError as ended:
        faults += map(str, ended.exceptions)
    finally:
        for replica in replicas:
            await replica.close()
    await finished(database.start)
    await finished(broker.start)
    given = await held(broker.bootstrap, topics)
    if not faults:
        say("comparing")
        faults += missing(given, load) + await unlike(url, given)
        faults += await ran_well("verify", env=env, within_s=VERIFIES_WITHIN_S)
    logs = {f"consumer-{replica.number}.log": "\n".join(replica.logs) for replica in replicas}
    happened["rebalances"] = sum(log.count("partitions taken") for log in logs.values())  # as each consumer meets them
    happened["late writes refused"] = sum(log.count("position moved") for log in logs.values())
    sizes = {"records": len(given.records), "registry changes": len(given.registry)}
    return Outcome(told(sizes | await stored(url) | happened), faults, logs | {"given.txt": str(given)})


async def make_topics(broker: ApacheKafka) -> Topics:
    """As README asks for: the raw topic with the broker's clock."""
    suffix = f"{time.time_ns():x}"
    topics = Topics(f"raw-{suffix}", f"devices-{suffix}", f"patients-{suffix}")
    await make_topic(broker, topics.raw, partitions=RAW_PARTITIONS, message_timestamp_type="LogAppendTime")
    await make_topic(broker, topics.devices, partitions=2)
    await make_topic(broker, topics.patients)
    return topics


async def tell(url: str, load: Load, happened: Mapping[str, int], over: asyncio.Event, say: Say) -> None:
    """How far it has come, now and then."""
    while not await came_within(over, TELL_EVERY_S):
        try:
            async with asyncio.timeout(2):
                lines = await stored(url)
            done = f"{lines.pop('readings')} readings and {sum(lines.values())} rejections stored"
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            # A time-out is an OSError; the last is what asyncpg raises when the connection goes in the middle of a word.
            done = "the database is away"
        say(f"{told(load.given)}; {done}; {told(happened)}")


async def stored(url: str) -> dict[str, int]:
    """Readings, and rejections by reason."""
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(
            "SELECT 'readings', count(*) FROM readings UNION ALL"
            " (SELECT reason::text, count(*) FROM rejections GROUP BY 1 ORDER BY 2 DESC)"
        )
    finally:
        await connection.close()
    return dict(map(tuple, rows))


async def ran_well(*command: str, env: Mapping[str, str], within_s: float) -> list[str]:
    """What is wrong about a command of ours that should end well within that time."""
    name = f"`readings {' '.join(command)}`"
    async with readings(*command, env=dict(env)) as process:
        ending = asyncio.ensure_future(process.ended())
        if not (await asyncio.wait({ending}, timeout=within_s))[0]:
            process.send(signal.SIGKILL)
            _, out, err = await ending
            code: object = f"nothing within {within_s:g} s"
        else:
            code, out, err = ending.result()
    return [] if code == 0 else ["\n    ".join([f"{name} ended with {code}:", *(out + err).splitlines()[-15:]])]


def missing(given: History, load: Load) -> list[str]:
    """All that the broker has acknowledged is there, or the rest would prove nothing."""
    acknowledged, there = load.given["readings"] + load.given["changes"], len(given.records) + len(given.registry)
    return [f"the broker acknowledged {acknowledged} records and holds {there}"] if there < acknowledged else []


def told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
