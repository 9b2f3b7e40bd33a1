"""How TimescaleDB keeps the readings: chunks, columnstore and summaries, as the settings ask; nothing elsewhere."""

import re
from datetime import timedelta
from typing import Final, NamedTuple

from sinks.database import Connection
from sinks.errors import OperatorError
from sinks.statements import sql

LEAST_VERSION: Final = (2, 23)
"""Up to it, unique keys in compressed chunks were mended."""


class Storage(NamedTuple):
    """What the operator decides; a duration of None means never."""

    chunk: timedelta
    """How long a time one chunk holds; of chunks to come."""
    columnstore_after: timedelta | None
    refresh_every: timedelta | None


async def check_timescale(connection: Connection) -> bool:
    """Whether there is TimescaleDB.

    :raises OperatorError: when it is one that does not do: too old, or without the parts that its licence adds.
    """
    installed = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    if installed is None:
        return False
    numbers = tuple(int(number) for number in re.findall(r"\d+", installed)[:2])
    if numbers < LEAST_VERSION:
        raise OperatorError(
            f"TimescaleDB {installed} is too old: {'.'.join(map(str, LEAST_VERSION))} or newer is needed, as unique"
            " keys in compressed chunks were mended up to there; upgrade it: ALTER EXTENSION timescaledb UPDATE"
        )
    licence = await connection.fetchval("SELECT current_setting('timescaledb.license', true)")
    if licence == "apache":
        raise OperatorError(
            "this TimescaleDB runs with timescaledb.license = apache, which has neither columnstore nor continuous"
            " aggregates; set it to timescale, or use a database without the extension"
        )
    return True


async def arrange(connection: Connection, storage: Storage) -> list[str]:
    """Bring chunks and policies to what `storage` says; what changed, a line each, none when it was so already."""
    row = await connection.fetchrow(sql("storage_standing")) if await check_timescale(connection) else None
    if row is None:
        return []
    changed = []
    if row["chunk"] != storage.chunk:
        await connection.execute("SELECT set_chunk_time_interval('readings', $1::interval)", storage.chunk)
        changed.append(f"chunks to come hold {storage.chunk.days} d")
    if row["columnstore_after"] != storage.columnstore_after:
        await connection.execute("CALL remove_columnstore_policy('readings', if_exists => true)")
        if storage.columnstore_after is not None:
            after = f"INTERVAL '{storage.columnstore_after.days} days'"
            await connection.execute(f"CALL add_columnstore_policy('readings', after => {after})")
        changed.append(f"columnstore: {_told(storage.columnstore_after)}")
    if row["refresh_every"] != storage.refresh_every:
        await connection.execute("SELECT remove_continuous_aggregate_policy('hourly_summaries_utc', if_exists => true)")
        if storage.refresh_every is not None:
            await connection.execute(sql("refresh_policy"), storage.refresh_every)
        changed.append(f"summaries are refreshed: {_told(storage.refresh_every)}")
    return changed


def _told(duration: timedelta | None) -> str:
    if duration is None:
        return "never"
    return f"after {duration.days} d" if duration.days else f"every {duration.total_seconds():g} s"
