"""`readings status`: what it says is what is there."""

import json
import os
import socket
import time
from datetime import timedelta

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from enrich.offsets import tzdb_version
from enrich.zones import table_zones
from ingest.demo.embedded_broker import EmbeddedBroker
from sinks.migrate import migrations
from tests.build import NOON, envelope
from tests.service import environment, readings


def ms(seconds: float) -> int:
    return int((NOON + timedelta(seconds=seconds)).timestamp() * 1000)


async def run(env: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    async with readings(*arguments, env=env) as process:
        return await process.ended()


async def status(env: dict[str, str]) -> dict:
    code, out, _ = await run(env, "status", "--json")
    assert code == 0
    return json.loads(out)


async def fetch(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


@pytest.fixture
async def topics(make_topics):
    raw, devices, patients = await make_topics(raw=2, devices=1, patients=1)
    return {"READINGS_RAW_TOPIC": raw, "READINGS_DEVICES_TOPIC": devices, "READINGS_PATIENTS_TOPIC": patients}


async def consumed(url, broker, topics, produce, tmp_path) -> dict[str, str]:
    """A consumer ran over a little of everything; more readings came in since, and a registry file."""
    states = [
        b'{"deviceId":1,"currentStatus":"withPatient"}',
        b'{"deviceId":2,"currentStatus":"decommissioned"}',
        b"junk",
    ]
    await produce(topics["READINGS_DEVICES_TOPIC"], [(b"1", value, ms(-60)) for value in states])
    await produce(topics["READINGS_PATIENTS_TOPIC"], [(b"7", b'{"patientId":7,"zipCode":"19137"}', ms(-60))])
    given = [envelope(deviceId=1, taken=NOON + timedelta(seconds=n)) for n in range(20)]
    given += [given[0], envelope(deviceId=1, heartRate=99), envelope(deviceId=2), envelope(deviceId=9), b"junk", b"{}"]
    await produce(topics["READINGS_RAW_TOPIC"], [(b"%d" % n, value, ms(n), n % 2) for n, value in enumerate(given)])
    env = environment(url, broker, topics)
    assert (await run(env, "consume", "--until-caught-up"))[0] == 0
    file = tmp_path / "registry.ndjson"
    file.write_bytes(b'{"deviceId":3,"deviceIdentifiers":[{"value":"A"}]}\n{"patientId":7,"customerId":1}\nno json\n')
    assert (await run(env, "registry", "load", str(file)))[0] == 0
    await produce(topics["READINGS_RAW_TOPIC"], [(b"1", given[0], ms(60), 0)] * 3)
    return env


@pytest.mark.thorough
async def test_every_number_is_the_one_that_counting_gives(migrated, broker, topics, produce, tmp_path):
    env = await consumed(migrated, broker, topics, produce, tmp_path)
    said = await status(env)
    assert said["readings"] == (await fetch(migrated, "SELECT count(*) FROM readings"))[0][0] == 20
    assert said["rejections"] == {
        "malformed": 3, "unknown_reading_type": 1, "unknown_device": 1, "device_decommissioned": 1, "duplicate": 1, "conflicting_duplicate": 1,
    }  # fmt: skip
    assert said["rejections"] == dict(await fetch(migrated, "SELECT reason::text, count(*) FROM rejections GROUP BY 1"))
    counted = await fetch(
        migrated,
        """SELECT source, source_partition, next_offset,
                  (SELECT count(*) FROM readings r WHERE (r.source_id, r.source_partition) = (p.source_id, p.source_partition)),
                  (SELECT count(*) FROM rejections r WHERE (r.source_id, r.source_partition) = (p.source_id, p.source_partition)),
                  (SELECT count(*) FROM device_states r WHERE (r.source_id, r.source_partition) = (p.source_id, p.source_partition))
                  + (SELECT count(*) FROM patient_states r WHERE (r.source_id, r.source_partition) = (p.source_id, p.source_partition))
           FROM source_positions p JOIN sources USING (source_id) ORDER BY 1, 2""",
    )
    assert [
        (
            one["source"],
            one["partition"],
            one["position"],
            one["readings"],
            sum(one["rejections"].values()),
            one["states"],
        )
        for one in said["partitions"]
    ] == counted
    assert len(counted) == 5
    registry = said["registry"]
    assert registry.pop("version") == (await fetch(migrated, "SELECT version FROM registry_version"))[0][0]
    assert registry == {"devices": 3, "device_states": 3, "patients": 1, "patient_states": 2, "identifiers": 1}


@pytest.mark.thorough
async def test_the_lag_is_what_came_since(migrated, broker, topics, produce, tmp_path):
    said = await status(await consumed(migrated, broker, topics, produce, tmp_path))
    lags = {(one["source"], one["partition"]): (one["high_water"], one["lag"]) for one in said["partitions"]}
    archive = lags.pop(next(place for place in lags if place[0].startswith("archive:")))
    raw, devices, patients = (f"kafka:{topic}" for topic in topics.values())
    assert lags == {(raw, 0): (16, 3), (raw, 1): (13, 0), (devices, 0): (3, 0), (patients, 0): (1, 0)}
    assert archive == (None, None)
    assert said["broker"]["faults"] == []


async def test_partitions_that_nobody_has_begun_are_told(migrated, broker, topics, produce):
    await produce(topics["READINGS_RAW_TOPIC"], [(b"1", b"{}", ms(0), 1)] * 5)
    said = await status(environment(migrated, broker, topics))
    raw = f"kafka:{topics['READINGS_RAW_TOPIC']}"
    assert [one for one in said["partitions"] if one["source"] == raw] == [
        {"source": raw, "partition": 0, "high_water": 0, "lag": None, "behind_s": None, "position": None},
        {"source": raw, "partition": 1, "high_water": 5, "lag": None, "behind_s": None, "position": None},
    ]
    assert (said["readings"], said["rejections"]) == (0, {})
    _, out, _ = await run(environment(migrated, broker, topics), "status")
    assert [line.split() for line in out.splitlines() if line.startswith(raw)][1] == [
        raw, "1", "not", "begun", "5", "-", "-", "-", "-", "-", "-", "-", "-",
    ]  # fmt: skip


async def test_what_is_missing_repeated_or_expired_is_no_reading(migrated):
    """The derivation is conservation itself: it holds whatever the counters hold."""
    connection = await asyncpg.connect(migrated)
    await connection.execute(
        """INSERT INTO sources (source, holds) VALUES ('kafka:old', 'readings');
           INSERT INTO source_positions (source_id, source_partition, first_offset, next_offset, repeated, expired, missing)
           VALUES (1, 0, 100, 160, 3, 40, 7);
           INSERT INTO source_gaps (source_id, source_partition, first_offset, next_offset, kind)
           VALUES (1, 0, 110, 115, 'truncated'), (1, 0, 120, 121, 'marker'), (1, 0, 130, 131, 'marker');
           INSERT INTO rejections (source_id, source_partition, source_offset, reason, payload)
           SELECT 1, 0, n, 'malformed', '' FROM generate_series(150, 157) n"""
    )
    await connection.close()
    said = await status(away(migrated))
    (partition,) = said["partitions"]
    assert (partition["readings"], said["readings"]) == (60 - 3 - 40 - 7 - 8, 2)
    assert partition["gaps"] == {"marker": 2, "truncated": 5}
    assert (partition["repeated"], said["repeated"], partition["expired"], said["expired"]) == (3, 3, 40, 40)
    _, out, _ = await run(away(migrated), "status")
    (line,) = (line.split() for line in out.splitlines() if line.startswith("kafka:old"))
    readings, rejections, states, repeated, expired = map(int, line[6:11])
    assert (readings, rejections, states, repeated, expired) == (2, 8, 0, 3, 40)
    assert line[11:] == ["2", "marker", "5", "truncated"]
    assert readings + rejections + states + repeated + expired + 2 + 5 == 160 - 100
    assert [line.split() for line in out.splitlines()[-2:]] == [["repeated", "3"], ["expired", "40"]]


def away(url: str, **more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("READINGS_")}
    ours = {
        "READINGS_DATABASE_URL": url,
        "READINGS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "READINGS_CONNECT_TIMEOUT_S": "3",
    }
    return {**inherited, **ours, **more}


async def test_a_broker_that_is_away_is_said_in_a_line_and_fails_nothing(migrated):
    code, out, _ = await run(away(migrated), "status")
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("broker")] == [
        "broker       the broker cannot be reached (KafkaConnectionError)"
    ]
    assert (await status(away(migrated)))["broker"] == {
        "faults": ["the broker cannot be reached (KafkaConnectionError)"], "raw_topic_timestamp_type": None,
    }  # fmt: skip


async def test_a_broker_that_takes_the_call_and_says_nothing_is_waited_for_only_so_long(migrated):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = "{}:{}".format(*silent.getsockname())
        env = away(migrated, READINGS_KAFKA_BOOTSTRAP_SERVERS=address, READINGS_CONNECT_TIMEOUT_S="2")
        began = time.monotonic()
        code, out, _ = await run(env, "status")
    assert (code, time.monotonic() - began < 10) == (0, True)
    assert "broker       the broker did not answer within 2 s" in out


async def test_a_missing_topic_is_said_and_the_others_are_told(migrated, broker, topics):
    said = await status(environment(migrated, broker, {**topics, "READINGS_PATIENTS_TOPIC": "no-such-topic"}))
    assert said["broker"]["faults"] == [
        "the broker has no topic no-such-topic; create it or name another in READINGS_*_TOPIC"
    ]
    assert {one["source"] for one in said["partitions"]} == {
        f"kafka:{topics[f'READINGS_{name}_TOPIC']}" for name in ("RAW", "DEVICES")
    }


@pytest.mark.parametrize("kind", ["CreateTime", "LogAppendTime", None])
async def test_a_raw_topic_with_the_senders_clock_is_warned_of(migrated, broker: EmbeddedBroker, topics, kind):
    """Tansu tells only what was set; then, and on a broker that does not answer, it is unknown."""
    topic = f"raw-{kind}-{time.monotonic_ns()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs={"message.timestamp.type": kind} if kind else {})])
    await admin.close()
    env = environment(migrated, broker, {**topics, "READINGS_RAW_TOPIC": topic})
    said, (_, out, _) = await status(env), await run(env, "status")
    assert said["broker"]["raw_topic_timestamp_type"] == kind
    assert [("CreateTime" in warning) for warning in said["warnings"]] == ([True] if kind == "CreateTime" else [])
    assert {
        "CreateTime": f"warning      {topic} has message.timestamp.type CreateTime: readings count as received",
        "LogAppendTime": f"clock        {topic} has message.timestamp.type LogAppendTime",
        None: f"clock        the broker does not tell the message.timestamp.type of {topic}: unknown",
    }[kind] in out


async def test_versions_schema_and_law_are_told(migrated):
    said = await status(away(migrated))
    assert [one["name"] for one in said["migrations"]] == [migration.name for migration in migrations()]
    assert (said["tzdb"], said["zip_table"], said["product"]) == (tzdb_version(), table_zones().version, "0.1.0")
    assert (said["law"]["matches"], said["law"]["differences"]) == (True, [])
    assert dict(await fetch(migrated, "SELECT name, value FROM law_parameters")) == said["law"]["stored"]


async def test_another_law_than_the_stored_one_is_told_and_fails_nothing(migrated):
    env = away(migrated, READINGS_BLOCKED_STATUSES="decommissioned,lost")
    said, (_, out, _) = await status(env), await run(env, "status")
    assert (said["law"]["matches"], said["law"]["differences"]) == (
        False,
        [{"name": "blocked_statuses", "here": "decommissioned,lost", "stored": "decommissioned"}],
    )
    assert "blocked_statuses is decommissioned,lost here, but what is stored was judged with decommissioned" in out


async def test_without_a_schema_it_is_exit_2(database):
    assert await run(away(database), "status") == (
        2,
        "",
        "readings: the database has no schema yet; run: readings migrate\n",
    )


async def test_an_older_schema_is_exit_2(migrated):
    await fetch(migrated, "DELETE FROM schema_migrations WHERE number >= 4")
    assert await run(away(migrated), "status") == (
        2,
        "",
        "readings: the schema lacks 0004_views; run: readings migrate\n",
    )


async def test_without_a_database_it_is_exit_1_in_time():
    began = time.monotonic()
    env = away("postgresql://u:secret@127.0.0.1:1/x", READINGS_CONNECT_TIMEOUT_S="1", READINGS_LOG_LEVEL="error")
    code, out, err = await run(env, "status")
    assert (code, out, err) == (1, "", "readings: the database was not reached within 1 s\n")
    assert time.monotonic() - began < 6


async def test_a_database_that_takes_the_call_and_says_nothing_is_waited_for_only_so_long():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = away(f"postgresql://u:secret@127.0.0.1:{silent.getsockname()[1]}/x", READINGS_CONNECT_TIMEOUT_S="1")
        began = time.monotonic()
        code, _, err = await run(env, "status")
    assert (code, time.monotonic() - began < 6) == (1, True)
    assert "readings: the database was not reached within 1 s" in err


async def test_every_table_and_view_says_what_it_is_for(migrated):
    """`\\d+` is where an analyst looks first."""
    bare = await fetch(
        migrated,
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')"
        " AND obj_description(oid, 'pg_class') IS NULL",
    )
    assert bare == []
