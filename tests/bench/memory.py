"""Memory and processor time of `readings consume` while it catches up with all that waits, the registry included.

The whole process from its start to its end, and nothing loaded beforehand: it takes the registry from its topics, then
the readings, all of which were published before it started, so that nothing but itself holds it back.
"""

import asyncio
import sys
import time

import psutil

from tests.bench.found import Found, Row, Target, medians
from tests.bench.machine import processor_s, spent
from tests.bench.parts import Parts
from tests.bench.passage import environment, stands
from tests.bench.run import Asked, progress, run
from tests.bench.traffic import Fleet
from tests.service import readings

LIMIT_MB = 300
_SAMPLE_EVERY_S = 0.02


async def measured(parts: Parts, asked: Asked) -> Found:
    rows = []
    for number in range(asked.runs):
        progress(f"run {number + 1}")
        async with parts.database() as url:
            rows.append(await caught_up(parts, url, count=asked.readings, devices=asked.devices))
    row = medians(rows)
    return Found({"catching up": [row]}, [Target("memory, MB", row["rss_mb_100"], LIMIT_MB)])


async def caught_up(parts: Parts, url: str, *, count: int, devices: int, partitions: int = 4) -> Row:
    """What it took until `count` readings were in the migrated, empty database at `url`."""
    fleet = Fleet(devices)
    async with parts.topics(raw=partitions, devices=1, patients=1) as (raw, device_states, patient_states):
        await parts.publish(device_states, fleet.device_states(), partitions=1)
        await parts.publish(patient_states, fleet.patient_states(), partitions=1)
        await parts.publish(raw, fleet.readings(count), partitions=partitions)
        env = environment(parts, url, raw, devices=device_states, patients=patient_states)
        before, began = (processor_s(parts.database_pid), processor_s(parts.broker_pid)), time.monotonic()
        async with readings("consume", "--until-caught-up", env=env) as service:
            watched = await watch(service.process.pid)
            code, _, err = await service.ended()
        seconds = time.monotonic() - began
        assert code == 0, err
        servers = [
            spent(processor_s(pid), then)
            for pid, then in zip((parts.database_pid, parts.broker_pid), before, strict=True)
        ]
    stored, set_aside = await stands(url)
    assert stored + set_aside == count, f"{stored} stored and {set_aside} set aside of {count}"
    return {
        "readings": count,
        "stored": stored,
        "set_aside": set_aside,
        "seconds": round(seconds, 1),
        **peaks(watched),
        "process_us": round(watched[-1][2] * 1e6 / count, 1),
        **{
            f"{name}_us": None if took is None else round(took * 1e6 / count, 1)
            for name, took in zip(("database", "broker"), servers, strict=True)
        },
    }


async def watch(pid: int) -> list[tuple[float, float, float]]:
    """When, resident MB and processor seconds, again and again until the process has ended."""
    process, seen = psutil.Process(pid), []
    while True:
        try:
            with process.oneshot():
                told = process.cpu_times()
                resident = process.memory_info().rss / 2**20
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return seen
        if resident == 0:  # it has ended and nobody has asked for its exit code yet
            return seen
        seen.append((time.monotonic(), resident, told.user + told.system))
        await asyncio.sleep(_SAMPLE_EVERY_S)


def peaks(watched: list[tuple[float, float, float]]) -> dict[str, float]:
    """The greatest so far when so many hundredths of the seconds had passed; a MB is 2**20 bytes."""
    began, ended = watched[0][0], watched[-1][0]
    return {
        f"rss_mb_{share}": round(max(rss for at, rss, _ in watched if at <= began + (ended - began) * share / 100), 1)
        for share in (10, 50, 100)
    }


if __name__ == "__main__":
    sys.exit(run("memory", __doc__, measured))
