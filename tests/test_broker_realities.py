"""What Apache Kafka does and Tansu does not: transactions, compaction, retention, its clock, keeping data at restarts."""

import asyncio
import json
import secrets
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete

from enrich.zones import table_zones
from ingest.consume import Consumer
from ingest.settings import Settings
from ingest.verify import verify
from tests.apache_kafka import ApacheKafka
from tests.build import NOON, envelope
from tests.conftest import ON_APACHE_KAFKA, Produce
from tests.service import Process, environment, readings

pytestmark = ON_APACHE_KAFKA

STORED = "SELECT count(*) FROM readings"
RUNNING = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'device-readings readings'"""


@pytest.fixture
def broker(apache_kafka: ApacheKafka) -> ApacheKafka:
    apache_kafka.start()
    return apache_kafka


class Topics(NamedTuple):
    raw: str
    devices: str
    patients: str

    @property
    def settings(self) -> dict[str, str]:
        return {f"READINGS_{name.upper()}_TOPIC": topic for name, topic in self._asdict().items()}


class World:
    """A database, a broker and a consumer's settings; what a test says of them in one line."""

    def __init__(self, url: str, broker: ApacheKafka, produce: Produce, topics: Topics) -> None:
        self.url, self.broker, self.produce, self.topics = url, broker, produce, topics
        self.env = environment(url, broker, topics.settings)

    async def send(self, numbers: Iterable[int], *, partition: int = 0) -> None:
        await self.produce(self.topics.raw, [(*reading(n), ms(n), partition) for n in numbers])

    def consumer(self, *options: str, **settings: object) -> Process:
        return readings("consume", *options, env=self.env | {f"READINGS_{k}": str(v) for k, v in settings.items()})

    async def catch_up(self) -> None:
        """Take all there is, in this process."""
        said = {
            name.removeprefix("READINGS_").lower(): value for name, value in self.env.items() if "READINGS_" in name
        }
        async with asyncio.timeout(60):
            await Consumer(Settings(**said), table_zones(), asyncio.Event()).run(until_caught_up=True)

    async def ask(self, statement: str) -> object:
        return (await self.rows(statement))[0][0]

    async def rows(self, statement: str) -> list[tuple]:
        connection = await asyncpg.connect(self.url)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    async def becomes(self, statement: str, wanted: object, *, within_s: float = 30) -> None:
        seen = None
        try:
            async with asyncio.timeout(within_s):
                while (seen := await self.ask(statement)) != wanted:
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{statement!r} was {seen} and not {wanted} after {within_s} s")

    async def stored(self) -> list[tuple[int, int]]:
        """Place and number of every reading stored."""
        taken = await self.rows("SELECT source_offset, reading_timestamp FROM readings ORDER BY 1")
        return [(offset, int((at - NOON).total_seconds())) for offset, at in taken]

    async def missing(self) -> list[int]:
        """Every offset that lies in a gap."""
        return [offset for first, end, _ in await self.gaps() for offset in range(first, end)]

    async def gaps(self) -> list[tuple[int, int, str]]:
        return await self.rows("SELECT first_offset, next_offset, kind FROM source_gaps ORDER BY source_partition, 1")

    async def holds(self) -> None:
        """Conservation, and all else that `readings verify` looks at."""
        found = await verify(Settings(database_url=self.url), table_zones())
        assert found.holds, [check for check in found.checks if check.differ]


def reading(number: int) -> tuple[bytes, bytes]:
    return b"1", envelope(deviceId=1, taken=NOON + timedelta(seconds=number))


def ms(seconds: float) -> int:
    return int((NOON + timedelta(seconds=seconds)).timestamp() * 1000)


@asynccontextmanager
async def administration(broker: ApacheKafka) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def make_topic(broker: ApacheKafka, name: str, *, partitions: int = 1, **configs: object) -> None:
    """`segment_ms=1000` is the topic's `segment.ms`."""
    told = {key.replace("_", "."): str(value) for key, value in configs.items()}
    async with administration(broker) as admin:
        answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=told)])
    assert [code for _, code, *_ in answer.topic_errors] == [0], answer


async def in_the_log(broker: ApacheKafka, topic: str, **options: object) -> list[ConsumerRecord]:
    """What a consumer of Kafka's own kind is given of partition 0, up to the end."""
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, isolation_level="read_committed", **options)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning()
        end = (await consumer.end_offsets([partition]))[partition]
        given = []
        while await consumer.position(partition) < end:
            given += (await consumer.getmany(timeout_ms=200)).get(partition, [])
        return given
    finally:
        await consumer.stop()


@pytest.fixture
def make_world(migrated: str, broker: ApacheKafka, produce: Produce):
    async def make(*, partitions: int = 1, **configs: object) -> World:
        topics = Topics(*(f"{name}-{secrets.token_hex(6)}" for name in Topics._fields))
        await make_topic(broker, topics.raw, partitions=partitions, **configs)
        await make_topic(broker, topics.devices)
        await make_topic(broker, topics.patients)
        await produce(topics.devices, [(b"1", b'{"deviceId":1}', ms(0))])
        return World(migrated, broker, produce, topics)

    return make


# --- transactions ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def transactions(world: World, **options: object) -> AsyncIterator[AIOKafkaProducer]:
    known_as = secrets.token_hex(4)
    producer = AIOKafkaProducer(bootstrap_servers=world.broker.bootstrap, transactional_id=known_as, **options)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def send_in_transaction(producer: AIOKafkaProducer, world: World, numbers: Iterable[int]) -> None:
    for n in numbers:
        key, value = reading(n)
        await producer.send_and_wait(world.topics.raw, value, key, timestamp_ms=ms(n))


async def test_of_transactions_what_was_committed_is_stored_and_the_rest_is_counted_as_missing(make_world):
    """Offsets 0 to 9, marker 10; 11 to 15 aborted, marker 16; 17 to 19, marker 20, which is the last."""
    world = await make_world()
    async with transactions(world) as producer:
        for numbers, end in ((range(10), "commit"), (range(10, 15), "abort"), (range(15, 18), "commit")):
            await producer.begin_transaction()
            await send_in_transaction(producer, world, numbers)
            await getattr(producer, f"{end}_transaction")()
    await world.catch_up()
    assert await world.stored() == [(n, n) for n in range(10)] + [(17, 15), (18, 16), (19, 17)]
    assert await world.missing() == [*range(10, 17), 20]
    assert (await world.gaps())[-1] == (20, 21, "marker")
    await world.holds()


async def test_a_log_that_ends_with_an_aborted_transaction_is_caught_up(make_world):
    """Nothing of it is ever given to us: only the position tells that it was passed over."""
    world = await make_world()
    await world.send(range(3))
    async with transactions(world) as producer:
        await producer.begin_transaction()
        await send_in_transaction(producer, world, range(3, 8))
        await producer.abort_transaction()
    await world.catch_up()
    assert await world.stored() == [(0, 0), (1, 1), (2, 2)]
    assert await world.missing() == [*range(3, 9)]
    await world.holds()


@pytest.mark.parametrize(("end", "stored"), [("commit", 8), ("abort", 3)])
async def test_an_open_transaction_holds_back_what_follows_it_and_caught_up_waits_for_its_end(make_world, end, stored):
    world = await make_world()
    async with transactions(world) as producer:
        await producer.begin_transaction()
        await send_in_transaction(producer, world, range(3, 8))
        await world.send(range(3))
        async with world.consumer("--until-caught-up") as consumer:
            await world.becomes("SELECT count(*) FROM source_positions WHERE source_id = 2", 1)
            await asyncio.sleep(2)
            assert consumer.process.returncode is None
            assert await world.ask(STORED) == 0
            await getattr(producer, f"{end}_transaction")()
            code, _, err = await consumer.ended()
    assert code == 0, err
    assert await world.ask(STORED) == stored
    await world.holds()


async def test_the_transaction_of_a_sender_that_hangs_is_waited_for_until_the_broker_ends_it(make_world):
    world = await make_world()
    async with transactions(world, transaction_timeout_ms=2_000) as producer:
        await producer.begin_transaction()
        await send_in_transaction(producer, world, range(3, 8))
        await world.send(range(3))
        await world.catch_up()
    assert await world.ask(STORED) == 3
    await world.holds()


# --- records that are no longer there -------------------------------------------------------------------------------


async def test_what_compaction_took_out_is_a_gap_and_what_it_left_is_stored(make_world):
    """Every other record has a key of its own and stays; of the rest only the last of each stretch does."""
    rolled = {"segment_ms": 1000, "min_cleanable_dirty_ratio": 0.01, "max_compaction_lag_ms": 1000}
    world = await make_world(cleanup_policy="compact", **rolled)
    given = [(b"same" if n % 2 else b"%d" % n, reading(n)[1], ms(2 * n)) for n in range(20)]
    for one in given:  # a batch each: compaction leaves none empty
        await world.produce(world.topics.raw, [one])
    async with asyncio.timeout(60):
        while len(left := await in_the_log(world.broker, world.topics.raw)) > 12:
            await asyncio.sleep(0.2)
    await world.catch_up()
    assert await world.stored() == [(record.offset, record.offset) for record in left]
    assert await world.missing() == sorted(set(range(20)) - {record.offset for record in left})
    assert {kind for _, _, kind in await world.gaps()} == {"skipped"}
    await world.holds()


async def test_records_deleted_before_they_were_taken_are_a_gap_told_in_the_log(make_world):
    world = await make_world()
    await world.send(range(10))
    await world.catch_up()
    await world.send(range(10, 30))
    async with administration(world.broker) as admin:
        await admin.delete_records({TopicPartition(world.topics.raw, 0): RecordsToDelete(20)})
    async with world.consumer("--until-caught-up") as consumer:
        code, _, err = await consumer.ended()
    assert (code, "records were deleted before they were taken" in err) == (0, True), err
    assert await world.stored() == [(n, n) for n in (*range(10), *range(20, 30))]
    assert await world.gaps() == [(10, 20, "truncated")]
    await world.holds()


async def test_a_consumer_that_runs_goes_on_when_everything_before_it_is_deleted(make_world):
    """It hangs while retention does its work, and comes back to a log without its place."""
    world = await make_world(segment_ms=1000)
    await world.send(range(10))
    async with world.consumer() as consumer:
        await world.becomes(STORED, 10)
        consumer.send(signal.SIGSTOP)
        await asyncio.sleep(1)  # what it has asked for is answered, with nothing
        await world.send(range(10, 30))
        async with administration(world.broker) as admin:
            await admin.alter_configs(
                [ConfigResource(ConfigResourceType.TOPIC, world.topics.raw, {"retention.ms": "1000"})]
            )
        async with asyncio.timeout(30):
            while await in_the_log(world.broker, world.topics.raw):
                await asyncio.sleep(0.2)
        consumer.send(signal.SIGCONT)
        await world.becomes("SELECT sum(missing)::int FROM source_positions", 20)
        consumer.send(signal.SIGTERM)
        code, _, err = await consumer.ended()
    assert code == 0, err
    assert "records were deleted before they were taken" in err
    assert await world.gaps() == [(10, 30, "truncated")]
    await world.holds()


async def test_a_log_that_no_longer_begins_at_0_is_begun_where_it_begins_without_a_gap(make_world):
    world = await make_world()
    await world.send(range(10))
    async with administration(world.broker) as admin:
        await admin.delete_records({TopicPartition(world.topics.raw, 0): RecordsToDelete(4)})
    await world.catch_up()
    assert await world.stored() == [(n, n) for n in range(4, 10)]
    assert await world.gaps() == []
    await world.holds()


# --- a position where no record can be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="consume"),
        pytest.param(["--until-caught-up"], id="until caught up"),
    ],
)
async def test_a_position_beyond_the_end_stops_and_names_topic_position_and_end(make_world, options):
    """The wrong cluster, or a broker restored from a backup: going on would lose what comes next."""
    world = await make_world()
    await world.send(range(10))
    await world.catch_up()
    moved = "UPDATE source_positions SET next_offset = 1000, missing = 990 WHERE next_offset = 10 RETURNING 1"
    assert await world.ask(moved) == 1
    async with world.consumer(*options) as consumer:
        code, out, err = await consumer.ended()
    assert (code, out) == (1, ""), err
    said = [line for line in err.splitlines() if line.startswith("readings: ")]
    where = f"position 1000 of {world.topics.raw} partition 0 lies beyond the log's end, 10"
    means = "the wrong cluster, a broker restored from a backup, or the topic was made anew under its name"
    assert said == [f"readings: {where}: {means} (then: readings sources renew {world.topics.raw})"]
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "anew",
    [
        pytest.param(5, id="shorter"),
        pytest.param(30, id="longer"),
    ],
)
async def test_a_topic_made_anew_under_its_name_stops_the_consumer(make_world, anew):
    """Its records are others: from the old position on we would pass over the first of them."""
    world = await make_world()
    await world.send(range(10))
    await world.catch_up()
    async with administration(world.broker) as admin:
        await admin.delete_topics([world.topics.raw])
    await make_topic(world.broker, world.topics.raw)
    await world.send(range(100, 100 + anew))
    async with world.consumer() as consumer:
        asyncio.get_running_loop().call_later(60, consumer.send, signal.SIGTERM)
        code, _, err = await consumer.ended()
    assert code == 1, (err, await world.stored())


async def test_a_topic_made_anew_is_taken_from_its_beginning_when_it_is_renewed(make_world):
    """The old log's readings stay, under the old log's name; the same content again is a record of the new log."""
    world = await make_world()
    await world.send(range(10))
    await world.catch_up()
    async with administration(world.broker) as admin:
        await admin.delete_topics([world.topics.raw])
    await make_topic(world.broker, world.topics.raw)
    await world.send(range(8, 30))
    async with readings("consume", "--until-caught-up", env=world.env) as consumer:
        code, _, err = await consumer.ended()
    assert code == 1, err
    (line,) = [line for line in err.splitlines() if line.startswith("readings: ")]
    assert line.startswith(
        f"readings: at offset 9 of {world.topics.raw} partition 0, taken up to there, stands another record"
    )
    assert line.endswith(f"To take its log from the beginning: readings sources renew {world.topics.raw}")
    async with readings("sources", "renew", world.topics.raw, env=world.env) as renewing:
        code, out, err = await renewing.ended()
    assert code == 0, err
    assert f"as kafka:{world.topics.raw}@2, from its beginning" in out
    for said in ("nothing of", "there is nothing to renew"):  # before the new log is taken, and after
        async with readings("sources", "renew", world.topics.raw, env=world.env) as renewing:
            code, _, err = await renewing.ended()
        assert code == 1, err
        assert said in err
        await world.catch_up()
    await world.catch_up()  # started again, it knows the new log
    by_source = "SELECT source, count(*) FROM {} JOIN sources USING (source_id) GROUP BY 1 ORDER BY 1"
    assert await world.rows(by_source.format("readings")) == [
        (f"kafka:{world.topics.raw}", 10),
        (f"kafka:{world.topics.raw}@2", 20),
    ]
    assert await world.rows(by_source.format("rejections")) == [(f"kafka:{world.topics.raw}@2", 2)]
    async with readings("status", "--json", env=world.env) as process:
        _, out, _ = await process.ended()
    lags = {one["source"]: one["lag"] for one in json.loads(out)["partitions"] if world.topics.raw in one["source"]}
    assert lags == {f"kafka:{world.topics.raw}": None, f"kafka:{world.topics.raw}@2": 0}
    await world.holds()


async def test_a_compacted_log_whose_last_record_taken_is_gone_is_the_same_log(make_world):
    """Compaction takes away what was taken last, and with it the mark: what comes before the position tells."""
    rolled = {"segment_ms": 1000, "min_cleanable_dirty_ratio": 0.01, "max_compaction_lag_ms": 1000}
    world = await make_world(cleanup_policy="compact", **rolled)
    # The last that is taken has a key that comes again: it goes. The first has one of its own.
    for n in range(4):
        await world.produce(world.topics.raw, [(b"own" if n == 0 else b"same", reading(n)[1], ms(2 * n))])
    await world.catch_up()
    for n in range(4, 12):
        await world.produce(world.topics.raw, [(b"same", reading(n)[1], ms(2 * n))])
    async with asyncio.timeout(60):
        while any(record.offset == 3 for record in await in_the_log(world.broker, world.topics.raw)):
            await asyncio.sleep(0.2)
    await world.catch_up()
    left = await in_the_log(world.broker, world.topics.raw)  # afterwards: compaction goes on
    behind = {record.offset for record in left if record.offset > 3}
    assert behind <= {offset for offset, _ in await world.stored()}
    assert {kind for _, _, kind in await world.gaps()} <= {"skipped"}
    await world.holds()


async def test_a_last_record_that_is_slow_to_come_is_asked_for_whatever_the_senders_clocks_say(make_world, monkeypatch):
    """A broker that is slow is no topic made anew, though what was taken last was stamped before what came first."""
    world = await make_world()
    await world.produce(world.topics.patients, [(b"7", b'{"patientId":7}', ms(n)) for n in (0, -3600)])
    await world.catch_up()
    await world.produce(world.topics.patients, [(b"7", b'{"patientId":8}', ms(1))])
    monkeypatch.setattr("ingest.kafka._PROVE_WITHIN_S", -1)
    await world.catch_up()
    assert await world.ask("SELECT count(*) FROM patient_states") == 3
    await world.holds()


async def test_a_topic_that_is_deleted_stops_the_consumer_that_was_following_it(make_world):
    """As a missing topic does at the start: nobody would be told that nothing is taken any more."""
    world = await make_world()
    await world.send(range(10))
    async with world.consumer() as consumer:
        await world.becomes(STORED, 10)
        async with administration(world.broker) as admin:
            await admin.delete_topics([world.topics.raw])
        code, _, err = await consumer.ended()
    assert code == 1, err
    assert f"readings: the broker has no topic {world.topics.raw}; " in err


async def test_a_session_time_out_that_the_broker_does_not_grant_stops_with_a_clear_line(make_world):
    world = await make_world()
    async with world.consumer(KAFKA_SESSION_TIMEOUT_S=1) as consumer:
        asyncio.get_running_loop().call_later(30, consumer.send, signal.SIGTERM)
        code, _, err = await consumer.ended()
    assert code == 1, err
    assert "readings: the broker grants no session of READINGS_KAFKA_SESSION_TIMEOUT_S" in err


# --- clocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", ["CreateTime", "LogAppendTime"])
async def test_received_at_is_the_record_s_timestamp_of_whatever_type(make_world, clock):
    world = await make_world(message_timestamp_type=clock)
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    await world.send(range(5))
    after = datetime.now(UTC)
    await world.catch_up()
    received = [at for (at,) in await world.rows("SELECT received_at FROM readings ORDER BY source_offset")]
    given = await in_the_log(world.broker, world.topics.raw)
    assert [int(at.timestamp() * 1000) for at in received] == [record.timestamp for record in given]
    if clock == "CreateTime":
        assert received == [NOON + timedelta(seconds=n) for n in range(5)]
    else:
        assert all(before <= at <= after for at in received)


@pytest.mark.parametrize("clock", ["CreateTime", "LogAppendTime"])
async def test_status_warns_of_a_raw_topic_with_the_sender_s_clock(make_world, clock):
    """`CreateTime` is Kafka's own default: here nobody sets it."""
    world = await make_world(**({} if clock == "CreateTime" else {"message_timestamp_type": clock}))
    async with readings("status", "--json", env=world.env) as status:
        code, out, err = await status.ended()
    assert code == 0, err
    said = json.loads(out)
    assert said["broker"]["raw_topic_timestamp_type"] == clock
    assert any("CreateTime" in warning for warning in said["warnings"]) == (clock == "CreateTime")


async def test_a_sender_s_clock_may_say_anything_and_stops_nothing(make_world):
    """Where the topic allows it: since 4.0 a broker refuses what lies an hour ahead. -1 is no timestamp at all."""
    world = await make_world(message_timestamp_after_max_ms=2**63 - 1)
    await world.produce(world.topics.raw, [(*reading(0), 10**18), (b"1", b"junk", 10**18)])
    await world.produce(world.topics.raw, [(*reading(2), -1), (b"1", b"junk", -1)])
    await world.send([4])
    await world.catch_up()
    assert await world.stored() == [(0, 0), (2, 2), (4, 4)]
    lines = "SELECT source_offset, received_at FROM readings UNION SELECT source_offset, received_at FROM rejections"
    latest = datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)
    received = [latest, latest, None, None, NOON + timedelta(seconds=4)]
    assert sorted(await world.rows(lines)) == list(enumerate(received))
    await world.holds()


# --- contents -------------------------------------------------------------------------------------------------------


async def test_a_tombstone_and_a_record_over_the_limit_are_malformed_and_what_they_held_is_kept(make_world):
    world = await make_world(max_message_bytes=8_000_000)
    huge = b'{"type":"reading.heartRate","note":"' + b"x" * 2_000_000 + b'"}'
    given = [(*reading(0), ms(0)), (b"1", None, ms(1)), (b"1", huge, ms(2)), (*reading(3), ms(3))]
    for one in given:
        await world.produce(world.topics.raw, [one])
    await world.catch_up()
    assert await world.stored() == [(0, 0), (3, 3)]
    refused = await world.rows("SELECT source_offset, reason::text, detail, payload FROM rejections ORDER BY 1")
    assert refused == [(1, "malformed", "no bytes", b""), (2, "malformed", "larger than 1048576 bytes", huge)]
    await world.holds()


async def test_every_compression_is_read(make_world):
    world = await make_world()
    kinds = ["gzip", "snappy", "lz4", "zstd"]
    for batch, kind in enumerate(kinds):
        producer = AIOKafkaProducer(bootstrap_servers=world.broker.bootstrap, compression_type=kind, linger_ms=50)
        await producer.start()
        for n in range(50 * batch, 50 * batch + 50):
            key, value = reading(n)
            await producer.send(world.topics.raw, value, key, timestamp_ms=ms(n))
        await producer.stop()
    await world.catch_up()
    assert await world.stored() == [(n, n) for n in range(50 * len(kinds))]


# --- brokers and consumers that come and go -------------------------------------------------------------------------


async def test_a_new_partition_is_taken_from_its_beginning(make_world):
    world = await make_world(partitions=1)
    await world.send(range(5))
    async with world.consumer() as consumer:
        await world.becomes(STORED, 5)
        async with administration(world.broker) as admin:
            await admin.create_partitions({world.topics.raw: NewPartitions(3)})
        await world.send(range(5, 10), partition=1)
        await world.send(range(10, 15), partition=2)
        await world.becomes(STORED, 15, within_s=60)
        await world.send(range(15, 20), partition=0)
        await world.becomes(STORED, 20)
        consumer.send(signal.SIGTERM)
        code, _, err = await consumer.ended()
    assert code == 0, err
    await world.holds()


async def test_a_broker_that_is_killed_and_comes_back_is_waited_for(make_world):
    world = await make_world(partitions=2)
    await world.send(range(50))
    async with world.consumer() as consumer:
        await world.becomes(STORED, 50)
        await asyncio.to_thread(world.broker.kill)
        await asyncio.sleep(2)
        await asyncio.to_thread(world.broker.start)
        await world.send(range(50, 100), partition=1)
        await world.becomes(STORED, 100, within_s=60)
        consumer.send(signal.SIGTERM)
        code, _, err = await consumer.ended()
    assert code == 0, err
    assert "Traceback" not in err
    await world.holds()


@pytest.mark.thorough
async def test_a_rolling_restart_loses_and_repeats_nothing(make_world):
    """Two replicas, each ended and started anew, while readings keep coming."""
    world = await make_world(partitions=4)
    sent = 0
    done = asyncio.Event()

    async def keep_sending() -> None:
        nonlocal sent
        while not done.is_set():
            await world.produce(world.topics.raw, [(*reading(n), ms(n), n % 4) for n in range(sent, sent + 40)])
            sent += 40
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(keep_sending())
        replicas = [world.consumer(), world.consumer()]
        for replica in replicas:
            await replica.__aenter__()
        await world.becomes(RUNNING, 2)
        await world.becomes("SELECT count(*) > 100 FROM readings", True)
        for turn in range(3):
            replicas[turn % 2].send(signal.SIGTERM)
            code, _, err = await replicas[turn % 2].ended()
            assert code == 0, err
            replicas[turn % 2] = await world.consumer().__aenter__()
            await world.becomes(RUNNING, 2)  # until then a SIGTERM ends it as any process that starts
            so_far = sent
            await world.becomes(f"SELECT count(*) >= {so_far} FROM readings", True, within_s=60)
        done.set()
        await sending
    await world.becomes(STORED, sent)
    for replica in replicas:
        replica.send(signal.SIGTERM)
        assert (await replica.ended())[0] == 0
        await replica.__aexit__()
    assert [n for _, n in sorted(await world.stored(), key=lambda place: place[1])] == list(range(sent))
    assert await world.gaps() == []
    await world.holds()
