"""As many connections to the database as requests may have at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Literal

from ingest.ready import database_of
from ingest.settings import Settings
from sinks.database import Connection, Database
from sinks.errors import AwayError


class Connections:
    """Connections that requests take in turn, each for a while alone; opened when they are first needed.

    A request that has its turn waits `api_connect_timeout_s` at most for its transaction to begin: nothing in that
    takes long, so a database that does not answer it is away. What it asks then may take as long as a request may.
    """

    def __init__(self, settings: Settings) -> None:
        self._all = [database_of(settings, "api") for _ in range(settings.api_connections)]
        self._idle: asyncio.LifoQueue[Database] = asyncio.LifoQueue()  # the last used is open already
        # Sooner than the answer is due, so that what is away is not told to be slow.
        self._begin_within_s = min(settings.api_connect_timeout_s, settings.api_timeout_s / 2)
        self._away_at = float("-inf")
        for database in self._all:
            self._idle.put_nowait(database)

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Literal["read_committed", "repeatable_read"] = "read_committed", readonly: bool = False
    ) -> AsyncIterator[Connection]:
        """A transaction on a connection of one's own.

        :raises AwayError: when it does not begin in time, or another one did not while this one waited for its turn.
        """
        asked_at = time.monotonic()
        database = await self._idle.get()
        try:
            if self._away_at >= asked_at:
                raise AwayError("the database did not answer a moment ago")
            async with AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(self._begin_within_s):
                        begun = database.transaction(isolation=isolation, readonly=readonly)
                        connection = await stack.enter_async_context(begun)
                except (TimeoutError, AwayError) as error:
                    self._away_at = time.monotonic()
                    database.drop()
                    if isinstance(error, AwayError):
                        raise
                    raise AwayError(f"the database has not answered for {self._begin_within_s:g} s") from None
                yield connection
        except asyncio.CancelledError:
            database.drop()  # cut off in the middle of a BEGIN, say, nobody knows what it is in
            raise
        finally:
            self._idle.put_nowait(database)

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[Connection]:
        """A transaction that only looks, and sees one moment."""
        async with self.transaction(isolation="repeatable_read", readonly=True) as connection:
            yield connection

    async def close(self) -> None:
        await asyncio.gather(*(database.close() for database in self._all))
