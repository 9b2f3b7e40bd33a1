"""What stands of each partition in every table, beside its position; and what no table may hold, found by SQL alone."""

from typing import Final, NamedTuple

import asyncpg

from sinks.database import Connection
from sinks.statements import sql

SCAN_TIMEOUT_S: Final = 6 * 3600.0
"""Whole tables are read, which takes as long as they are large: the time-out of single statements does not fit."""


class Tally(NamedTuple):
    """One partition. Its position is None where there are rows or gaps without one."""

    source_id: int
    source: str
    holds: str
    partition: int
    first_offset: int | None
    next_offset: int | None
    repeated: int | None
    expired: int | None
    missing: int | None
    readings: int
    rejections: int
    states: int
    least_offset: int | None
    greatest_offset: int | None
    in_gaps: int
    """Offsets in `source_gaps`: what `missing` has to be."""


async def tallies(connection: Connection) -> list[Tally]:
    """Every partition that has a position, a row or a gap, by source."""
    return [Tally(*row) for row in await connection.fetch(sql("verify_counts"), timeout=SCAN_TIMEOUT_S)]


async def faults(connection: Connection, statement: str, most: int) -> list[asyncpg.Record]:
    """The first of what a statement finds wrong; each row says in `differ` how many there are in all."""
    return await connection.fetch(sql(statement), most, timeout=SCAN_TIMEOUT_S)


async def identifiers_owned(connection: Connection) -> int:
    """How many identifiers belong to a device."""
    owned: int = await connection.fetchval("SELECT count(*) FROM device_identifiers", timeout=SCAN_TIMEOUT_S)
    return owned


async def keys_standing_twice(connection: Connection, most: int) -> list[asyncpg.Record]:
    """As `faults`: by the rows themselves and without any index, since it may be the index that is broken."""
    scans = ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan")
    for scan in scans:
        await connection.execute(f"SET LOCAL {scan} = off")
    found = await faults(connection, "verify_keys", most)
    for scan in scans:
        await connection.execute(f"SET LOCAL {scan} = DEFAULT")
    return found
