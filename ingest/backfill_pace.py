"""Courtesy: so many records a second at most, and none while live consumers are behind."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from ingest.high_water import high_water_marks
from ingest.patience import before
from ingest.settings import Settings
from sinks.database import Database
from sinks.errors import AwayError
from sinks.ledger import topics

log = structlog.get_logger(__name__)

_LOOK_EVERY_S: Final = 5.0


class Pace:
    """Waits before a batch is stored.

    :param rate: records a second; :param behind: tells how many records wait to be stored live, and is asked every 5 s.
    :param tolerated: how many of those may wait.
    """

    def __init__(
        self,
        stop: asyncio.Event,
        *,
        rate: float | None = None,
        behind: Callable[[], Awaitable[int]] | None = None,
        tolerated: int = 0,
    ) -> None:
        self._stop, self._rate, self._behind, self._tolerated = stop, rate, behind, tolerated
        self._due = time.monotonic()
        self._looked_at = -_LOOK_EVERY_S

    async def __call__(self, records: int) -> None:
        if self._rate is not None:
            await self._sleep(self._due - time.monotonic())
            # What was not used while the database was busy is not made up for by a burst.
            self._due = max(self._due, time.monotonic()) + records / self._rate
        if self._behind is not None and time.monotonic() - self._looked_at >= _LOOK_EVERY_S:
            while not self._stop.is_set() and (waiting := await self._behind()) > self._tolerated:
                log.info("yielding to live consumers", records_behind=waiting)
                await self._sleep(_LOOK_EVERY_S)
            self._looked_at = time.monotonic()

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            await before(self._stop, lambda: asyncio.sleep(seconds))


async def live_lag(settings: Settings, database: Database) -> int:
    """How many records of the raw topic wait to be stored, of the partitions that a consumer has begun.

    0 while the broker is away: then nobody live is kept waiting.
    """
    try:
        async with database.transaction() as connection:
            known = (await topics(connection, [settings.raw_topic])).get(settings.raw_topic)
        marks = await high_water_marks(settings, [settings.raw_topic])
    except AwayError:
        return 0
    stands = {} if known is None else known.partitions
    return sum(max(0, marks.get((settings.raw_topic, at), 0) - taken.next_offset) for at, taken in stands.items())
