"""The broker or the database away: 503 meanwhile, ready again by itself, and nothing lost that was acknowledged."""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from enrich.zones import table_zones
from ingest.broker import BrokerAwayError
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.http import service
from ingest.settings import SettingsError
from tests import test_api_door as door
from tests.api import Api, keys_of, serving, settings_of
from tests.conftest import ON_APACHE_KAFKA, Broker, MakeTopics
from tests.service import environment, readings
from tests.test_api_devices import PATIENTS, device
from tests.test_api_readings import taken

TIMEOUT_S = 3.0


@pytest.fixture
async def api(migrated: str, broker: Broker, make_topics: MakeTopics) -> AsyncIterator[Api]:
    names = await make_topics(raw=1, devices=1, patients=1)
    settings = await settings_of(
        migrated, broker, names, api_timeout_s=TIMEOUT_S, kafka_timeout_s=5, database_timeout_s=5
    )
    async with serving(settings) as served:
        await served.tell(device(1), *PATIENTS)
        yield served


async def give(api: Api, n: int) -> tuple[int, dict[str, Any]]:
    body = {"readingTimestamp": taken(n % 50), "deviceId": 1, "id": n + 1, "heartRate": 60}
    return await api.ask("POST", "heart-rate-reading", body)


async def in_the_log(api: Api, broker: Broker) -> dict[int, bytes]:
    """By offset, until as many as the log's end says."""
    topic = TopicPartition(api.settings.raw_topic, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([topic])
        await consumer.seek_to_beginning(topic)
        found: dict[int, bytes] = {}
        while batch := (await consumer.getmany(timeout_ms=2_000)).get(topic):
            found.update({record.offset: record.value for record in batch})
        return found
    finally:
        await consumer.stop()


async def through_an_outage(api: Api, broker: Broker, stop: Callable[[], None], start: Callable[[], None]) -> None:
    asked = [asyncio.create_task(give(api, n)) for n in range(50)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(stop)
    try:
        asked += [asyncio.create_task(give(api, n)) for n in range(50, 80)]
        answers = await asyncio.gather(*asked)
        event = {"id": 1, "type": "reading.heartRate", "payload": {"deviceId": 1}}
        status, problem = await api.webhook(event)
        assert (status, problem["code"]) == (503, "away"), "an event is not acknowledged"
        assert (await api.ask("GET", "device/1"))[0] == 200, "what needs no broker goes on"
    finally:
        await asyncio.to_thread(start)
    assert set(Counter(status for status, _ in answers)) == {202, 503}
    assert {told["code"] for status, told in answers if status == 503} == {"away"}
    async with asyncio.timeout(60):
        while (await give(api, 99))[0] != 202:
            await asyncio.sleep(0.2)
    log = await in_the_log(api, broker)
    for n, (status, told) in enumerate(answers):
        if status == 202:
            assert b'"id":%d,' % (n + 1) in log[told["place"]["offset"]].replace(b" ", b"")


@pytest.mark.thorough
async def test_while_the_broker_hangs_it_answers_503_and_nothing_acknowledged_is_lost(api: Api, broker: Broker) -> None:
    await through_an_outage(
        api, broker, lambda: broker.send_signal(signal.SIGSTOP), lambda: broker.send_signal(signal.SIGCONT)
    )


@pytest.mark.thorough
@pytest.mark.parametrize("broker", [pytest.param("apache_kafka", marks=ON_APACHE_KAFKA)], indirect=True)
async def test_a_broker_that_is_killed_in_the_middle_of_requests_has_what_was_acknowledged(
    api: Api, broker: Broker
) -> None:
    """Apache Kafka: Tansu forgets what it held."""
    await through_an_outage(api, broker, broker.kill, broker.start)


async def test_while_the_database_is_away_it_answers_503_and_then_goes_on(
    api: Api, postgres_server: EmbeddedPostgres
) -> None:
    assert (await api.ask("GET", "device/1"))[0] == 200
    await asyncio.to_thread(postgres_server.kill)
    try:
        for method, path, body in (
            ("GET", "device/1", None),
            ("PATCH", "device/1", {"note": "x"}),
            ("GET", "heart-rate-reading?deviceId=1", None),
            ("POST", "heart-rate-reading", {"readingTimestamp": taken(), "deviceId": 1, "heartRate": 60}),
        ):
            assert await api.problem(method, path, body) == (503, "away")
        answer = await api.anonymous.get("/api/v3/devices", headers={"Impilo-API-Key": api.keys[1]})
        assert answer.headers["Retry-After"] == "5"
        reading = {"id": 1, "type": "reading.heartRate", "payload": {"deviceId": 1}}
        assert (await api.webhook(reading))[0] == 200, "a reading of a webhook needs the broker alone"
        told_of = {"id": 2, "type": "patient.updated", "payload": {"id": 7}}
        assert (await api.webhook(told_of | {"timestamp": taken()}))[0] == 200, "and so does what tells its time"
        status, problem = await api.webhook(told_of)
        assert (status, problem["code"]) == (503, "away")
    finally:
        await asyncio.to_thread(postgres_server.start)
    async with asyncio.timeout(30):
        while (await api.ask("PATCH", "device/1", {"note": "y"}))[0] != 200:
            await asyncio.sleep(0.1)
    assert (await api.ask("GET", "device/1"))[1]["note"] == "y"


class Line:
    """A way to the database that can be cut: nothing gets through then, and neither side is told."""

    def __init__(self, url: str) -> None:
        self._to = urlsplit(url)
        self._through = asyncio.Event()
        self._through.set()
        self._passing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Line":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = self._to._replace(netloc=f"{self._to.username}@127.0.0.1:{port}").geturl()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.mend()
        self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def cut(self) -> None:
        self._through.clear()

    def mend(self) -> None:
        self._through.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._to.hostname, self._to.port)
        for one, other in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass_on(one, other))
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while said := await reader.read(65_536):
                await self._through.wait()
                writer.write(said)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


async def test_a_database_that_does_not_answer_is_503_soon_and_a_slow_answer_is_waited_for(
    migrated: str, broker: Broker, make_topics: MakeTopics
) -> None:
    """Whether connections are open or not, and however many requests wait for their turn."""
    names = await make_topics(raw=1, devices=1, patients=1)
    async with Line(migrated) as line:
        settings = await settings_of(
            line.url, broker, names, api_connect_timeout_s=0.5, api_timeout_s=60, database_timeout_s=60,
            api_connections=2,
        )  # fmt: skip
        async with serving(settings) as api:
            await api.tell(device(1), *PATIENTS)
            assert (await api.ask("GET", "device/1"))[0] == 200
            line.cut()
            for _ in range(2):
                began = time.monotonic()
                answers = await asyncio.gather(*(api.problem("GET", "device/1") for _ in range(12)))
                assert set(answers) == {(503, "away")}
                assert time.monotonic() - began < 10
            line.mend()
            async with asyncio.timeout(30):
                while (await api.ask("GET", "device/1"))[0] != 200:
                    await asyncio.sleep(0.1)

            connection = await asyncpg.connect(migrated)
            try:
                async with connection.transaction():
                    await connection.execute("SELECT pg_advisory_xact_lock(7205759403792794)")
                    waits = asyncio.create_task(api.ask("PATCH", "device/1", {"note": "late"}))
                    await asyncio.sleep(1.5)
                    assert not waits.done()
                assert (await waits)[0] == 200
            finally:
                await connection.close()


@pytest.mark.thorough
async def test_of_a_broker_and_a_database_that_hang_it_is_known_soon_that_it_is_not_ready(
    migrated: str, broker: Broker, make_topics: MakeTopics
) -> None:
    """Sooner than a request to them may take: nobody is to be sent here meanwhile."""

    async def hindered_by(*which: str) -> None:
        async with asyncio.timeout(16):
            while {line.partition(":")[0] for line in api.service.hindrances} != set(which):
                await asyncio.sleep(0.1)

    async with Line(migrated) as line:
        names = await make_topics(raw=1, devices=1, patients=1)
        async with serving(await settings_of(line.url, broker, names)) as api:
            line.cut()
            broker.send_signal(signal.SIGSTOP)
            try:
                await hindered_by("database", "broker")
                assert "database: the database does not answer" in api.service.hindrances
            finally:
                broker.send_signal(signal.SIGCONT)
                line.mend()
            await hindered_by()


async def test_who_is_cut_off_by_the_end_is_told_to_ask_again(
    migrated: str, broker: Broker, make_topics: MakeTopics, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that never comes, and a reading that a broker which hangs does not take; it ends in time all the same."""
    names = await make_topics(raw=1, devices=1, patients=1)
    settings = await settings_of(migrated, broker, names, shutdown_timeout_s=1)
    reading = json.dumps({"readingTimestamp": taken(), "deviceId": 1, "heartRate": 60}).encode()
    async with AsyncExitStack() as lines:
        try:
            async with serving(settings) as api:
                await api.tell(device(1), *PATIENTS)
                slow, sent = await lines.enter_async_context(door.line(api))
                sent.write(door.head(api, 100) + b"{")
                broker.send_signal(signal.SIGSTOP)
                path = "/api/v3/heart-rate-reading"
                waiting, sent = await lines.enter_async_context(door.line(api))
                sent.write(door.head(api, len(reading), path=path, method="POST") + reading)
                await asyncio.sleep(0.5)
                ending = time.monotonic()
            took_s = time.monotonic() - ending
        finally:
            broker.send_signal(signal.SIGCONT)
        assert await door.answered(slow) == await door.answered(waiting) == (503, "away")
    assert took_s < 5
    assert not [record.message for record in caplog.records if record.exc_info]


async def test_a_change_that_waits_for_the_registry_longer_than_a_request_may_is_503_and_not_done(api: Api) -> None:
    """Somebody else has the registry: the request gives up, and what it asked for does not happen later."""
    connection = await asyncpg.connect(api.settings.database_url.get_secret_value())
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(7205759403792794)")
            assert await api.problem("PATCH", "device/1", {"note": "never"}) == (503, "away")
            assert (await api.ask("GET", "device/1"))[0] == 200, "looking waits for nobody"
    finally:
        await connection.close()
    assert (await api.ask("PATCH", "device/1", {"status": "available"}))[0] == 200
    assert (await api.ask("GET", "device/1"))[1]["note"] is None


async def test_a_list_that_takes_too_long_is_told_to_ask_for_less_and_not_to_ask_again(api: Api) -> None:
    """And the database is not left to work at it."""
    connection = await asyncpg.connect(api.settings.database_url.get_secret_value())
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE readings")
            answer = await api.anonymous.get("/api/v3/weight-reading", headers={"Impilo-API-Key": api.keys[1]})
            assert (answer.status_code, answer.json()["code"]) == (503, "too_slow")
            assert "Retry-After" not in answer.headers
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
            await api.becomes(waiting, 0)
    finally:
        await connection.close()


@pytest.mark.thorough
async def test_an_operator_s_mistake_stops_it_with_one_clear_line(
    migrated: str, broker: Broker, make_topics: MakeTopics
) -> None:
    raw, devices, patients = await make_topics(raw=1, devices=1, patients=1)
    topics = {"READINGS_RAW_TOPIC": raw, "READINGS_DEVICES_TOPIC": devices, "READINGS_PATIENTS_TOPIC": patients}
    env = environment(migrated, broker, topics, API_PORT=0)

    async def stops(name: str, value: str, code: int, says: str, *, log_format: str = "text") -> None:
        """Told once, at the end, and where the log is JSON in the log as well."""
        others = {f"READINGS_{name}": value, "READINGS_LOG_FORMAT": log_format}
        async with readings("serve", env=env | others) as process:
            ended, out, err = await process.ended()
        assert (ended, out) == (code, ""), err
        lines = [line for line in err.splitlines() if line.startswith("readings: ")]
        assert len(lines) == 1
        assert says in lines[0]
        in_log = [json.loads(line)["why"] for line in err.splitlines() if '"ended"' in line]
        assert in_log == ([lines[0].removeprefix("readings: ")] if log_format == "json" else [])
        assert err.count(says) == 1 + len(in_log)
        assert "Traceback" not in err

    await asyncio.gather(
        stops("RAW_TOPIC", "nowhere", 1, "the broker has no topic nowhere", log_format="json"),
        stops("BLOCKED_STATUSES", "lost", 2, "law parameter blocked_statuses"),
        stops("WEBHOOK_SECRET", "kanarie\u00fc", 2, "READINGS_WEBHOOK_SECRET: must be printable ASCII"),
        stops("API_HOST", "192.0.2.1", 1, "nothing can listen on READINGS_API_HOST 192.0.2.1"),
    )


async def test_it_ends_even_where_the_look_at_the_broker_never_notices_that_it_is_cut_off(
    migrated: str, broker: Broker, make_topics: MakeTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client of aiokafka that is being closed takes a cancellation for that of a task of its own: it is away then."""
    cut_off = 0

    async def lost(*_: object, **__: object) -> dict[str, int]:
        nonlocal cut_off
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cut_off += 1
        raise BrokerAwayError("the broker cannot be reached")

    monkeypatch.setattr(service, "partitions_of", lost)
    settings = await settings_of(
        migrated, broker, await make_topics(raw=1, devices=1, patients=1), blocked_statuses=frozenset({"lost"})
    )
    with pytest.raises(SettingsError, match="law parameter blocked_statuses"):
        async with asyncio.timeout(30):
            await service.Service(settings, table_zones(), asyncio.Event()).run()
    assert cut_off


async def test_nobody_is_served_by_a_server_of_another_law(
    migrated: str, broker: Broker, make_topics: MakeTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers from the start, and looks at the law a moment later: what it let in meanwhile would be stored."""
    look, may_look = service.check_parameters, asyncio.Event()

    async def later(*arguments: Any) -> None:
        await may_look.wait()
        await look(*arguments)

    monkeypatch.setattr(service, "check_parameters", later)
    settings = await settings_of(
        migrated, broker, await make_topics(raw=1, devices=1, patients=1), blocked_statuses=frozenset({"lost"})
    )
    keys = await keys_of(settings, 1)
    serving = service.Service(settings, table_zones(), asyncio.Event())
    running = asyncio.create_task(serving.run())
    async with asyncio.timeout(30):
        while serving.port is None:
            await asyncio.sleep(0.01)
        api = Api(settings, serving, keys)
        assert await api.problem("PATCH", "device/1", {"status": "lost"}) == (503, "away")
        assert serving.hindrances
        may_look.set()
        with pytest.raises(SettingsError, match="law parameter blocked_statuses"):
            await running
        assert serving.hindrances
        await api.close()


async def test_it_ends_when_its_server_does(
    migrated: str, broker: Broker, make_topics: MakeTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would go on saying that it is ready, and answer nobody."""

    class Ends:
        async def serve(self, _: object) -> None:
            raise RuntimeError("a bug")

    monkeypatch.setattr(service, "server_of", lambda *_: Ends())
    settings = await settings_of(migrated, broker, await make_topics(raw=1, devices=1, patients=1))
    with pytest.raises(RuntimeError, match="a bug"):
        async with asyncio.timeout(30):
            await service.Service(settings, table_zones(), asyncio.Event()).run()


@pytest.mark.thorough
async def test_requests_cut_off_anywhere_leave_no_connection_in_a_state_that_nobody_knows(
    migrated: str, broker: Broker, make_topics: MakeTopics
) -> None:
    """More at once than can be answered in time, again and again: each is answered or told to come back."""
    names = await make_topics(raw=1, devices=1, patients=1)
    settings = await settings_of(migrated, broker, names, api_timeout_s=0.1, api_connections=3)
    async with serving(settings) as api:
        await api.tell(device(1), *PATIENTS)
        statuses: Counter[int] = Counter()
        for storm in range(2):
            asked = [api.ask("PATCH", "device/1", {"note": f"{storm} {n}"}) for n in range(60)]
            statuses.update(status for status, _ in await asyncio.gather(*asked))
        assert set(statuses) <= {200, 503}
        assert statuses[503] > 10
        async with asyncio.timeout(30):
            while (await api.ask("GET", "device/1"))[0] != 200:
                await asyncio.sleep(0.1)
        states = "SELECT count(*) = max(source_offset) + 1 FROM device_states JOIN sources USING (source_id) WHERE source = 'api'"
        assert (await api.fetch(states))[0][0] in (True, None)
