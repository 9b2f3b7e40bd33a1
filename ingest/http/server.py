"""The server of the service: uvicorn, which leaves signals and logs to us and waits for nobody's headers for ever."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from ingest.settings import Settings
from sinks.errors import OperatorError

_MOST_CONNECTIONS = 1_000
_KEEP_ALIVE_S = 75
"""Longer than most proxies keep a connection open, 60 s: else they would send a request on one that we are closing."""


def listening_socket(settings: Settings) -> socket.socket:
    """A socket where the settings say.

    :raises OperatorError: when nothing can listen there.
    """
    host, port = settings.api_host, settings.api_port
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2_048)
    except OSError as error:
        raise OperatorError(
            f"nothing can listen on READINGS_API_HOST {host}, READINGS_API_PORT {port} ({error.strerror})"
        ) from None


class Server(uvicorn.Server):
    """Ends when `should_exit` is set; whoever runs it decides about signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_of(app: ASGIApp, settings: Settings) -> Server:
    """A server of `app`, to be given the socket."""

    class Protocol(_HeadersInTime):
        head_timeout_s = settings.api_receive_timeout_s

    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,  # a path may hold an identifier
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.shutdown_timeout_s) or 1,
    )
    return Server(config)


class _HeadersInTime(H11Protocol):
    """Closes a connection whose next request does not get as far as the end of its headers in time.

    Uvicorn waits for ever for the first, and for one that has begun.
    """

    head_timeout_s: float
    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._head_arrived()
        elif self._head_due is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head_due = self.loop.call_later(self.head_timeout_s, self._head_is_late)

    def _head_arrived(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _head_is_late(self) -> None:
        self._head_due = None
        if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
            return
        if self.conn.trailing_data[0]:
            answer = h11.Response(status_code=408, headers=[("Connection", "close"), ("Content-Length", "0")])
            self.transport.write(self.conn.send(answer) or b"")
        self.transport.close()
