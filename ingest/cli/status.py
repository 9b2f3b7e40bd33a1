"""`readings status`, for people and for programs."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import typer

from ingest.settings import Settings
from ingest.status import Standing, Status, status
from ingest.zip_zones import zones_of
from schemas.reasons import Reason


def print_status(settings: Settings, *, as_json: bool) -> None:
    """Look, and say what was seen."""
    seen = asyncio.run(status(settings, zones_of(settings.uszipcode_database)))
    typer.echo(json.dumps(status_as_json(seen)) if as_json else "\n".join(status_in_words(seen)))


def status_in_words(seen: Status) -> list[str]:
    """A label and what stands behind it; a table of the partitions; what was set aside, by reason."""
    last = seen.census.migrations[-1]
    applied, registry = len(seen.census.migrations), seen.census.registry
    devices = f"{registry.devices} devices ({registry.device_states} states, {registry.identifiers} identifiers)"
    patients = f"{registry.patients} patients ({registry.patient_states} states)"
    return [
        f"product      device-readings {seen.product}",
        f"schema       up to date: {applied} migrations, the last {last.name} at {last.applied_at:%Y-%m-%dT%H:%M:%SZ}",
        f"tzdb         {seen.tzdb}",
        f"zip table    {seen.zip_table}",
        *_law(seen),
        f"registry     version {registry.version}: {devices}, {patients}",
        _corrections(seen),
        *(f"broker       {fault}" for fault in seen.broker.faults),
        *_clock(seen),
        *(f"warning      {line}" for line in _warnings(seen)),
        "",
        *_table(seen.partitions),
        "",
        *_totals(seen),
    ]


def status_as_json(seen: Status) -> dict[str, Any]:
    """The same for a program. What the broker did not tell is null."""
    return {
        "product": seen.product,
        "tzdb": seen.tzdb,
        "zip_table": seen.zip_table,
        "migrations": [{"name": name, "applied_at": at.isoformat()} for name, at in seen.census.migrations],
        "law": {
            "stored": seen.law,
            "matches": not seen.law_differences,
            "differences": [difference._asdict() for difference in seen.law_differences],
        },
        "registry": seen.census.registry._asdict(),
        "corrections_pending": seen.corrections_pending,
        "broker": {"faults": seen.broker.faults, "raw_topic_timestamp_type": seen.broker.timestamp_type},
        "warnings": _warnings(seen),
        "partitions": [_partition(standing) for standing in seen.partitions],
        "readings": sum(count.readings for count in seen.census.partitions),
        "rejections": dict(_rejections(seen)),
        "repeated": sum(count.repeated for count in seen.census.partitions),
        "expired": sum(count.expired for count in seen.census.partitions),
    }


def _corrections(seen: Status) -> str:
    left = seen.corrections_pending
    if left == 0:
        return "corrections  none pending: what is stored is right by all that is known"
    return f"corrections  {left} pending: consumers judge again what late news touches"


def _law(seen: Status) -> list[str]:
    if not seen.law:
        return ["law          no parameters are stored yet; run: readings migrate"]
    if not seen.law_differences:
        return ["law          what is stored was judged by the law of this process"]
    return [
        f"law          {name} is {here or 'unknown'} here, but what is stored was judged with {stored or 'none'}"
        for name, here, stored in seen.law_differences
    ]


def _clock(seen: Status) -> list[str]:
    if seen.takes_senders_clock or seen.broker.faults:
        return []
    if seen.broker.timestamp_type is None:
        return [f"clock        the broker does not tell the message.timestamp.type of {seen.raw_topic}: unknown"]
    return [f"clock        {seen.raw_topic} has message.timestamp.type {seen.broker.timestamp_type}"]


def _warnings(seen: Status) -> list[str]:
    lines = [
        f"{one.source} {one.partition} is taken up to {one.taken.next_offset}, beyond its log's end, {one.high_water}:"
        " the wrong cluster, a broker restored from a backup, or a topic made anew; consumers stop"
        for one in seen.partitions
        if one.taken is not None and one.lag is not None and one.lag < 0
    ]
    if seen.takes_senders_clock:
        said = f"{seen.raw_topic} has message.timestamp.type CreateTime"
        lines.append(f"{said}: readings count as received when their sender says so; set it to LogAppendTime")
    return lines


def _table(partitions: Iterable[Standing]) -> list[str]:
    """A line a partition; from `readings` on, the columns add up to all that was taken of it."""
    head = (
        "source",
        "partition",
        "position",
        "high water",
        "lag",
        "behind",
        "readings",
        "rejections",
        "states",
        "repeated",
        "expired",
        "gaps",
    )
    rows = [head, *map(_row, partitions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def _row(standing: Standing) -> tuple[str, ...]:
    count = standing.taken
    behind = (_or_unknown(standing.high_water), _or_unknown(standing.lag), _seconds(standing.behind_s))
    if count is None:
        return (_short(standing.source), str(standing.partition), "not begun", *behind, *["-"] * 6)
    gaps = " ".join(f"{missing} {kind}" for kind, missing in count.gaps.items()) or "0"
    counted = (count.readings, count.rejections.total(), count.states, count.repeated, count.expired)
    return (_short(standing.source), str(standing.partition), str(count.next_offset), *behind, *map(str, counted), gaps)


def _short(source: str) -> str:
    """A hash of 64 digits is told by its first twelve."""
    kind, _, name = source.partition(":")
    return f"{kind}:{name[:12]}…" if kind == "archive" else source


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f} s"


def _or_unknown(number: int | None) -> str:
    return "-" if number is None else str(number)


def _totals(seen: Status) -> list[str]:
    rejections = _rejections(seen)
    width = max(map(len, ("rejections", *(f"  {reason}" for reason in rejections))))
    partitions = seen.census.partitions
    lines = [("readings", sum(one.readings for one in partitions)), ("rejections", rejections.total())]
    lines += [(f"  {reason}", rejections[reason]) for reason in rejections]
    lines += [
        ("repeated", sum(one.repeated for one in partitions)),
        ("expired", sum(one.expired for one in partitions)),
    ]
    return [f"{name.ljust(width)}  {number}" for name, number in lines]


def _rejections(seen: Status) -> Counter[str]:
    """By reason, in the order of the law."""
    total = sum((count.rejections for count in seen.census.partitions), Counter[str]())
    return Counter({str(reason): total[reason] for reason in Reason if reason in total})


def _partition(standing: Standing) -> dict[str, Any]:
    said: dict[str, Any] = {"source": standing.source, "partition": standing.partition}
    said |= {"high_water": standing.high_water, "lag": standing.lag, "behind_s": standing.behind_s}
    count = standing.taken
    if count is None:
        return said | {"position": None}
    return said | {
        "first_offset": count.first_offset,
        "position": count.next_offset,
        "moved_at": count.moved_at.isoformat(),
        "readings": count.readings,
        "rejections": dict(count.rejections),
        "states": count.states,
        "repeated": count.repeated,
        "expired": count.expired,
        "missing": count.missing,
        "gaps": dict(count.gaps),
    }
