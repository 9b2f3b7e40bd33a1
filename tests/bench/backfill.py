"""`readings backfill` from NDJSON, gzip and Parquet, by one worker and by two.

Four files hold the readings, one of a hundred of them sent again. What the same command needs for four files of one
reading each is taken off: the start of the processes and the registry.
"""

import gzip
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.found import Found, Row, Target, medians
from tests.bench.machine import processor_s, spent
from tests.bench.parts import TIMEOUT_S, Parts
from tests.bench.registry_tables import load_registry
from tests.bench.run import Asked, interleaved, progress, run
from tests.bench.traffic import Fleet, Message
from tests.service import readings as command

FILES, RESENT = 4, 0.01
WORKERS = (1, 2)
PER_S = 80_000
"""The target, of gzip NDJSON by two workers."""


async def measured(parts: Parts, asked: Asked) -> Found:
    fleet, rows = Fleet(asked.devices), dict[tuple[str, int], list[Row]]()
    with TemporaryDirectory() as folder:
        archives, ones = Path(folder, "archives"), Path(folder, "ones")
        progress("writing the archives")
        every = list(fleet.readings(asked.readings, resent=RESENT))
        share = -(-len(every) // FILES)
        contents = [every[first : first + share] for first in range(0, len(every), share)]
        for name, write in WRITERS.items():
            _write(archives / name, name, write, contents)
            _write(ones / name, name, write, [content[:1] for content in contents])
        sizes = {name: sum(file.stat().st_size for file in (archives / name).iterdir()) for name in WRITERS}
        for name, workers in interleaved(asked.runs, [(name, workers) for name in WRITERS for workers in WORKERS]):
            progress(f"{name}, {workers} workers")
            start = await _backfilled(parts, fleet, ones / name, workers, count=len(contents))
            whole = await _backfilled(parts, fleet, archives / name, workers, count=asked.readings)
            net = {cost: spent(whole[cost], start[cost]) for cost in whole}
            rows.setdefault((name, workers), []).append({
                "from": name,
                "workers": workers,
                "B a reading": round(sizes[name] / asked.readings),
                "per_s": round(asked.readings / max(net["seconds"], 0.001)),
                "process_us": round(net["processes_s"] * 1e6 / asked.readings, 2),
                "database_us": net["database_s"] and round(net["database_s"] * 1e6 / asked.readings, 2),
                "start_s": round(start["seconds"], 2),
            })  # fmt: skip
    found = {case: medians(runs) for case, runs in rows.items()}
    target = Target("readings/s from gzip NDJSON by two workers", found["gzip", 2]["per_s"], PER_S, at_most=False)
    return Found({"backfill": list(found.values())}, [target])


async def _backfilled(parts: Parts, fleet: Fleet, folder: Path, workers: int, *, count: int) -> Row:
    """Seconds and processor seconds of the command as a whole, into a fresh database."""
    async with parts.database() as url:
        await load_registry(url, fleet)
        env = {**os.environ, "READINGS_DATABASE_URL": url, "READINGS_DATABASE_TIMEOUT_S": str(TIMEOUT_S)}
        before, server, began = _children_s(), processor_s(parts.database_pid), time.monotonic()
        async with command("backfill", str(folder), "--workers", str(workers), "--json", env=env) as process:
            code, out, err = await process.ended()
        cost = {
            "seconds": time.monotonic() - began,
            "processes_s": _children_s() - before,
            "database_s": spent(processor_s(parts.database_pid), server),
        }
    assert code == 0, err
    report = json.loads(out)
    taken = report["readings"] + sum(report["rejected"].values())
    assert taken == count, f"{taken} of {count} were taken"
    return cost


def _children_s() -> float:
    """Processor seconds of every process that was started here, or by one that was, and has ended."""
    told = resource.getrusage(resource.RUSAGE_CHILDREN)
    return told.ru_utime + told.ru_stime


# --- the archives ---------------------------------------------------------------------------------------------------


def _write(folder: Path, name: str, write: Callable[[Path, Sequence[Message]], None], contents: list) -> None:
    folder.mkdir(parents=True)
    for number, content in enumerate(contents):
        write(folder / f"{number}.{name}", content)


def _lines(content: Sequence[Message]) -> Iterator[bytes]:
    for _, received_ms, value in content:
        received_at = datetime.fromtimestamp(received_ms / 1000, UTC).isoformat(timespec="milliseconds")
        yield b'{"receivedAt":"%s",%s\n' % (received_at.encode(), value[1:])


def _ndjson(path: Path, content: Sequence[Message]) -> None:
    path.write_bytes(b"".join(_lines(content)))


def _gzip(path: Path, content: Sequence[Message]) -> None:
    with gzip.open(path, "wb", compresslevel=6) as file:
        file.write(b"".join(_lines(content)))


def _parquet(path: Path, content: Sequence[Message]) -> None:
    received = pa.array([message.received_ms for message in content], pa.timestamp("ms", "UTC"))
    envelopes = pa.array([message.value.decode() for message in content], pa.string())
    pq.write_table(pa.table({"receivedAt": received, "envelope": envelopes}), path, row_group_size=50_000)


WRITERS = {"ndjson": _ndjson, "gzip": _gzip, "parquet": _parquet}


if __name__ == "__main__":
    sys.exit(run("backfill", __doc__, measured))
