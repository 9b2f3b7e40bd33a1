"""`readings demo`: a broker and a database out of wheels, a made-up clinic, and the real consumer between them."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta

import asyncpg
from pydantic import SecretStr
from rich.console import Console

from enrich.offsets import tzdb_version
from enrich.zones import table_zones
from ingest.broker import source_name
from ingest.consume import Consumer
from ingest.demo import findings, show
from ingest.demo.clinic import Clinic, make_clinic
from ingest.demo.embedded_broker import EmbeddedBroker
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.demo.publish import RAW_PARTITIONS, Placed, create_topics, publish_readings, publish_registry
from ingest.http.service import Service
from ingest.law_parameters import adopt_parameters, parameters
from ingest.logs import set_up_logs
from ingest.patience import before
from ingest.ready import database_of
from ingest.settings import Settings
from sinks.api_keys import create_key
from sinks.ledger import positions
from sinks.migrate import migrate

DONE, FAILED = 0, 1


def run(*, keep: bool) -> int:
    """Run the demo; gives the exit code. Whatever ends it, the servers it started end with it.

    :raises EmbeddedPartMissingError: when the wheels of the extra `demo` are not installed.
    :raises EmbeddedServerError: when a server does not start.
    """
    set_up_logs("text", "warning")
    # It tells of every rebalance and of connections that end with the servers; what matters of it we say ourselves.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    console = show.console_for_people()
    steps = show.Steps(console)
    with ExitStack() as servers:
        with steps.going_on("starting a PostgreSQL and a Kafka-compatible broker"):
            # Started here and not in a thread, so that Ctrl-C finds nothing half-started that it cannot end.
            broker = servers.enter_context(EmbeddedBroker())
            postgres = servers.enter_context(EmbeddedPostgres(settings={"fsync": "off"}))  # it lives for a minute
        show.introduce(console)
        # Not from the environment: whatever that names, the demo stays in its own database and broker.
        settings = Settings(database_url=SecretStr(postgres.url), kafka_bootstrap_servers=broker.bootstrap, api_port=0)
        steps.done(f"PostgreSQL is up on 127.0.0.1:{postgres.port}, a Kafka-compatible broker on {broker.bootstrap}")
        return asyncio.run(_run(settings, steps, console, keep=keep))


async def _run(settings: Settings, steps: show.Steps, console: Console, *, keep: bool) -> int:
    stop = asyncio.Event()
    received: list[signal.Signals] = []

    def on(number: signal.Signals) -> None:
        if received:
            os._exit(128 + number)  # the servers notice, and end too
        received.append(number)
        console.print("stopping")
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on, number)

    async def work() -> int:
        placed = await give(settings, make_clinic(), steps)
        async with consuming(settings) as (consumer, running):
            with steps.going_on("consumer: joining its group, following the registry first (a few seconds)"):
                await all_taken(settings, placed, running, steps)
            steps.done("all of it taken by the consumer, as by: readings consume")
            as_made = await report(settings, placed, console)
            show.where_to_look_next(console, kept=keep)
            if keep:
                async with serving(settings) as (port, key):
                    show.addresses(console, settings, placed, port, key)
                    await tell_what_is_taken(consumer, running, console)
        return DONE if as_made else FAILED

    code = await before(stop, work)
    return 128 + received[0] if code is None else code


async def give(settings: Settings, clinic: Clinic, steps: show.Steps) -> Placed:
    """Create the topics, bring up the schema, and publish what the clinic says."""
    with steps.going_on("creating topics"):
        await create_topics(settings)
    topics = f"{settings.raw_topic} ({RAW_PARTITIONS} partitions), {settings.devices_topic}, {settings.patients_topic}"
    steps.done(f"topics created: {topics}")

    with steps.going_on("bringing up the schema"):
        await bring_up_schema(settings)
    steps.done(f"schema brought up, as by: readings migrate (zip table {table_zones().version}, tzdb {tzdb_version()})")

    with steps.going_on("publishing"):
        await publish_registry(clinic, settings)
        told = f"{clinic.devices} devices and {clinic.patients} patients, in {len(clinic.registry)} messages"
        steps.done(f"registry told of {told}")
        placed = await publish_readings(clinic, settings)
        steps.done(f"{len(placed):,} raw readings published")
    return placed


@asynccontextmanager
async def consuming(settings: Settings) -> AsyncIterator[tuple[Consumer, asyncio.Task[None]]]:
    """The service of `readings consume`, in this process; told to stop at the end, as by SIGTERM."""
    stop = asyncio.Event()
    consumer = Consumer(settings, table_zones(), stop)
    running = asyncio.create_task(consumer.run())
    try:
        yield consumer, running
    finally:
        stop.set()
        await running


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[int, str]]:
    """The service of `readings serve`, in this process: its port, and a key of customer 1."""
    database = database_of(settings, "keys")
    try:
        async with database.transaction() as connection:
            _, key = await create_key(connection, customer_id=1, name="the demo", valid_for=timedelta(days=1))
    finally:
        await database.close()
    stop = asyncio.Event()
    service = Service(settings, table_zones(), stop)
    running = asyncio.create_task(service.run())
    try:
        while service.hindrances and not running.done():  # noqa: ASYNC110 - its own tasks find it out
            await asyncio.sleep(0.05)
        yield service.port or 0, key
    finally:
        stop.set()
        await running


async def all_taken(settings: Settings, placed: Placed, running: asyncio.Task[None], steps: show.Steps) -> None:
    """Return when the positions, which move in the transactions that store, are past all that was published."""
    source = source_name(settings.raw_topic)
    database = database_of(settings, "watching")
    try:
        while not running.done():
            async with database.transaction() as connection:
                taken = sum((await positions(connection, [source])).values())
            if taken >= len(placed):
                return
            if taken:
                steps.update(f"consumer: {taken:,} of {len(placed):,} raw readings taken")
            await asyncio.sleep(0.1)
    finally:
        await database.close()
    await running  # it ended before it was told to: with an error


async def bring_up_schema(settings: Settings) -> None:
    database = database_of(settings, "migrate")
    try:
        await migrate(database)
        await adopt_parameters(database, parameters(settings.law, table_zones()))
    finally:
        await database.close()


async def report(settings: Settings, placed: Placed, console: Console) -> bool:
    """Show what the database says; whether every raw reading became what it was made to become."""
    connection = await asyncpg.connect(settings.database_url.get_secret_value(), server_settings={"timezone": "UTC"})
    try:
        outcomes = await findings.outcomes(connection, placed, settings)
        show.counts(console, outcomes)
        show.night(console, await findings.night(connection))
        show.handed_over(console, await findings.handed_over(connection))
        show.mover(console, await findings.mover(connection))
        show.decommissioned(console, await findings.decommissioned(connection))
    finally:
        await connection.close()
    return outcomes.as_made


async def tell_what_is_taken(consumer: Consumer, running: asyncio.Task[None], console: Console) -> None:
    """A line whenever the consumer has taken something, until it ends."""
    told = consumer.tally.readings, consumer.tally.rejections.total()
    while not running.done():
        now = consumer.tally.readings, consumer.tally.rejections.total()
        if now != told:
            console.print(f"  taken: {now[0] - told[0]:,} stored, {now[1] - told[1]:,} set aside")
            told = now
        await asyncio.wait([running], timeout=0.2)
