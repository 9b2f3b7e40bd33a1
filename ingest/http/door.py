"""The door of the service: what comes in is bounded in size and time; whatever happens inside, an answer goes out."""

import asyncio
import time
from traceback import format_tb
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest.http.api_metrics import OTHER, ApiMetrics
from ingest.http.problems import Problem, ProblemError, answer
from ingest.settings import Settings
from sinks.errors import AwayError, CollisionError, SinkError, StatementCancelledError

log = structlog.get_logger(__name__)

_MENDED_BY_TIME: Final = (AwayError, CollisionError, StatementCancelledError, TimeoutError)
_TELL_UNSERVED_EVERY_S: Final = 10.0
_LINGER_S: Final = 2.0
_LINGER_BYTES: Final = 67_108_864


class Door:
    """An ASGI application round another. No value of a request reaches the log from here, nor a text of an error.

    :param opened: until it is set, nobody is served: a request is answered by 503.
    """

    def __init__(self, inside: ASGIApp, settings: Settings, metrics: ApiMetrics, opened: asyncio.Event) -> None:
        self._inside, self._settings, self._metrics, self._opened = inside, settings, metrics, opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is served")
        status: int | None = None

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.monotonic()
        try:
            seconds = await self._serve(scope, receive, watched)
        except asyncio.CancelledError:  # the server ends, and has waited for this for as long as it may
            seconds = time.monotonic() - began
            if status is None:
                stopping = ProblemError(Problem.AWAY, "it is being stopped", headers={"Connection": "close"})
                await answer(stopping)(scope, receive, watched)
        if status is None:
            return  # the client has gone
        route = scope.get("route")
        operation = getattr(route, "operation_id", None) or getattr(route, "name", None) or OTHER
        # Not the path: it may hold an identifier.
        log.debug("answered", operation=operation, status=status, seconds=round(seconds, 3))
        self._metrics.answered(operation, status, seconds)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> float:
        """How many seconds the answer took, the body having arrived."""
        try:
            self._check_open()
            body = await self._body(scope, receive)
        except ProblemError as error:
            await _turn_away(error, scope, receive, send)
            return 0.0
        arrived = time.monotonic()
        if body is not None:
            await self._answer(scope, _once(body, receive), send)
        return time.monotonic() - arrived

    def _check_open(self) -> None:
        if not self._opened.is_set():
            raise ProblemError(Problem.AWAY, "it has not seen yet whether the database's law is its own")

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """All of the body, within its bounds; None when the client leaves before the end."""
        most = self._settings.api_max_body_bytes
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > most:
                raise ProblemError(Problem.BODY_TOO_LARGE, f"more than {most} bytes")
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.api_receive_timeout_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > most:
                        raise ProblemError(Problem.BODY_TOO_LARGE, f"more than {most} bytes")
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise ProblemError(Problem.BODY_TOO_SLOW) from None

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = False

        async def noticed(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            async with asyncio.timeout(self._settings.api_timeout_s):
                await self._inside(scope, receive, noticed)
        except Exception as error:  # noqa: BLE001 - a bug too is answered, and told without its text
            if not began:  # else it was told inside, and comes on only for those who would tell its text
                slow = isinstance(error, TimeoutError) and scope["method"] == "GET"  # it would be as slow again
                await answer(ProblemError(Problem.TOO_SLOW) if slow else problem_of(error))(scope, receive, send)


class _Unserved:
    """Requests that the world did not let us serve, told at once and then now and then: an outage has thousands."""

    def __init__(self) -> None:
        self._untold, self._last = 0, ""
        self._told_at = -_TELL_UNSERVED_EVERY_S

    def add(self, why: str) -> None:
        self._untold, self._last = self._untold + 1, why
        self._tell_if_due()

    def _tell_if_due(self) -> None:
        if self._untold and time.monotonic() - self._told_at >= _TELL_UNSERVED_EVERY_S:
            log.warning("requests could not be served", requests=self._untold, last=self._last)
            self._untold, self._told_at = 0, time.monotonic()
            # Those that come until then are told even if none comes after them.
            asyncio.get_running_loop().call_later(_TELL_UNSERVED_EVERY_S, self._tell_if_due)


_unserved: Final = _Unserved()


def problem_of(error: Exception) -> ProblemError:
    """What the client is told of an error; the log is told here."""
    if isinstance(error, _MENDED_BY_TIME):
        _unserved.add(str(error) or "no answer within READINGS_API_TIMEOUT_S; /ready tells of what, if it lasts")
        return ProblemError(Problem.AWAY)
    if isinstance(error, SinkError):
        log.error("a request needs a person's help", error=str(error))
    else:
        where = "".join(format_tb(error.__traceback__))
        log.error("a fault of its own", error=type(error).__name__, where=where)
    return ProblemError(Problem.FAULT)


def _once(body: bytes, receive: Receive) -> Receive:
    """What has arrived, as if it arrived now."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _turn_away(error: ProblemError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer before all has arrived, and listen on for a while: who is cut off while sending reads no answer."""
    messages: list[Message] = []

    async def kept(message: Message) -> None:
        messages.append(message)

    error.headers = {"Connection": "close"}
    await answer(error)(scope, receive, kept)
    for message in messages:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)
    left = _LINGER_BYTES
    try:
        async with asyncio.timeout(_LINGER_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    break
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})
