"""As many connections to the database as requests may have at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingest.consume import database_of
from ingest.settings import Settings
from sinks.database import Connection, Database


class Connections:
    """Connections that requests take in turn, each for a while alone; opened when they are first needed."""

    def __init__(self, settings: Settings) -> None:
        self._all = [database_of(settings, "api") for _ in range(settings.api_connections)]
        self._idle: asyncio.LifoQueue[Database] = asyncio.LifoQueue()  # the last used is open already
        for database in self._all:
            self._idle.put_nowait(database)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Database]:
        """A connection of one's own until the block ends; waits for one, within the time that a request has."""
        database = await self._idle.get()
        try:
            yield database
        except asyncio.CancelledError:
            database.drop()  # cut off in the middle of a BEGIN, say, nobody knows what it is in
            raise
        finally:
            self._idle.put_nowait(database)

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[Connection]:
        """A transaction that only looks, and sees one moment."""
        async with (
            self.one() as database,
            database.transaction(isolation="repeatable_read", readonly=True) as connection,
        ):
            yield connection

    async def close(self) -> None:
        for database in self._all:
            await database.close()
