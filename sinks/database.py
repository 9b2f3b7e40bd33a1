"""One connection to the database, opened when it is needed and opened again after it was lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, TypeVar

import asyncpg

from sinks.errors import AwayError, OperatorError, SchemaError, translated

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Moment = TypeVar("Moment", datetime, datetime | None)


class Database:
    """A connection of one task's own; never shared between tasks.

    Whatever goes wrong inside a `transaction` comes out as a `sinks.errors.SinkError`, rolled back.
    """

    def __init__(self, url: str, *, timeout_s: float, application_name: str = "device-readings") -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._name = application_name
        self._connection: Connection | None = None

    async def connection(self) -> Connection:
        """The open connection.

        :raises AwayError: when the database cannot be reached within the time-out.
        """
        if self._connection is None or self._connection.is_closed():
            try:
                with translated():
                    self._connection = await asyncpg.connect(
                        self._url,
                        timeout=self._timeout_s,
                        command_timeout=self._timeout_s,
                        server_settings={
                            "application_name": self._name,
                            # What is stored never depends on the zone of whoever set up the server.
                            "timezone": "UTC",
                            # A late reading or a correction may unpack as many rows of a compressed chunk as it has to;
                            # without TimescaleDB the name means nothing.
                            "timescaledb.max_tuples_decompressed_per_dml_transaction": "0",
                        },
                    )
            except SchemaError:
                raise
            except OperatorError as error:
                raise OperatorError(f"{error} (on connecting with READINGS_DATABASE_URL)") from None
        return self._connection

    @asynccontextmanager
    async def transaction(
        self, *, isolation: Literal["read_committed", "repeatable_read"] = "read_committed", readonly: bool = False
    ) -> AsyncIterator[Connection]:
        """A transaction that commits when the block ends and rolls back when it raises.

        An `AwayError` out of the commit itself leaves the outcome unknown: the position tells it.
        """
        connection = await self.connection()
        try:
            with translated():
                async with connection.transaction(isolation=isolation, readonly=readonly):
                    yield connection
        except AwayError:
            self.drop()
            raise
        except asyncpg.InterfaceError as error:
            if error.__context__ is None and not connection.is_closed():
                raise  # we ask it wrongly: no waiting mends that
            # It could not even be rolled back, after what stands in the context: the connection is dying.
            self.drop()
            if isinstance(error.__context__, asyncio.CancelledError):
                raise error.__context__ from None
            raise AwayError(f"the connection is gone ({type(error).__name__})") from None

    async def fetch(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of one statement in a transaction of its own."""
        async with self.transaction() as connection:
            return await connection.fetch(statement, *arguments)

    async def close(self) -> None:
        """Leave politely, or at once when the server does not answer."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            with translated():
                await connection.close(timeout=1)
        except (AwayError, asyncpg.InterfaceError):
            connection.terminate()

    def drop(self) -> None:
        """Let go of the connection as it is, whatever it was doing: the next use opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def aware(moment: Moment) -> Moment:
    """Asyncpg gives either infinity as an edge of time, and without its zone."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
