"""The ledger's promises: conservation, each place and each key once, each identifier its earliest claimant's."""

from collections.abc import Mapping, Sequence

from ingest.check import FIRST, Check
from sinks.database import Connection
from sinks.tally import Tally, faults, identifiers_owned, keys_standing_twice


def check_law(here: Mapping[str, str], stored: Mapping[str, str]) -> Check:
    check = Check("law", "what is stored was judged by the law parameters of this process", "parameters")
    for name in sorted(here.keys() | stored.keys()):
        check.looked_at += 1
        if here.get(name) != stored.get(name):
            check.found("law_parameters", name, f"{stored.get(name, 'none')}, but {here.get(name, 'unknown')} here")
    return check


def check_conservation(tallies: Sequence[Tally]) -> Check:
    """Counts, and the span in which they have to lie: what can be said of a partition without its single rows."""
    check = Check(
        "conservation",
        "next_offset - first_offset = readings + rejections + states + repeated + expired + missing",
        "partitions",
    )
    for tally in tallies:
        check.looked_at += 1
        where = f"{tally.source} {tally.partition}"
        standing = tally.readings + tally.rejections + tally.states
        if tally.first_offset is None or tally.next_offset is None:
            check.found(where, "next_offset", f"{standing} rows and {tally.in_gaps} offsets in gaps, but no position")
            continue
        taken = tally.next_offset - tally.first_offset
        elsewhere = (tally.repeated or 0) + (tally.expired or 0) + (tally.missing or 0)
        if taken != standing + elsewhere:
            told = f"{tally.readings} readings + {tally.rejections} rejections + {tally.states} states"
            uncounted = f"{tally.repeated} repeated + {tally.expired} expired + {tally.missing} missing"
            check.found(where, "next_offset", f"{taken} offsets taken, but {told} + {uncounted}")
        if tally.least_offset is not None and tally.least_offset < tally.first_offset:
            check.found(f"{where} {tally.least_offset}", "source_offset", f"before the first, {tally.first_offset}")
        if tally.greatest_offset is not None and tally.greatest_offset >= tally.next_offset:
            check.found(f"{where} {tally.greatest_offset}", "source_offset", f"not below next, {tally.next_offset}")
    return check


def check_gaps(tallies: Sequence[Tally]) -> Check:
    check = Check("gaps", "the offsets in source_gaps are as many as source_positions.missing", "partitions")
    for tally in tallies:
        check.looked_at += 1
        if (tally.missing or 0) != tally.in_gaps:
            where = f"{tally.source} {tally.partition}"
            check.found(where, "missing", f"{tally.missing or 0}, but {tally.in_gaps} offsets stand in source_gaps")
    return check


async def check_places(connection: Connection, tallies: Sequence[Tally]) -> Check:
    check = Check("places", "every offset taken stands once: as one row of one table, or in one gap", "offsets")
    check.looked_at = sum((tally.next_offset or 0) - (tally.first_offset or 0) for tally in tallies)
    for row in await faults(connection, "verify_places", FIRST):
        where = f"{row['source']} {row['source_partition']}"
        if row["twice"]:
            place, says = row["from_offset"], f"stands once more, in {row['stands_in']}"
        else:
            last = row["from_offset"] - 1
            place, says = row["reached"], "stands nowhere" if last == row["reached"] else f"to {last}: stand nowhere"
        check.found(f"{where} {place}", "source_offset", says)
        check.differ = row["differ"]
    return check


async def check_keys(connection: Connection, tallies: Sequence[Tally]) -> Check:
    check = Check(
        "keys", "one reading stands under each subject, kind and time", "readings", sum(t.readings for t in tallies)
    )
    for row in await keys_standing_twice(connection, FIRST):
        where = f"subject {row['subject']} {row['reading_type']} {row['reading_timestamp']:%Y-%m-%dT%H:%M:%S.%fZ}"
        check.found(where, "subject", f"{row['readings']} readings")
        check.differ = row["differ"]
    return check


async def check_identifiers(connection: Connection) -> Check:
    owners = await identifiers_owned(connection)
    check = Check(
        "identifiers", "an identifier belongs to the device whose state naming it is earliest", "identifiers", owners
    )
    for row in await faults(connection, "verify_identifiers", FIRST):
        # A serial number is personal, as a name is: told is the record that names it.
        by = f"{row['source']} {row['source_partition']} {row['source_offset']}"
        said = f"it is {_device(row['stands'])}, but {_device(row['should_be'])} by the states"
        same = row["stands"] == row["should_be"]
        check.found(
            f"identifier named by {by}",
            "source_offset" if same else "device_id",
            "not by this, its earliest state" if same else said,
        )
        check.differ = row["differ"]
    return check


def _device(device_id: int | None) -> str:
    return "nobody's" if device_id is None else f"device {device_id}'s"
