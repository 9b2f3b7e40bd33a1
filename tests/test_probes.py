"""What a running consumer answers over HTTP: whether it lives, whether it is ready, and numbers that equal the ledger."""

import asyncio
import json
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import asyncpg
import pytest
from aiokafka import TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from ingest.health import LIVE_WITHIN_S, Health
from ingest.http.api_metrics import ApiMetrics
from ingest.http.probes import probes
from ingest.lag import Lag
from ingest.metrics import PREFIX, Metrics
from ingest.pending import Pending
from sinks.errors import OperatorError
from sinks.ledger import Source
from tests.build import NOON, envelope
from tests.conftest import Broker, MakeTopics, Produce
from tests.service import Process, environment, readings

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def asked(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}{path}", method=method), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


# --- the answers ----------------------------------------------------------------------------------------------------


def test_it_is_ready_when_nothing_hinders_it_and_says_what_does() -> None:
    health = Health("readings: start")
    with probes(health, Metrics(health, {}, "z"), host="127.0.0.1", port=0) as port:
        assert port is not None
        assert asked(port, "/ready") == (503, "readings: start: not yet\n")
        health.clear("readings: start")
        assert asked(port, "/ready") == (200, "ready\n")
        health.waiting("readings")("the database cannot be reached (OSError)")
        health.behind = lambda: ["behind: raw/0 by 61 s"]
        answer = "readings: the database cannot be reached (OSError)\nbehind: raw/0 by 61 s\n"
        assert asked(port, "/ready") == (503, answer)
        assert asked(port, "/ready", "HEAD") == (503, "")
        assert asked(port, "/live") == (200, "live\n")
        assert asked(port, "/") == (404, "/live, /ready, /metrics\n")
        assert asked(port, "/ready", "POST")[0] == 405


def test_a_loop_that_does_not_turn_is_not_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the thread that answers: nobody else could, of a loop that is stuck."""
    health = Health()
    with probes(health, Metrics(health, {}, "z"), host="127.0.0.1", port=0) as port:
        assert port is not None
        now = time.monotonic()
        monkeypatch.setattr("ingest.health.time.monotonic", lambda: now + LIVE_WITHIN_S + 1)
        assert asked(port, "/live") == (503, "the loop has not turned for 15 s\n")
        health.beat()
        assert asked(port, "/live") == (200, "live\n")


def test_a_port_that_is_taken_is_the_operator_s_to_mend() -> None:
    health = Health()
    metrics = Metrics(health, {}, "z")
    with (
        probes(health, metrics, host="127.0.0.1", port=0) as port,
        pytest.raises(OperatorError, match=f"READINGS_HTTP_PORT {port}"),
        probes(health, metrics, host="127.0.0.1", port=port),
    ):
        pass


def test_without_a_port_nothing_listens() -> None:
    health = Health()
    with probes(health, Metrics(health, {}, "z"), host="127.0.0.1", port=None) as port:
        assert port is None


def test_every_metric_has_its_sentence_once_and_readme_has_the_same() -> None:
    health = Health()
    health.clear("nothing")
    metrics = Metrics(health, {}, "z")
    metrics.corrections_pending = 0
    ApiMetrics(metrics.exposed)  # those of `readings serve` beside those of every service
    ours = [family for family in metrics.exposed.collect() if family.name.startswith(PREFIX.rstrip("_"))]
    names = [family.name for family in ours]
    assert len(names) == len(set(names))
    told = dict(re.findall(rf"^\| `({PREFIX}[a-z_]+)(?:\{{[a-z,]+\}})?` \| (.+) \|$", README, flags=re.MULTILINE))
    suffix = {"counter": "_total", "info": "_info"}
    assert {family.name + suffix.get(family.type, ""): family.documentation for family in ours} == told


def test_the_lag_is_told_by_position_end_and_what_is_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """In records to the log's end, in seconds since the broker received the oldest that is not stored."""
    tp, source = TopicPartition("raw", 0), Source(1, "kafka:raw", NOON)
    lag, pending = Lag(), Pending({"raw": source})
    lag.begin(tp, 10)
    assert lag.partitions == [("raw", 0, None, 0)], "no fetch has told the end"
    lag.see_end(tp, 15)
    assert lag.partitions == [("raw", 0, 5, 0)]
    received_ms = int((datetime.now(UTC) - timedelta(seconds=90)).timestamp() * 1000)
    records = [
        SimpleNamespace(offset=offset, timestamp=received_ms + offset, value=b"{}", headers=()) for offset in (10, 11)
    ]
    assert pending.add(tp, 10, records) == 12
    lag.hand_out(pending)
    now = time.monotonic()
    monkeypatch.setattr("ingest.lag.time.monotonic", lambda: now + 5)
    (behind,) = lag.partitions
    assert (behind.records, round(behind.seconds)) == (5, 90)
    assert round(lag.oldest_unwritten_s) == 5
    lag.forget()  # a rebalance: whose the partition is, is asked again; what is in hand is in hand
    assert (lag.partitions, round(lag.oldest_unwritten_s)) == ([], 5)
    lag.begin(tp, 10)
    lag.see_end(tp, 15)
    lag.store({tp: 12})
    assert (lag.partitions, lag.oldest_unwritten_s) == ([("raw", 0, 3, 0)], 0)


def test_of_two_batches_in_hand_the_lag_is_that_of_the_older() -> None:
    tp, source, lag = TopicPartition("raw", 0), Source(1, "kafka:raw", NOON), Lag()
    lag.begin(tp, 10)
    for offset, ago_s in ((10, 90), (11, 30)):
        pending = Pending({"raw": source})
        received_ms = int((datetime.now(UTC) - timedelta(seconds=ago_s)).timestamp() * 1000)
        pending.add(tp, offset, [SimpleNamespace(offset=offset, timestamp=received_ms, value=b"{}", headers=())])
        lag.hand_out(pending)
    for position, seconds in ((11, 90), (12, 30), (12, 0)):
        assert [round(one.seconds) for one in lag.partitions] == [seconds]
        lag.store({tp: position})
    lag.hand_out(pending)
    lag.drop()
    assert [one.seconds for one in lag.partitions] == [0]


# --- the service ----------------------------------------------------------------------------------------------------


Ask = Callable[[str], Awaitable[tuple[int, str]]]


class Watched:
    """A consumer with a port, and the world around it."""

    def __init__(self, env: dict[str, str], consumer: Process, port: int) -> None:
        self.env, self.consumer, self.port = env, consumer, port

    async def ask(self, path: str) -> tuple[int, str]:
        return await asyncio.to_thread(asked, self.port, path)

    async def becomes(self, path: str, wanted: int, within_s: float = 30) -> str:
        async with asyncio.timeout(within_s):
            while True:
                status, said = await self.ask(path)
                if status == wanted:
                    return said
                await asyncio.sleep(0.1)

    async def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        """By name, and by the values of the labels in their order."""
        labels = ("topic", "partition", "holds", "kind", "fate")
        _, text = await self.ask("/metrics")
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                told = tuple(sample.labels[name] for name in labels if name in sample.labels)
                found.setdefault(sample.name, {})[told] = sample.value
        return found


@pytest.fixture
async def watched(migrated: str, broker: Broker, make_topics: MakeTopics, free_port: int) -> AsyncIterator[Watched]:
    raw, devices, patients = await make_topics(raw=2, devices=1, patients=1)
    topics = {"READINGS_RAW_TOPIC": raw, "READINGS_DEVICES_TOPIC": devices, "READINGS_PATIENTS_TOPIC": patients}
    env = environment(migrated, broker, topics, HTTP_PORT=free_port, READY_LAG_S=3)
    async with readings("consume", env=env) as consumer:
        made = Watched(env, consumer, free_port)
        async with asyncio.timeout(30):
            while True:
                try:
                    await made.ask("/live")
                    break
                except OSError:
                    await asyncio.sleep(0.1)
        yield made


async def test_what_the_metrics_count_is_what_stands_in_the_ledger(
    watched: Watched, migrated: str, produce: Produce
) -> None:
    """Readings of all fates, one of them outranked, one taken back by a late state: added less removed is what stands."""
    raw = watched.env["READINGS_RAW_TOPIC"]
    ms = int(NOON.timestamp() * 1000)
    values = [envelope(deviceId=1, taken=NOON + timedelta(seconds=n % 20), heartRate=60 + n // 30) for n in range(40)]
    await watched.becomes("/ready", 200)
    await produce(watched.env["READINGS_DEVICES_TOPIC"], [(b"1", b'{"deviceId":1,"customerId":1}', ms)])
    connection = await asyncpg.connect(migrated)
    try:
        async with asyncio.timeout(30):
            while not await connection.fetchval("SELECT count(*) FROM device_states"):
                await asyncio.sleep(0.1)
        await produce(raw, [(b"1", value, ms, 0) for value in [*values, b"junk"]])
        async with asyncio.timeout(30):
            while await connection.fetchval("SELECT count(*) FROM rejections") < 21:
                await asyncio.sleep(0.1)
        # Received before the one that stands, which gives way; then a state that refuses what came from an hour on.
        await produce(raw, [(b"1", envelope(deviceId=1, heartRate=99), ms - 1, 1)])
        late = json.dumps({"deviceId": 1, "currentStatus": "decommissioned", "effectiveAt": "2026-07-01T12:00:00Z"})
        await produce(watched.env["READINGS_DEVICES_TOPIC"], [(b"1", late.encode(), ms)])
        async with asyncio.timeout(30):
            while await connection.fetchval("SELECT count(*) FROM readings") != 1:
                await asyncio.sleep(0.1)
        await asyncio.sleep(1.5)  # until the next look at the queue
        found = await watched.metrics()
        standing = Counter({(row[0],): row[1] for row in await connection.fetch(
            "SELECT reason::text, count(*) FROM rejections GROUP BY 1")})  # fmt: skip
        standing["reading",] = await connection.fetchval("SELECT count(*) FROM readings")
        standing["state",] = await connection.fetchval("SELECT count(*) FROM device_states")
        taken = await connection.fetch(
            "SELECT holds, sum(next_offset - first_offset - missing) FROM source_positions JOIN sources USING (source_id) GROUP BY 1"
        )
    finally:
        await connection.close()
    removed = found[f"{PREFIX}lines_removed_total"]
    net = Counter(found[f"{PREFIX}lines_added_total"])
    net.subtract(removed)
    assert +net == standing
    assert removed["reading",] >= 20
    assert found[f"{PREFIX}records_total"] == {(row[0],): float(row[1]) for row in taken}
    assert found[f"{PREFIX}corrections_pending"] == {(): 0}
    assert found[f"{PREFIX}registry_version"] == {(): 2}
    assert found[f"{PREFIX}ready"] == {(): 1}
    assert found[f"{PREFIX}lag_records"] == {
        (raw, "0"): 0,
        (raw, "1"): 0,
        (watched.env["READINGS_DEVICES_TOPIC"], "0"): 0,
        (watched.env["READINGS_PATIENTS_TOPIC"], "0"): 0,
    }
    assert set(found[f"{PREFIX}lag_seconds"].values()) == {0}
    assert "process_resident_memory_bytes" in found


async def test_while_the_database_is_away_it_lives_and_is_not_ready_and_says_why(
    watched: Watched, postgres_server, produce: Produce
) -> None:
    await watched.becomes("/ready", 200)
    await asyncio.to_thread(postgres_server.stop)
    try:
        await produce(watched.env["READINGS_RAW_TOPIC"], [(b"1", envelope(patientId=7), None, 0)])
        async with asyncio.timeout(30):
            while "readings: the database cannot be reached" not in await watched.becomes("/ready", 503):
                await asyncio.sleep(0.1)
        assert (await watched.ask("/live"))[0] == 200
        assert (await watched.metrics())[f"{PREFIX}ready"] == {(): 0}
    finally:
        await asyncio.to_thread(postgres_server.start)
    await watched.becomes("/ready", 200)


@pytest.mark.thorough
@pytest.mark.timeout(300)
async def test_while_the_broker_is_away_it_is_not_ready_even_when_nothing_is_asked_of_it(
    watched: Watched, broker: Broker
) -> None:
    """Who waits for records is told nothing of a broker that has gone."""
    await watched.becomes("/ready", 200)
    broker.send_signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(90):
            while "broker: the broker does not answer" not in await watched.becomes("/ready", 503, within_s=90):
                await asyncio.sleep(0.1)
    finally:
        broker.send_signal(signal.SIGCONT)
    await watched.becomes("/ready", 200, within_s=90)
    watched.consumer.send(signal.SIGTERM)
    code, _, err = await watched.consumer.ended()
    assert code == 0, err
    told = [line for line in err.splitlines() if "task=broker" in line]
    assert "waiting" in told[0]
    assert "going on" in told[-1]
