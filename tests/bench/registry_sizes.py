"""What the size of the registry costs a consumer: its start, its memory, and each reading.

Each device has an identifier and two states, and a patient of its own with one. A process learns of a device when its first
reading comes: those first readings, one of each device, are what it warms up with.
"""

import sys
from dataclasses import asdict

from tests.bench.found import Found, Row, Target, medians, ratio
from tests.bench.parts import Parts
from tests.bench.passage import START_WITHIN_S, consumed
from tests.bench.registry_tables import load_registry
from tests.bench.run import Asked, progress, run
from tests.bench.traffic import Fleet

LIMITS_MB = {100_000: 300, 1_000_000: 1_024}
START_S = 10
FLAT = 1.2
"""The cost of a reading with the largest registry beside that with the smallest."""
FIGURES = ("start_s", "start_rss_mb", "peak_rss_mb", "warming_up_us", "process_us", "database_us", "per_s")
LARGE = 1_000_000
"""From here on one run has to do."""


async def measured(parts: Parts, asked: Asked) -> Found:
    rows, targets = [], []
    for devices in asked.registries:
        runs = []
        for number in range(1 if devices >= LARGE else asked.runs):
            progress(f"{devices:,} devices, run {number + 1}")
            runs.append(await _one(parts, devices, asked.readings))
        row = medians(runs)
        rows.append(row)
        targets.append(Target(f"start with {devices:,} devices, s", row["start_s"], START_S))
        if devices in LIMITS_MB and row["peak_rss_mb"] is not None:
            targets.append(Target(f"memory with {devices:,} devices, MB", row["peak_rss_mb"], LIMITS_MB[devices]))
    grown = ratio(rows[-1]["process_us"], rows[0]["process_us"])
    if grown is not None:
        targets.append(
            Target(f"a reading's cost, {asked.registries[-1]:,} devices / {asked.registries[0]:,}", grown, FLAT)
        )
    return Found({"by size of the registry": rows}, targets)


async def _one(parts: Parts, devices: int, count: int) -> Row:
    fleet = Fleet(devices, held_of_ten=10, states=2)
    count += devices
    async with parts.database() as url, parts.published(fleet.readings(count), partitions=4) as topic:
        await load_registry(url, fleet)
        try:
            found = asdict(await consumed(parts, url, topic, count=count, warming_up=devices))
        except TimeoutError:
            progress(f"{devices:,} devices: not ready within {START_WITHIN_S} s")
            found = {"start_s": float(START_WITHIN_S)}
    return {"devices": devices, **{figure: found.get(figure) for figure in FIGURES}}


if __name__ == "__main__":
    sys.exit(run("registry_sizes", __doc__, measured))
