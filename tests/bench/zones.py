"""What a zone costs: the zip table, and a zip code's offset at an instant.

The judge asks `Zones.of` once for each patient state and `offset_s` once for each reading; the sum is measured too.
"""

import sys
import timeit
import tracemalloc
from datetime import UTC, datetime
from importlib import resources
from itertools import cycle

from enrich.offsets import offset_s
from enrich.zip_table import load_table, parse_table
from enrich.zones import table_zones
from tests.bench.found import Found, Target
from tests.bench.run import run

LOOK_UPS = 200_000


def best_ns(statement, **names):
    """Nanoseconds of one run, the best of seven: what the code costs, not what the machine does beside it."""
    return min(timeit.repeat(statement, globals=names, number=LOOK_UPS, repeat=7)) / LOOK_UPS * 1e9


async def measured(parts, asked):
    data = resources.files("enrich.zip_table").joinpath("zip_zones.txt").read_bytes()
    load_ms = min(timeit.repeat(lambda: parse_table(data), number=1, repeat=20)) * 1e3
    tracemalloc.start()
    parse_table(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    zones = table_zones()
    at = datetime(2024, 7, 4, tzinfo=UTC)
    zips = cycle(load_table().zips()[::100])
    for digits in load_table().zips():
        offset_s(zones.of(digits).zone, at)
    figures = [
        ("table loads, ms", load_ms, 10),
        ("table at its peak, MB", peak / 1e6, 5),
        (
            "offset at an instant, us",
            best_ns("offset_s(zone, at)", offset_s=offset_s, zone="America/New_York", at=at) / 1e3,
            1,
        ),
        ("zip to zone, us", best_ns("of(next(zips))", of=zones.of, zips=zips) / 1e3, 1),
        (
            "zip to offset at an instant, us",
            best_ns("offset_s(of(next(zips)).zone, at)", offset_s=offset_s, of=zones.of, zips=zips, at=at) / 1e3,
            1,
        ),
    ]
    table = {"bytes": len(data), "zips": len(load_table().zips())}
    return Found({"table": [table]}, [Target(*figure) for figure in figures])


if __name__ == "__main__":
    sys.exit(run("zones", __doc__, measured))
