"""The service against a real broker and a real database."""

import asyncio
import signal
import time
from datetime import timedelta

import asyncpg
import pytest

from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from tests.build import NOON, envelope
from tests.conftest import Broker, MakeTopics, Produce, on_both_brokers
from tests.service import environment, readings

Given = list[tuple[bytes | None, bytes | None, int | None]]

pytestmark = on_both_brokers


def ms(seconds: float) -> int:
    return int((NOON + timedelta(seconds=seconds)).timestamp() * 1000)


def raw(first: int, count: int, *, device: int = 1) -> Given:
    """Readings taken a second apart, received as they were taken."""
    return [
        (b"%d" % device, envelope(deviceId=device, taken=NOON + timedelta(seconds=n)), ms(n))
        for n in range(first, first + count)
    ]


async def topics(make_topics: MakeTopics, partitions: int = 2) -> dict[str, str]:
    raw_topic, devices, patients = await make_topics(raw=partitions, devices=1, patients=1)
    return {"READINGS_RAW_TOPIC": raw_topic, "READINGS_DEVICES_TOPIC": devices, "READINGS_PATIENTS_TOPIC": patients}


async def value(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def becomes(url: str, statement: str, wanted: object, *, within_s: float = 30) -> None:
    """Wait until the database answers as wanted."""
    async with asyncio.timeout(within_s):
        while await value(url, statement) != wanted:
            await asyncio.sleep(0.1)


STORED = "SELECT count(*) FROM readings"


async def test_a_device_decommissioned_before_the_broker_received_a_reading_never_has_it_stored(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce
) -> None:
    """The moment of receipt decides, to the millisecond, and not when the reading was taken or the state came."""
    names = await topics(make_topics)
    told = b'{"deviceId":1,"currentStatus":"withPatient","effectiveAt":"2026-01-01T00:00:00Z"}'
    over = b'{"deviceId":1,"currentStatus":"decommissioned","effectiveAt":"2026-07-01T12:00:50Z"}'
    await produce(names["READINGS_DEVICES_TOPIC"], [(b"1", told, ms(0)), (b"1", over, ms(9_000))])
    await produce(names["READINGS_RAW_TOPIC"], raw(0, 100))
    async with readings("consume", "--until-caught-up", env=environment(migrated, broker, names)) as service:
        assert (await service.ended())[0] == 0
    received = "FROM {} WHERE received_at {} '2026-07-01T12:00:50Z'"
    assert await value(migrated, "SELECT count(*) " + received.format("readings", "<")) == 50
    assert await value(migrated, "SELECT count(*) " + received.format("readings", ">=")) == 0
    refused = "SELECT count(*) " + received.format("rejections", ">=") + " AND reason = 'device_decommissioned'"
    assert await value(migrated, refused) == 50


@pytest.mark.thorough
async def test_caught_up_means_all_that_was_there_at_the_start_and_a_second_run_adds_nothing(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce
) -> None:
    names = await topics(make_topics, partitions=4)
    await produce(
        names["READINGS_DEVICES_TOPIC"], [(b"1", b'{"deviceId":1}', ms(0)), (b"2", b'{"deviceId":"x"}', ms(0))]
    )
    await produce(names["READINGS_RAW_TOPIC"], [line for device in (1, 2, 3) for line in raw(0, 500, device=device)])
    for _ in range(2):
        async with readings("consume", "--until-caught-up", env=environment(migrated, broker, names)) as service:
            code, out, err = await service.ended()
            assert (code, out) == (0, ""), err
        assert await value(migrated, STORED) == 500
        assert await value(migrated, "SELECT count(*) FROM rejections WHERE reason = 'unknown_device'") == 1_000
        assert await value(migrated, "SELECT count(*) FROM rejections WHERE reason = 'invalid'") == 1, (
            "the second state"
        )


async def test_an_empty_topic_is_caught_up_at_once(migrated: str, broker: Broker, make_topics: MakeTopics) -> None:
    names = await topics(make_topics)
    async with readings("consume", "--until-caught-up", env=environment(migrated, broker, names)) as service:
        assert (await service.ended())[0] == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
async def test_a_signal_finishes_the_batch_in_hand_and_leaves_within_ten_seconds(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce, number: signal.Signals, code: int
) -> None:
    names = await topics(make_topics)
    await produce(names["READINGS_DEVICES_TOPIC"], [(b"1", b'{"deviceId":1}', ms(0))])
    await produce(names["READINGS_RAW_TOPIC"], raw(0, 3_000))
    async with readings("consume", env=environment(migrated, broker, names, BATCH_RECORDS=50)) as service:
        async with asyncio.timeout(30):
            while not await value(migrated, "SELECT EXISTS (SELECT FROM readings)"):
                await asyncio.sleep(0.05)
        service.send(number)
        sent = time.monotonic()
        assert (await service.ended())[0] == code
        assert time.monotonic() - sent < 10
    taken = "SELECT sum(next_offset - first_offset)::int FROM source_positions JOIN sources USING (source_id) WHERE source LIKE '%raw%'"
    assert await value(migrated, STORED) == await value(migrated, taken)


async def test_while_the_database_is_away_nothing_moves_and_then_it_goes_on(
    postgres_server: EmbeddedPostgres, migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce
) -> None:
    names = await topics(make_topics)
    await produce(names["READINGS_DEVICES_TOPIC"], [(b"1", b'{"deviceId":1}', ms(0))])
    await produce(names["READINGS_RAW_TOPIC"], raw(0, 100))
    async with readings("consume", env=environment(migrated, broker, names)) as service:
        await becomes(migrated, STORED, 100)
        await asyncio.to_thread(postgres_server.kill)
        await produce(names["READINGS_RAW_TOPIC"], raw(100, 100))
        await asyncio.sleep(2)
        await asyncio.to_thread(postgres_server.start)
        await becomes(migrated, STORED, 200)
        service.send(signal.SIGTERM)
        code, _, err = await service.ended()
    assert code == 0, err
    assert "waiting" in err


@pytest.mark.thorough
async def test_while_the_broker_hangs_the_service_waits_and_then_it_goes_on(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce
) -> None:
    names = await topics(make_topics)
    await produce(names["READINGS_DEVICES_TOPIC"], [(b"1", b'{"deviceId":1}', ms(0))])
    await produce(names["READINGS_RAW_TOPIC"], raw(0, 100))
    async with readings("consume", env=environment(migrated, broker, names)) as service:
        await becomes(migrated, STORED, 100)
        broker.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(4)
        finally:
            broker.send_signal(signal.SIGCONT)
        await produce(names["READINGS_RAW_TOPIC"], raw(100, 100))
        await becomes(migrated, STORED, 200, within_s=60)
        service.send(signal.SIGTERM)
        code, _, err = await service.ended()
    assert code == 0, err


@pytest.mark.thorough
async def test_replicas_share_the_partitions_and_one_that_is_killed_is_replaced(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce
) -> None:
    names = await topics(make_topics, partitions=4)
    await produce(names["READINGS_DEVICES_TOPIC"], [(b"%d" % d, b'{"deviceId":%d}' % d, ms(0)) for d in range(8)])
    env = environment(migrated, broker, names)
    await produce(names["READINGS_RAW_TOPIC"], [line for d in range(1, 8) for line in raw(0, 400, device=d)])
    async with readings("consume", env=env) as one, readings("consume", env=env) as other:
        await becomes(migrated, STORED, 2_800)
        one.send(signal.SIGKILL)
        await produce(names["READINGS_RAW_TOPIC"], [line for d in range(1, 8) for line in raw(400, 100, device=d)])
        await becomes(migrated, STORED, 3_500)
        other.send(signal.SIGTERM)
        assert (await other.ended())[0] == 0


@pytest.mark.parametrize(
    ("setting", "code", "says"),
    [
        ({"RAW_TOPIC": "nowhere"}, 1, "the broker has no topic nowhere"),
        ({"BATCH_RECORDS": "0"}, 2, "READINGS_BATCH_RECORDS"),
        ({"NO_SUCH": "1"}, 2, "READINGS_NO_SUCH: no such setting"),
        ({"BLOCKED_STATUSES": "lost"}, 2, "law parameter blocked_statuses"),
    ],
)
async def test_an_operator_s_mistake_stops_with_one_clear_line(
    migrated: str, broker: Broker, make_topics: MakeTopics, setting: dict[str, str], code: int, says: str
) -> None:
    names = await topics(make_topics)
    env = environment(migrated, broker, names) | {f"READINGS_{name}": text for name, text in setting.items()}
    async with readings("consume", env=env) as service:
        ended, out, err = await service.ended()
    assert (ended, out) == (code, "")
    lines = [line for line in err.splitlines() if line.startswith("readings: ")]
    assert len(lines) == 1
    assert says in lines[0]
    assert "Traceback" not in err


async def test_without_a_schema_the_service_names_the_command_that_makes_it(
    database: str, broker: Broker, make_topics: MakeTopics
) -> None:
    async with readings("consume", env=environment(database, broker, await topics(make_topics))) as service:
        code, _, err = await service.ended()
    assert code == 2
    assert "readings migrate" in err
