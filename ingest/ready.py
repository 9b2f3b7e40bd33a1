"""The database, as settings say: a connection of its own for each task, and for commands one that is ready."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ingest.patience import Patience
from ingest.settings import Settings
from sinks.database import Database
from sinks.errors import AwayError
from sinks.migrate import check_schema


def database_of(settings: Settings, role: str, *, answers_within_s: float | None = None) -> Database:
    """A connection of one task's own; `role` is how it is told apart in pg_stat_activity.

    :param answers_within_s: how long it may take over each answer; None: as long as the settings say.
    """
    url, timeout_s = settings.database_url.get_secret_value(), settings.database_timeout_s
    if answers_within_s is not None:
        timeout_s = min(answers_within_s, timeout_s)
    return Database(url, timeout_s=timeout_s, application_name=f"device-readings {role}")


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
                await Patience(give_up_after_s=settings.connect_timeout_s)(lambda: check_schema(database))
        except TimeoutError:
            raise AwayError(f"the database was not reached within {settings.connect_timeout_s:g} s") from None
        yield database
    finally:
        await database.close()
