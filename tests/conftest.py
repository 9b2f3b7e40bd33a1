"""The real servers that tests stand on, started once a session, and a fresh database or topic for each test."""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.conn import AIOKafkaConnection

from enrich.law import Law
from enrich.zones import table_zones
from ingest.compiled import compiled
from ingest.demo.embedded_broker import EmbeddedBroker
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.demo.kept_server import KeptServer
from ingest.demo.kept_server import free_port as find_free_port
from ingest.law_parameters import adopt_parameters, parameters
from sinks.database import Database
from sinks.migrate import migrate
from tests import archives
from tests.apache_kafka import ApacheKafka
from tests.canaries import heard
from tests.fetched import MissingError
from tests.stale import stale
from tests.timescale_wasm import Timescale

# A record to produce: key, value, timestamp in ms, and the partition where the key is not to choose it.
Given = tuple[bytes | None, bytes | None, int | None] | tuple[bytes | None, bytes | None, int | None, int | None]


# --- servers: a test may stop, kill and start them; the next one finds them running --------------------------------


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    # Against kill -9 of the server data stays whole without fsync: only the machine's own crash would lose it.
    with EmbeddedPostgres(settings={"fsync": "off"}) as server:
        yield server


@pytest.fixture(scope="session")
def tansu() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as server:
        yield server


Server = TypeVar("Server", bound=KeptServer)


@contextmanager
def where_it_can_be_had(server: Server, name: str) -> Iterator[Server]:
    """The server, started; where it cannot be had, a skip that says what is missing; in CI a failure."""
    lack = ""
    try:
        server.start()
    except MissingError as error:
        lack = str(error)
    if lack and os.environ.get("CI") == "true":
        pytest.fail(f"CI runs on {name}, and {lack}", pytrace=False)
    if lack:
        pytest.skip(f"{name}: {lack}")
    with server:
        yield server


@pytest.fixture(scope="session")
def apache_kafka() -> Iterator[ApacheKafka]:
    with where_it_can_be_had(ApacheKafka(), "Apache Kafka") as server:
        yield server


@pytest.fixture(scope="session")
def timescale() -> Iterator[Timescale]:
    with where_it_can_be_had(Timescale(), "TimescaleDB") as server:
        yield server


Broker = EmbeddedBroker | ApacheKafka


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Broker:
    """Tansu, which is up at once, but for what `ON_APACHE_KAFKA` and `on_both_brokers` mark."""
    return request.getfixturevalue(getattr(request, "param", "tansu"))


# The first test of a session to ask for Apache Kafka may wait for Maven. One worker has it: it is large.
ON_APACHE_KAFKA = [pytest.mark.apache_kafka, pytest.mark.timeout(420), pytest.mark.xdist_group("apache_kafka")]

# The first to ask may wait for npm. One worker has it: it serves one connection.
ON_TIMESCALE = [
    pytest.mark.timescale,
    pytest.mark.thorough,
    pytest.mark.timeout(420),
    pytest.mark.xdist_group("timescale"),
]

on_both_brokers = pytest.mark.parametrize(
    "broker", ["tansu", pytest.param("apache_kafka", marks=[*ON_APACHE_KAFKA, pytest.mark.thorough])], indirect=True
)
"""A mark: the test runs on Tansu, and in CI on Apache Kafka too."""


def pytest_configure(config: pytest.Config) -> None:
    if (reason := stale()) is not None:
        pytest.exit(reason, returncode=4)
    config.addinivalue_line("markers", "apache_kafka: runs on Apache Kafka; -m 'not apache_kafka' leaves it out.")
    config.addinivalue_line("markers", "timescale: runs on TimescaleDB; -m 'not timescale' leaves it out.")
    config.addinivalue_line(
        "markers", "thorough: takes long; `make test` leaves it out, `make test-all` and CI do not."
    )


def pytest_report_header() -> str:
    return "what is tested is " + ("compiled" if compiled() else "not compiled")


@pytest.fixture(scope="session", autouse=True)
def _what_aiokafka_forgets() -> Iterator[None]:
    """Where consumers end and the process goes on, a connection that aiokafka has left open is closed without a word.

    Closed or cut off while it opens one it may forget it, and the warning would fail whichever test runs when the
    garbage is collected. What *we* leave open is looked for by `test_broker`.
    """

    def close(forgotten: AIOKafkaConnection) -> None:
        if not forgotten.connected():
            return
        if not forgotten._loop.is_closed():
            forgotten._on_close_cb = None
            forgotten.close()
            return
        transport = forgotten._writer.transport  # there is no loop any more in which it could be closed
        transport._closing, transport._sock, sock = True, None, transport._sock
        if sock is not None:
            sock.close()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(AIOKafkaConnection, "__del__", close)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[pytest.TestReport]:
    """A test that passes and whose output, our own log lines in it, holds a canary, has failed."""
    report = yield
    if (
        report.when == "call"
        and report.passed
        and (lines := heard(report.capstdout + report.capstderr + report.caplog))
    ):
        report.outcome, report.longrepr = "failed", f"personal data in a log: {lines}"
    return report


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def fresh_database(server: EmbeddedPostgres, template: str = "template1") -> AsyncIterator[str]:
    """The URL of a new database, a copy of the template; nobody may be connected to the template meanwhile."""
    await asyncio.to_thread(server.start)
    name = f"test_{secrets.token_hex(6)}"
    await execute(server.url, f'CREATE DATABASE {name} TEMPLATE "{template}"')
    try:
        yield urlsplit(server.url)._replace(path=f"/{name}").geturl()
    finally:
        await asyncio.to_thread(server.start)
        await execute(server.url, f"DROP DATABASE {name} WITH (FORCE)")


async def execute(url: str, statement: str) -> None:
    """One statement on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def database(postgres_server: EmbeddedPostgres) -> AsyncIterator[str]:
    """The URL of a fresh, empty database."""
    async with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_template(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The name of a database with the schema: copied in a tenth of the time that migrating takes."""

    name = "migrated_template"

    async def make() -> None:
        await execute(postgres_server.url, f"CREATE DATABASE {name}")
        database = Database(urlsplit(postgres_server.url)._replace(path=f"/{name}").geturl(), timeout_s=30)
        await migrate(database)
        await adopt_parameters(database, parameters(Law(), table_zones()))
        await database.close()

    asyncio.run(make())
    return name


@pytest.fixture
async def migrated(postgres_server: EmbeddedPostgres, migrated_template: str) -> AsyncIterator[str]:
    """The URL of a fresh database with the schema and the law of the defaults."""
    async with fresh_database(postgres_server, migrated_template) as url:
        yield url


@pytest.fixture
async def clinic(migrated: str, tmp_path: Path) -> str:
    """A database that knows device 1 and its patient in Philadelphia, from a plain export without history."""
    export = [{"deviceId": 1, "patientId": 7, "currentStatus": "withPatient"}, {"patientId": 7, "zipCode": "19137"}]
    path = archives.file(tmp_path, "registry/export.json", json.dumps(export).encode())
    assert (await archives.run(migrated, "registry", "load", path))[0] == 0
    return migrated


@pytest.fixture
async def timescale_database(timescale: Timescale) -> str:
    """The URL of TimescaleDB with nothing of ours in it: one database, which tests have in turn, one connection each."""
    await empty(timescale)
    return timescale.url


async def empty(timescale: Timescale) -> None:
    await execute(timescale.url, "DROP SCHEMA IF EXISTS customer CASCADE")
    await execute(timescale.url, "DROP SCHEMA public CASCADE")
    await execute(timescale.url, "CREATE SCHEMA public")


# --- the broker -----------------------------------------------------------------------------------------------------


class MakeTopics(Protocol):
    """`raw, devices = await make_topics(raw=4, devices=1)`: partitions by name, unique topics in the order given."""

    def __call__(self, **partitions: int) -> Awaitable[tuple[str, ...]]: ...


class Produce(Protocol):
    """`await produce(topic, [(key, value, timestamp_ms), …])`: stored in the order given, with acks=all.

    Gives the (partition, offset) of each.
    """

    def __call__(self, topic: str, records: Iterable[Given]) -> Awaitable[list[tuple[int, int]]]: ...


@pytest.fixture
def make_topics(broker: Broker) -> MakeTopics:
    async def make(**partitions: int) -> tuple[str, ...]:
        await asyncio.to_thread(broker.start)
        topics = {f"{name}-{secrets.token_hex(6)}": count for name, count in partitions.items()}
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        try:
            answer = await admin.create_topics([NewTopic(topic, count, 1) for topic, count in topics.items()])
            refused = [(topic, code) for topic, code, *_ in answer.topic_errors if code != 0]
            assert not refused, f"the broker refused to create {refused}"
        finally:
            await admin.close()
        return tuple(topics)

    return make


@pytest.fixture
def produce(broker: Broker) -> Produce:
    async def produce(topic: str, records: Iterable[Given]) -> list[tuple[int, int]]:
        # Not idempotent, as Tansu knows no producer ids: a batch that is sent again may stand in the log twice.
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all", max_request_size=33_554_432)
        await producer.start()
        try:
            sent = []
            for key, value, timestamp_ms, *partition in records:
                sent.append(
                    await producer.send(
                        topic, value, key, partition=partition[0] if partition else None, timestamp_ms=timestamp_ms
                    )
                )
            stored = await asyncio.gather(*sent)
        finally:
            await producer.stop()
        return [(record.partition, record.offset) for record in stored]

    return produce


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened on a moment ago."""
    return find_free_port()
