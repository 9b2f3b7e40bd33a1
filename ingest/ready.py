"""A database that is there and ready, for the commands that wait for it only so long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingest.consume import database_of
from ingest.patience import patiently
from ingest.settings import Settings
from sinks.database import Database
from sinks.errors import AwayError
from sinks.migrate import check_schema


@asynccontextmanager
async def ready_database(settings: Settings, role: str) -> AsyncIterator[Database]:
    """A connection to a database with the schema of this version; closed at the end.

    :raises AwayError: when it was not reached within `connect_timeout_s`.
    :raises SchemaError: when the schema is missing or older; :raises OperatorError: when it is another.
    """
    database = database_of(settings, role)
    try:
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                await patiently(lambda: check_schema(database))
        except TimeoutError:
            raise AwayError(f"the database was not reached within {settings.connect_timeout_s:g} s") from None
        yield database
    finally:
        await database.close()
