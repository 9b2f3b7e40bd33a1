"""Disks that really fill: a clear line each, nothing lost, nothing half told."""

import asyncio
import gzip
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from tests.archives import backfill, conserved, environment, fetch, file, line, lines, run
from tests.conftest import execute
from tests.service import readings

pytestmark = pytest.mark.thorough

MB = 1_048_576


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A file system of its own, of 64 MB."""
    folder.mkdir()
    try:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], capture_output=True).returncode:
            pytest.skip("a disk that is small enough to fill: to mount one here needs root")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)
    finally:
        folder.rmdir()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk") as folder:
        yield folder


def leave(disk: Path, size: int) -> Path:
    """A file that takes all the room of the disk but so many bytes."""
    ballast = disk / "ballast"
    found = os.statvfs(disk)
    ballast.write_bytes(bytes(found.f_bavail * found.f_frsize - size))
    return ballast


async def test_a_copy_that_does_not_fit_is_not_taken_in_part(clinic, tmp_path, small_disk):
    """Of an object, or of a pipe: what fits would be another content, and be stored under its own name."""
    leave(small_disk, MB)
    whole = file(tmp_path, "in/a.ndjson", lines(0, 8_000))
    assert whole.stat().st_size > MB
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for name in (f"file://{whole}", str(pipe)):
        writing = await asyncio.create_subprocess_shell(f"cat {whole} > {pipe}" if name == str(pipe) else "true")
        async with readings("backfill", name, env=environment(clinic) | {"TMPDIR": str(small_disk)}) as process:
            code, _, err = await process.ended()
        await writing.wait()
        why = (
            f"it cannot be copied to the temporary folder {small_disk} (TMPDIR names another): No space left on device"
        )
        assert (code, err.splitlines()[-1]) == (1, f"readings: {name}: {why}")
    assert await fetch(clinic, "SELECT count(*) FROM sources WHERE holds = 'readings'") == [(0,)]


async def test_a_dry_run_that_needs_more_room_says_so(clinic, tmp_path, small_disk):
    leave(small_disk, MB)
    path = file(tmp_path, "in/a.ndjson.gz", gzip.compress(lines(0, 12_000)))
    env = environment(clinic, BATCH_RECORDS=5_000) | {"SQLITE_TMPDIR": str(small_disk)}
    async with readings("backfill", "--dry-run", str(path), env=env) as process:
        code, _, err = await process.ended()
    assert (code, err.splitlines()[-1]) == (
        1,
        "readings: the temporary folder has no room for what the dry run keeps (SQLITE_FULL); SQLITE_TMPDIR names another",
    )


@pytest.fixture
async def small_database(postgres_server: EmbeddedPostgres, migrated_template: str) -> AsyncIterator[tuple[str, Path]]:
    """A database with the schema on a small disk, while the server's own folder is elsewhere; and the disk."""
    name = f"small_{secrets.token_hex(6)}"
    with mounted(postgres_server.folder / name) as disk:
        owner = (postgres_server.folder / "data").stat()
        for folder in (disk, disk / "space"):
            folder.mkdir(exist_ok=True)
            os.chown(folder, owner.st_uid, owner.st_gid)
        await execute(postgres_server.url, f"CREATE TABLESPACE {name} LOCATION '{disk / 'space'}'")
        await execute(postgres_server.url, f"CREATE DATABASE {name} TEMPLATE {migrated_template} TABLESPACE {name}")
        try:
            yield urlsplit(postgres_server.url)._replace(path=f"/{name}").geturl(), disk
        finally:
            (disk / "ballast").unlink(missing_ok=True)
            await execute(postgres_server.url, f"DROP DATABASE {name} WITH (FORCE)")
            await execute(postgres_server.url, f"DROP TABLESPACE {name}")


async def test_a_database_whose_disk_is_full_keeps_what_it_has_and_goes_on_with_more_room(small_database, tmp_path):
    url, disk = small_database
    registry = file(tmp_path, "registry.ndjson", b'{"deviceId":1,"patientId":7,"currentStatus":"withPatient"}\n')
    assert (await run(url, "registry", "load", registry))[0] == 0
    ballast = leave(disk, MB)
    path = file(tmp_path, "a.ndjson", lines(0, 20_000) + b"no json\n" + line(1))
    code, out, err = await run(url, "backfill", path, BATCH_RECORDS=500, CONNECT_TIMEOUT_S=2)
    assert (code, "SQLSTATE 53100" in err.splitlines()[-1]) == (1, True), err
    ((stood,),) = await fetch(url, "SELECT count(*) FROM readings")
    assert 0 < stood < 20_000
    assert str(stood) in out
    assert await conserved(url)
    ballast.unlink()
    said = await backfill(url, path, BATCH_RECORDS=500)
    assert (said["readings"], said["already_there"]) == (20_000 - stood, stood)
    assert said["rejected"] == {"malformed": 1, "duplicate": 1}
    assert await conserved(url)
