"""Memory of `readings backfill` while it reads an archive of many gigabytes, packed with Zstandard.

The real command and the embedded PostgreSQL. Each line carries an unknown field, so that the archive is large and the
database is not what is measured. Exits 1 when the process grew past the limit.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from backports import zstd

from enrich.law import Law
from enrich.zones import table_zones
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.law_parameters import adopt_parameters, parameters
from sinks.database import Database
from sinks.migrate import migrate
from tests.archives import environment
from tests.bench.memory import LIMIT_MB, peaks, watch
from tests.bench.traffic import Fleet
from tests.service import readings

_DEVICES = 2_000


@dataclass(frozen=True)
class Run:
    """What it took; a MB is 2**20 bytes, a GB 2**30."""

    records: int
    unpacked_gb: float
    seconds: float
    """Of one process, its start-up and the first reading through of the file included."""
    records_per_s: int
    rss_mb: dict[str, float]
    """The greatest so far when this many hundredths of the seconds had passed."""
    peak_rss_mb: float


def archive_lines(count: int, bytes_a_line: int) -> Iterator[bytes]:
    """Readings of the fleet, each received when it says, filled up to that length."""
    for _, received_ms, value in Fleet(_DEVICES).readings(count):
        at = datetime.fromtimestamp(received_ms / 1000, UTC).isoformat().encode()
        begin = b'{"receivedAt":"%s",' % at
        filling = b'"note":"%s",' % (b"." * max(0, bytes_a_line - len(begin) - len(value) - 12))
        yield begin + filling + value[1:] + b"\n"


def write(path: Path, count: int, bytes_a_line: int) -> int:
    """How many bytes the archive holds."""
    size = 0
    with zstd.open(path, "wb") as file:
        for line in archive_lines(count, bytes_a_line):
            size += file.write(line)
    return size


async def run(url: str, folder: Path, *, count: int, bytes_a_line: int, dry_run: bool = False) -> Run:
    """Let the command store, in the migrated, empty database at `url`, an archive of so many readings."""
    registry, archive = folder / "registry.ndjson", folder / "archive.ndjson.zst"
    fleet = Fleet(_DEVICES)
    states = (*fleet.device_states(), *fleet.patient_states())
    registry.write_bytes(b"".join(state.value + b"\n" for state in states))
    size = await asyncio.to_thread(write, archive, count, bytes_a_line)
    env = environment(url, BATCH_RECORDS=5_000)
    async with readings("registry", "load", str(registry), env=env) as process:
        assert (await process.ended())[0] == 0
    began = time.monotonic()
    arguments = ("backfill", "--json", str(archive), *(["--dry-run"] if dry_run else []))
    async with readings(*arguments, env=env) as process:
        watched = await watch(process.process.pid)
        code, out, err = await process.ended()
    seconds = time.monotonic() - began
    assert code == 0, err
    said = json.loads(out)
    assert said["readings"] + sum(said["rejected"].values()) == count, said
    rss_mb = peaks(watched)
    return Run(count, round(size / 2**30, 2), round(seconds, 1), round(count / seconds), rss_mb, rss_mb["rss_mb_100"])


async def _measured(count: int, bytes_a_line: int, *, dry_run: bool) -> Run:
    with EmbeddedPostgres() as server, tempfile.TemporaryDirectory() as folder:
        database = Database(server.url, timeout_s=30)
        await migrate(database)
        await adopt_parameters(database, parameters(Law(), table_zones()))
        await database.close()
        return await run(server.url, Path(folder), count=count, bytes_a_line=bytes_a_line, dry_run=dry_run)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.backfill_memory", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--readings", type=int, default=1_000_000)
    parser.add_argument("--bytes-a-line", type=int, default=10_800)
    parser.add_argument("--dry-run", action="store_true", help="only judge them")
    asked = parser.parse_args()
    found = asyncio.run(_measured(asked.readings, asked.bytes_a_line, dry_run=asked.dry_run))
    for name, figure in asdict(found).items():
        print(f"{name:24} {figure}")
    print(f"{'within' if found.peak_rss_mb <= LIMIT_MB else 'OVER'} the limit of {LIMIT_MB} MB")
    return int(found.peak_rss_mb > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())
