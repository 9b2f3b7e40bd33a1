"""`readings retention`: readings and rejections that are older than asked are dropped, step by step, and counted."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from ingest.patience import Patience
from ingest.ready import ready_database
from ingest.settings import Settings
from sinks.database import Database
from sinks.retention import (
    Chunk,
    Counts,
    Marker,
    Old,
    chunks_before,
    count_due,
    drop_chunk,
    drop_readings,
    drop_rejections,
    forget_summaries,
)

Tell = Callable[[int, int], None]
"""Is told how many rows are dropped, and of how many."""
Page = Callable[[Database, datetime, Marker], Awaitable[tuple[Old, Marker]]]


@dataclass(frozen=True, slots=True)
class Retained:
    """What was dropped, or would be."""

    before: datetime
    readings_before: datetime | None
    """Where the last chunk of TimescaleDB ends that goes, None when none does; elsewhere `before`."""
    readings: Counts = field(default_factory=Counter)
    rejections: Counts = field(default_factory=Counter)


async def retain(settings: Settings, before: datetime, *, dry_run: bool, tell: Tell) -> Retained:
    """Drop what is older than `before`; killed anywhere, what is dropped is counted and the next run goes on.

    :raises AwayError: when the database was not reached in time, or somebody kept reading what is to go.
    """
    patiently = Patience(give_up_after_s=settings.connect_timeout_s)
    async with ready_database(settings, "retention") as database:
        async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
            chunks = await chunks_before(connection, before)
            due = await count_due(connection, before, chunks)
        ends = before if chunks is None else max((chunk.ends for chunk in chunks), default=None)
        if dry_run:
            return Retained(before, ends, due.readings, due.rejections)
        retained, of = Retained(before, ends), due.readings.total() + due.rejections.total()
        for dropping in (
            _pages(drop_rejections, database, before, patiently),
            _pages(drop_readings, database, before, patiently)
            if chunks is None
            else _chunks(database, chunks, patiently),
        ):
            async for gone in dropping:
                retained.readings.update(gone.readings)
                retained.rejections.update(gone.rejections)
                tell(retained.rejections.total() + retained.readings.total(), of)
    return retained


async def _pages(drop: Page, database: Database, before: datetime, patiently: Patience) -> AsyncIterator[Old]:
    after: Marker = None
    while True:
        gone, after = await patiently(partial(drop, database, before, after))
        if after is None:
            return
        yield gone


async def _chunks(database: Database, chunks: Sequence[Chunk], patiently: Patience) -> AsyncIterator[Old]:
    for chunk in chunks:
        yield await patiently(partial(drop_chunk, database, chunk))
    if chunks:
        await forget_summaries(await database.connection(), chunks[-1].ends)
