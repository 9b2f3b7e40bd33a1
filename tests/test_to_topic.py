"""Archives that are published to the backfill topic and stored by consumers: the same rows as a run of the files."""

import asyncio
import json
import secrets
import signal
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from hypothesis import given
from hypothesis import strategies as st

from enrich.zones import table_zones
from ingest.backfill import Outcome
from ingest.backfill_run import Report
from ingest.carried import address_of, headers_of
from ingest.consume import Consumer
from ingest.settings import Settings
from schemas.record import Place, Record
from sinks.carried import AWAITED, Run, after, runs_of
from sinks.errors import CollisionError
from sinks.ledger import FILTERED, Gap
from tests import archives
from tests.archives import conserved, fetch, file, line, lines
from tests.build import NOON, envelope, rfc3339
from tests.conftest import Broker, MakeTopics, fresh_database, on_both_brokers
from tests.histories import history
from tests.service import environment, readings

pytestmark = pytest.mark.thorough

HASH = "ab" * 32


@dataclass(frozen=True)
class World:
    """A database that knows device 1, and a broker with a backfill topic of some partitions."""

    url: str
    env: dict[str, str]
    topic: str

    @property
    def settings(self) -> dict[str, str]:
        ours = {name: value for name, value in self.env.items() if name.startswith("READINGS_")}
        return {name.removeprefix("READINGS_").lower(): value for name, value in ours.items()}

    async def run(self, *arguments: object, **settings: object) -> tuple[int, str, str]:
        """A command, as an operator would run it."""
        env = self.env | {f"READINGS_{name}": str(value) for name, value in settings.items()}
        async with readings(*map(str, arguments), env=env) as process:
            code, out, err = await process.ended()
        return code, out, "".join(text for text in err.splitlines(keepends=True) if not text.startswith("backfill: "))

    async def publish(self, *paths: Path, **manner: Any) -> Outcome:
        """What became of all of them together."""
        return total(await archives.stored(self.url, *paths, to_topic=True, settings=self.settings, **manner))

    async def consume(self, replicas: int = 1) -> None:
        """Until all is stored that the topics hold."""
        settings = Settings(**self.settings)
        consumers = [Consumer(settings, table_zones(), asyncio.Event()) for _ in range(replicas)]
        await asyncio.gather(*(one.run(until_caught_up=True, accept_bad_input=True) for one in consumers))


def total(report: Report) -> Outcome:
    found = Outcome("all")
    for one in report.outcomes:
        found.records += one.records
        found.already_there += one.already_there
        found.left_out += one.left_out
        found.became.update(one.became)
    return found


@pytest.fixture
async def world(clinic: str, broker: Broker, make_topics: MakeTopics) -> World:
    raw, devices, patients, topic = await make_topics(raw=1, devices=1, patients=1, backfill=4)
    names = {"RAW": raw, "DEVICES": devices, "PATIENTS": patients, "BACKFILL": topic}
    topics = {f"READINGS_{name}_TOPIC": value for name, value in names.items()}
    env = environment(clinic, broker, topics, LOG_LEVEL="error", BATCH_RECORDS=100, CONNECT_TIMEOUT_S=60)
    return World(clinic, env, topic)


ROWS = """
    SELECT s.source, to_jsonb(t) - 'source_id' AS row FROM {} t JOIN sources s USING (source_id)
    ORDER BY s.source, t.source_partition, t.source_offset"""


async def ledger(url: str) -> list[Any]:
    """Every row of readings, rejections and mentions, in every column, and how far each archive is taken."""
    found = [await fetch(url, ROWS.format(table)) for table in ("readings", "rejections")]
    found.append(await fetch(url, "SELECT * FROM unregistered_mentions ORDER BY 1, 2, 3"))
    positions = """SELECT source, source_partition, first_offset, next_offset, repeated, expired, missing
                   FROM source_positions JOIN sources USING (source_id) WHERE source LIKE 'archive:%' ORDER BY 1"""
    return [*found, await fetch(url, positions)]


def years(seed: int, count: int) -> bytes:
    """Readings of which some are refused for each reason, or stand twice, in no order of time."""
    rng = Random(seed)
    strange = [b"no json\n", b'{"type":"reading.ecg","payload":{}}\n', line(1, deviceId=9), line(2, heartRate="60"),
               line(3).replace(b'"receivedAt": "2026', b'"receivedAt": "26'), b'{"type":"reading.heartRate"}\n', b"\xff\n"]  # fmt: skip
    return b"".join(
        rng.choice(strange) if rng.random() < 0.1
        else envelope(taken=NOON + timedelta(minutes=rng.randrange(count))) + b"\n" if rng.random() < 0.05
        else line(rng.randrange(count), received=rng.randrange(100), heartRate=rng.choice((60, 61)))
        for _ in range(count)
    )  # fmt: skip


async def local(world: World, postgres_server: Any, template: str, *paths: Path) -> list[Any]:
    """The ledger of another database of the same clinic after a run of the files themselves."""
    async with fresh_database(postgres_server, template) as url:
        for path in [*sorted(paths[0].parent.parent.glob("registry/*"))]:
            assert (await archives.run(url, "registry", "load", path))[0] == 0
        await archives.stored(url, *paths)
        return await ledger(url)


@on_both_brokers
async def test_the_rows_are_those_of_a_run_of_the_files_themselves(world, tmp_path, postgres_server, migrated_template):
    """In every column, and so are positions and counts of the archives; published again, all of it is repeated."""
    paths = [file(tmp_path, f"in/{n}.ndjson", years(n, 2_500)) for n in range(2)]
    csv = b"type,receivedAt,readingTimestamp,deviceId,heartRate\n" + b"".join(
        b"reading.heartRate,2026-07-01T12:00:05Z,2026-07-01T%02d:30:00Z,1,%d\n" % (n, 60 + n) for n in range(20)
    )
    paths.append(file(tmp_path, "in/c.csv", csv))
    said = await world.publish(*paths)
    assert (said.records, said.already_there) == (5_020, 0)
    assert await fetch(world.url, "SELECT count(*) FROM readings") == [(0,)]
    await world.consume(replicas=2)
    due = await local(world, postgres_server, migrated_template, *paths)
    assert await ledger(world.url) == due
    assert await conserved(world.url)
    assert (await world.publish(*paths)).records == 0, "what stands is not published again"
    said = total(await archives.stored(world.url, *paths))
    assert (said.records, said.already_there) == (0, 5_020)


@pytest.mark.parametrize("seed", range(3))
async def test_a_history_comes_to_the_same(world, tmp_path, postgres_server, migrated_template, seed):
    """Devices and patients that the registry does not know are mentioned all the same."""
    values, _ = archives.archived(history(seed))
    path = file(tmp_path, "in/a.ndjson", b"".join(value + b"\n" for value in values) + lines(0, 30))
    await world.publish(path)
    await world.consume()
    assert await ledger(world.url) == await local(world, postgres_server, migrated_template, path)


async def send(world: World, topic: str, records: list[tuple[bytes | None, list[tuple[str, bytes]]]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=world.env["READINGS_KAFKA_BOOTSTRAP_SERVERS"], acks="all")
    await producer.start()
    try:
        sent = [await producer.send(topic, value, partition=0, headers=headers) for value, headers in records]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


@on_both_brokers
async def test_headers_are_believed_in_the_backfill_topic_only_and_only_if_they_say_a_place(world):
    """Anything else is an ordinary record, at its place in its topic, received when the broker says so."""
    place = [("archive", HASH.encode()), ("record", b"7"), ("receivedAt", rfc3339(NOON).encode())]
    wrong = [
        [],
        place[:1],
        place[1:],
        [*place, ("record", b"8")],
        [("archive", b"x"), *place[1:]],
        *([place[0], ("record", number), place[2]] for number in (b"-1", b"", b"07", b"9" * 19, b"\xff", b"1.0")),
        [*place[:2], ("receivedAt", b"yesterday")],
        [*place[:2], ("receivedAt", b"\xff")],
    ]
    forged = [(envelope(taken=NOON + timedelta(minutes=n)), headers) for n, headers in enumerate(wrong)]
    await send(world, world.topic, [*forged, (envelope(taken=NOON - timedelta(days=1)), [("other", b""), *place])])
    await send(world, world.env["READINGS_RAW_TOPIC"], [(envelope(taken=NOON - timedelta(days=2)), place)])
    await world.consume()
    found = await fetch(
        world.url,
        """SELECT source, source_offset, reading_timestamp, received_at = '2026-07-01T12:00:00Z'
           FROM readings JOIN sources USING (source_id) ORDER BY 1, 2""",
    )
    assert found == [
        (f"archive:{HASH}", 7, NOON - timedelta(days=1), True),
        *((f"kafka:{world.topic}", n, NOON + timedelta(minutes=n), False) for n in range(len(wrong))),
        (f"kafka:{world.env['READINGS_RAW_TOPIC']}", 0, NOON - timedelta(days=2), False),
    ]
    assert await fetch(world.url, "SELECT first_offset, next_offset, kind FROM source_gaps") == [(0, 7, "awaited")]
    code, out, _ = await world.run("explain", f"archive:{HASH[:12]}", 0, 3)
    assert (code, "passed over by others that came through the backfill topic" in out) == (0, True)
    assert await conserved(world.url)


async def test_a_content_of_the_registry_is_no_archive_of_readings_whatever_a_header_says(world):
    ((source,),) = await fetch(world.url, "SELECT source FROM sources")
    headers = [("archive", source.removeprefix("archive:").encode()), ("record", b"0")]
    await send(world, world.topic, [(envelope(), headers)])
    await world.consume()
    assert await fetch(world.url, "SELECT source FROM readings JOIN sources USING (source_id)") == [
        (f"kafka:{world.topic}",)
    ]


async def test_windows_limits_and_runs_of_the_file_close_what_the_topic_left_open(world, tmp_path):
    """Whatever brings a record first; conserved at every step."""
    numbers = list(range(3_000))
    Random(5).shuffle(numbers)
    path = file(tmp_path, "in/a.ndjson", b"".join(line(n) for n in numbers))
    window = {"since": NOON + timedelta(minutes=1_000), "until": NOON + timedelta(minutes=2_000)}
    said = await world.publish(path, **window)
    assert (said.records, said.left_out) == (1_000, 2_000)
    await world.consume(replicas=2)
    assert await fetch(world.url, "SELECT count(*) FROM readings") == [(1_000,)]
    assert await conserved(world.url)
    said = total(await archives.stored(world.url, path, limit=500))
    assert (said.readings, said.already_there) == (500, 1_000)
    assert await conserved(world.url)
    assert (await world.publish(path, limit=700)).records == 700
    await world.consume()
    assert await conserved(world.url)
    said = total(await archives.stored(world.url, path, dry_run=True))
    assert (said.readings, said.already_there) == (800, 2_200)
    assert total(await archives.stored(world.url, path)).readings == 800
    assert await fetch(world.url, "SELECT count(*) FROM source_gaps") == [(0,)]
    assert await conserved(world.url)


async def test_refused_records_that_nobody_has_changed_are_counted_and_no_more(world, tmp_path):
    await archives.stored(world.url, file(tmp_path, "in/a.ndjson", line(1, heartRate="60") + b"junk\n" + lines(2, 4)))
    exported = tmp_path / "refused.ndjson"
    assert (await archives.run(world.url, "rejections", "export", "-o", exported))[0] == 0
    text = exported.read_text().replace('"heartRate": "60"', '"heartRate": 60')
    exported.write_text(text)
    code, out, err = await world.run("rejections", "replay", "--to-topic", "--json", exported)
    assert (code, json.loads(out)["published"]) == (0, 1), err
    await world.consume()
    name = f"archive:{sha256(text.encode()).hexdigest()}"
    ((_, *position),) = [row for row in (await ledger(world.url))[3] if row[0] == name]
    assert position == [0, 0, 2, 1, 0, 0]
    assert await fetch(world.url, "SELECT count(*) FROM readings") == [(3,)]
    assert await conserved(world.url)


async def test_the_same_file_given_every_way_at_once_stands_once(world, tmp_path, postgres_server, migrated_template):
    """Published twice over, run as a file twice, by three consumers: none waits for ever, none fails."""
    path = file(tmp_path, "in/a.ndjson", years(9, 6_000))
    await asyncio.gather(
        world.publish(path),
        world.publish(path, rate=4_000),
        archives.stored(world.url, path, settings={"batch_records": 50}),
        world.consume(replicas=3),
        archives.stored(world.url, path, settings={"batch_records": 70}),
    )
    await world.consume()
    assert await ledger(world.url) == await local(world, postgres_server, migrated_template, path)
    assert await conserved(world.url)


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=[pytest.mark.thorough, pytest.mark.timeout(1_500)])])
@on_both_brokers
async def test_publishers_and_consumers_killed_at_random(
    world, tmp_path, postgres_server, migrated_template, kills, broker
):
    """kill -9, whatever they were doing; some records are published many times over."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    rng = Random(seed)
    paths = [file(tmp_path, f"in/{n}.ndjson", years(seed + n, 2_500)) for n in range(2)]
    commands = [
        ("backfill", "--to-topic", "--rate", "3000", *map(str, paths)),
        ("consume", "--accept-bad-input"),
        ("consume", "--accept-bad-input"),
        ("backfill", "--accept-bad-input", *map(str, paths)),
    ]

    async def run_and_kill() -> None:
        command = rng.choice(commands)
        async with readings(*command, env=world.env | {"READINGS_BATCH_RECORDS": "37"}) as process:
            killer = asyncio.get_running_loop().call_later(rng.uniform(1, 3.5), process.send, signal.SIGKILL)
            code, _, err = await process.ended()
            killer.cancel()
        assert code in (0, -signal.SIGKILL), err

    for _ in range(0, kills, 2):
        await asyncio.gather(run_and_kill(), run_and_kill())
    await world.publish(*paths)
    await world.consume(replicas=2)
    assert await ledger(world.url) == await local(world, postgres_server, migrated_template, *paths)
    assert await conserved(world.url)


async def test_what_a_dry_run_publishes_is_nothing(world, tmp_path):
    path = file(tmp_path, "in/a.ndjson", lines(0, 30) + b"no json\n")
    said = await world.publish(path, dry_run=True)
    assert (said.readings, said.set_aside) == (30, {"malformed": 1})
    code, out, _ = await world.run("status", "--json")
    marks = {p["partition"]: p["high_water"] for p in json.loads(out)["partitions"] if world.topic in p["source"]}
    assert (code, marks) == (0, dict.fromkeys(range(4), 0))


async def test_status_and_explain_tell_of_it(world, tmp_path):
    path = file(tmp_path, "in/a.ndjson", lines(0, 2_500))
    code, out, err = await world.run("backfill", "--to-topic", path)
    assert (code, err) == (0, "")
    assert out.splitlines()[0].split() == ["file", "published", "already", "there", "left", "out"]
    assert out.splitlines()[1].split() == [str(path), "2500", "0", "0"]
    assert world.topic in out.splitlines()[2]

    async def partitions() -> list[dict[str, Any]]:
        _, told, _ = await world.run("status", "--json")
        return [one for one in json.loads(told)["partitions"] if one["source"] == f"kafka:{world.topic}"]

    assert sum(one["high_water"] for one in await partitions()) == 2_500
    await world.consume()
    found = await partitions()
    assert [(one["lag"], one["readings"], one["repeated"] - one["position"]) for one in found] == [(0, 0, 0)] * 4
    archive = f"archive:{sha256(path.read_bytes()).hexdigest()}"
    code, out, _ = await world.run("explain", "--json", archive, 0, 2_499)
    assert (code, json.loads(out)["became"]) == (0, "reading")
    taken = next(one["partition"] for one in found if one["position"])
    code, out, _ = await world.run("explain", "--json", world.topic, taken, 0)
    assert (code, json.loads(out)["became"]) == (0, "carrier")


async def test_it_says_what_is_missing(world, tmp_path, free_port):
    path = file(tmp_path, "in/a.ndjson", lines(0, 3))
    code, _, err = await world.run("backfill", "--to-topic", path, BACKFILL_TOPIC="")
    assert (code, err) == (2, "readings: READINGS_BACKFILL_TOPIC: needed for --to-topic, and of its consumers\n")
    code, _, err = await world.run("backfill", "--to-topic", path, BACKFILL_TOPIC="nowhere")
    assert (code, "the broker has no topic nowhere" in err) == (1, True)
    away = {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port}", "CONNECT_TIMEOUT_S": 2, "KAFKA_TIMEOUT_S": 1}
    code, _, err = await world.run("backfill", "--to-topic", path, **away)
    assert (code, err.splitlines()[-1]) == (1, "readings: the broker cannot be reached (KafkaConnectionError)")
    code, _, err = await world.run("backfill", path, BACKFILL_TOPIC=world.env["READINGS_RAW_TOPIC"])
    assert (code, "READINGS_BACKFILL_TOPIC: must be a topic of its own" in err) == (2, True)


async def test_archives_that_nobody_can_read_stop_their_own_line(world, tmp_path):
    """The live readings go on."""
    path = file(tmp_path, "in/a.ndjson", lines(0, 50) + b'{"type":"reading.heartRate","payload":{}}\n' * 400)
    await world.publish(path)
    await send(world, world.env["READINGS_RAW_TOPIC"], [(envelope(taken=NOON - timedelta(days=2)), [])])
    code, _, err = await world.run("consume", "--until-caught-up", STOP_LINE_WINDOW=200)
    assert (code, "--accept-bad-input" in err) == (1, True)
    code, _, err = await world.run("consume", "--until-caught-up", "--accept-bad-input", STOP_LINE_WINDOW=200)
    assert code == 0
    assert await fetch(world.url, "SELECT count(*) FROM readings") == [(51,)]
    assert await conserved(world.url)


async def test_live_readings_come_before_those_of_archives(world, tmp_path):
    """While more than a batch of them waits, each batch of an archive waits for them, but not for ever."""
    await world.publish(file(tmp_path, "in/a.ndjson", lines(0, 3_000)))
    live = [(envelope(taken=NOON - timedelta(minutes=n + 1)), []) for n in range(3_000)]
    await send(world, world.env["READINGS_RAW_TOPIC"], live)
    stop = asyncio.Event()
    consumer = Consumer(Settings(**world.settings), table_zones(), stop)
    running = asyncio.create_task(consumer.run())
    counts = "SELECT count(*) FILTER (WHERE source LIKE 'kafka:%'), count(*) FILTER (WHERE source LIKE 'archive:%') FROM readings JOIN sources USING (source_id)"
    archived = 0
    async with asyncio.timeout(120):
        while (now := (await fetch(world.url, counts))[0]) != (3_000, 3_000):
            archived = now[1] if now[0] < 2_900 else archived
            await asyncio.sleep(0.02)
    stop.set()
    await running
    assert archived < 1_000, "hardly any, before the live ones were stored"


# --- the parts -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**18 - 1), st.none() | st.datetimes().map(lambda at: at.replace(tzinfo=NOON.tzinfo)))
def test_headers_say_what_they_were_made_of(number, received_at):
    line = {} if received_at is None else {"receivedAt": received_at.isoformat()}
    record = Record(Place(f"archive:{HASH}", 0, number), None, json.dumps(line).encode())
    assert address_of(headers_of(record)) == (record.place, received_at)


@given(st.integers(0, 30), st.sets(st.integers(0, 30)), st.sets(st.integers(0, 40)), st.booleans())
def test_what_is_left_of_gaps_is_what_nobody_took(position, open_, numbers, forced):
    """Against sets of numbers."""
    open_ = {number for number in open_ if number < position}
    gaps = [Gap(run.begin, run.end, FILTERED) for run in runs_of(open_)]
    free = open_ | {number for number in numbers if number >= position}
    numbers = numbers & free if not forced else numbers
    runs = runs_of(numbers)
    touched = [gap for gap in gaps if any(gap.first_offset < r.end and gap.next_offset > r.begin for r in runs)]
    if not numbers <= free:
        with pytest.raises(CollisionError):
            after(position, touched, runs)
        return
    next_offset, left = after(position, touched, runs)
    assert next_offset == max([position, *(number + 1 for number in numbers)])
    stay = [gap for gap in gaps if gap not in touched]
    still = {number for gap in [*stay, *left] for number in range(gap.first_offset, gap.next_offset)}
    assert still == (open_ | set(range(position, next_offset))) - numbers
    assert sum(gap.next_offset - gap.first_offset for gap in [*stay, *left]) == len(still)
    assert all(gap.kind == (FILTERED if gap.first_offset < position else AWAITED) for gap in left)


def test_runs():
    assert runs_of([5, 3, 4, 9, 3]) == [Run(3, 6), Run(9, 10)]
    assert runs_of([]) == []
