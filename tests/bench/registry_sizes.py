"""What the size of the registry costs a consumer: its start, its memory, and each reading.

Each device has an identifier and two states, and a patient of its own with one.
"""

import sys

from tests.bench.found import Found, Row, Target, medians, ratio
from tests.bench.parts import Parts
from tests.bench.passage import consumed
from tests.bench.registry_tables import load_registry
from tests.bench.run import Asked, progress, run
from tests.bench.traffic import Fleet

LIMITS_MB = {100_000: 300, 1_000_000: 1_024}
START_S = 10
FLAT = 1.2
"""The cost of a reading with the largest registry beside that with the smallest."""
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
        if devices in LIMITS_MB:
            targets.append(Target(f"memory with {devices:,} devices, MB", row["peak_rss_mb"], LIMITS_MB[devices]))
    grown = ratio(rows[-1]["process_us"], rows[0]["process_us"])
    if grown is not None:
        targets.append(
            Target(f"a reading's cost, {asked.registries[-1]:,} devices / {asked.registries[0]:,}", grown, FLAT)
        )
    return Found({"by size of the registry": rows}, targets)


async def _one(parts: Parts, devices: int, count: int) -> Row:
    fleet = Fleet(devices, held_of_ten=10, states=2)
    async with parts.database() as url, parts.published(fleet.readings(count), partitions=4) as topic:
        await load_registry(url, fleet)
        found = await consumed(parts, url, topic, count=count)
    return {
        "devices": devices,
        "start_s": found.start_s,
        "start_rss_mb": found.start_rss_mb,
        "peak_rss_mb": found.peak_rss_mb,
        "process_us": found.process_us,
        "database_us": found.database_us,
        "per_s": found.per_s,
    }


if __name__ == "__main__":
    sys.exit(run("registry_sizes", __doc__, measured))
