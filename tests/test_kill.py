"""Killed anywhere and started again: no reading lost, none twice, positions and rows agree."""

import asyncio
import secrets
import signal
from datetime import timedelta
from random import Random

import asyncpg
import pytest

from tests.build import NOON, envelope
from tests.conftest import Broker, MakeTopics, Produce, on_both_brokers
from tests.crashing_consumer import POINTS
from tests.service import Process, environment

READINGS = 3_000
DECOMMISSIONED = 5

pytestmark = [on_both_brokers, pytest.mark.thorough]


def ms(instant: object) -> int:
    return int(instant.timestamp() * 1000)  # type: ignore[attr-defined]


async def given(make_topics: MakeTopics, produce: Produce) -> dict[str, str]:
    """A clinic of ten devices, one of them decommissioned, 3,000 readings and a few that nobody can read."""
    raw, devices, patients = await make_topics(raw=3, devices=1, patients=1)
    states = [
        f'{{"deviceId":{d},"patientId":{d},"currentStatus":"{"decommissioned" if d == DECOMMISSIONED else "withPatient"}"}}'
        for d in range(1, 11)
    ]
    await produce(devices, [(b"%d" % d, state.encode(), ms(NOON)) for d, state in enumerate(states)])
    homes = [(b"%d" % p, b'{"patientId":%d,"zipCode":"19137"}' % p, ms(NOON)) for p in range(1, 11)]
    await produce(patients, homes)
    taken = [NOON + timedelta(seconds=n) for n in range(READINGS)]
    sent = [
        (b"%d" % (n % 10), b"junk" if n % 100 == 0 else envelope(deviceId=n % 10 + 1, taken=at), ms(at))
        for n, at in enumerate(taken)
    ]
    await produce(raw, sent)
    return {"READINGS_RAW_TOPIC": raw, "READINGS_DEVICES_TOPIC": devices, "READINGS_PATIENTS_TOPIC": patients}


async def run(point: str, url: str, broker: Broker, topics: dict[str, str], kill_after_s: float = 600) -> int:
    """The exit code of a consumer that crashes at `point`, or is killed after a while."""
    async with Process("-m", "tests.crashing_consumer", point, env=environment(url, broker, topics)) as consumer:
        killer = asyncio.get_running_loop().call_later(kill_after_s, consumer.send, signal.SIGKILL)
        code, _, err = await consumer.ended()
        killer.cancel()
    assert code in (0, -signal.SIGKILL), err
    return code


async def check_nothing_lost_nothing_twice(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        reasons = dict(await connection.fetch("SELECT reason::text, count(*) FROM rejections GROUP BY 1"))
        readings = await connection.fetchval("SELECT count(*) FROM readings")
        offsets = await connection.fetch("SELECT DISTINCT patient_time_zone_offset FROM readings")
        unlike = await connection.fetch("""
            WITH lines AS (
                SELECT source_id, source_partition, source_offset FROM readings
                UNION ALL SELECT source_id, source_partition, source_offset FROM rejections
                UNION ALL SELECT source_id, source_partition, source_offset FROM device_states
                UNION ALL SELECT source_id, source_partition, source_offset FROM patient_states)
            SELECT p.source_id, p.source_partition, p.next_offset - p.first_offset, count(l), count(DISTINCT l.source_offset), max(l.source_offset)
            FROM source_positions p LEFT JOIN lines l USING (source_id, source_partition)
            GROUP BY p.source_id, p.source_partition
            HAVING p.next_offset - p.first_offset <> count(l) OR count(l) <> count(DISTINCT l.source_offset)
                OR p.next_offset <> coalesce(max(l.source_offset) + 1, 0)""")
    finally:
        await connection.close()
    junk = READINGS // 100
    refused = READINGS // 10
    assert reasons == {"malformed": junk, "device_decommissioned": refused}
    assert readings == READINGS - junk - refused
    assert [tuple(row) for row in offsets] == [(-14_400,)]
    assert unlike == []


async def test_killed_at_every_named_point(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce
) -> None:
    """One after the other on one store, each point comes while the work of the earlier ones is half done."""
    topics = await given(make_topics, produce)
    for point in POINTS:
        code = await run(point, migrated, broker, topics)
        assert code == (0 if point == "nowhere" else -signal.SIGKILL), f"{point} was never reached"
    await check_nothing_lost_nothing_twice(migrated)


@pytest.mark.thorough
async def test_killed_at_ten_random_moments(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce
) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    moments = Random(seed)
    topics = await given(make_topics, produce)
    for _ in range(10):
        await run("nowhere", migrated, broker, topics, kill_after_s=moments.uniform(0.5, 3))
    assert await run("nowhere", migrated, broker, topics) == 0
    await check_nothing_lost_nothing_twice(migrated)
