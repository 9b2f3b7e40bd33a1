"""Waiting for the world: an outage ends as waiting, and nothing moves."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, stop_never
from tenacity.wait import wait_random_exponential

from sinks.errors import AwayError, CollisionError, SinkError, StatementCancelledError

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

_LONGEST_S: Final = 10.0
_LONGEST_BEFORE_SOMEBODY_S: Final = 2.0
_CANCEL_AGAIN_AFTER_S: Final = 1.0
_MENDED_BY_TIME: Final = (AwayError, CollisionError, StatementCancelledError)


class Patience:
    """How one task waits: again and again with jittered back-off (0 to 0.2, 0.4 … 10 s) while the world is away.

    Who gives up after a while looks at least every 2 s: somebody sits there, and the world may be back.

    :param tell: is told what is waited for, and None when it came; not when what comes is an error, or the end.
    :param task: who waits, for the log.
    :param give_up_after_s: None waits for ever, as the services do.
    """

    def __init__(
        self,
        tell: Callable[[str | None], None] = lambda _: None,
        *,
        task: str | None = None,
        give_up_after_s: float | None = None,
    ) -> None:
        self._tell = tell
        self._task = {} if task is None else {"task": task}
        self._stop = stop_never if give_up_after_s is None else stop_after_delay(give_up_after_s)
        self._back_off = wait_random_exponential(
            multiplier=0.2, max=_LONGEST_S if give_up_after_s is None else _LONGEST_BEFORE_SOMEBODY_S
        )

    async def __call__(
        self,
        action: Callable[[], Awaitable[Result]],
        *,
        mended_by_time: tuple[type[SinkError], ...] = _MENDED_BY_TIME,
    ) -> Result:
        """The result of `action`.

        :raises AwayError: when it gave up; whatever else `action` raises, at once.
        """
        began, waited = time.monotonic(), False

        def wait(state: RetryCallState) -> None:
            nonlocal waited
            waited = self._wait(state) or waited

        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(mended_by_time),
            wait=self._back_off,
            stop=self._stop,
            before_sleep=wait,
            reraise=True,
        ):
            with attempt:
                result = await action()
                if waited:
                    log.warning("going on", **self._task, waited_s=round(time.monotonic() - began, 1))
                self._tell(None)
                return result
        raise AssertionError("tenacity either returns or raises")

    def _wait(self, state: RetryCallState) -> bool:
        """Tell what is waited for, and whether anybody was told."""
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, CollisionError):
            log.debug("another writer was first; reading again", error=str(error))
            return False
        seconds = state.next_action.sleep if state.next_action is not None else 0.0
        log.warning("waiting", **self._task, error=str(error), attempt=state.attempt_number, seconds=round(seconds, 1))
        self._tell(str(error))
        return True


patiently: Final = Patience()
"""For ever, and nobody is told but the log."""


async def before(stop: asyncio.Event, action: Callable[[], Awaitable[Result]]) -> Result | None:
    """The result of `action`, or None when `stop` came first: then the action is cancelled, or never begun."""
    if stop.is_set():
        return None
    working = asyncio.ensure_future(action())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stopping.cancel()
        interrupted: asyncio.CancelledError | None = None
        while not working.done():  # it may lose a cancellation, as `or_all_stop` tells
            working.cancel()
            try:
                await asyncio.wait({working}, timeout=_CANCEL_AGAIN_AFTER_S)
            except asyncio.CancelledError as error:
                interrupted = error  # whoever cancels us again waits, too: what we began does not go on without us
        await asyncio.gather(working, stopping, return_exceptions=True)
        if interrupted is not None:
            raise interrupted


async def or_all_stop(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """One of several loops of a process: where it fails, `stop` is set, and the others end at their next look.

    Their group cancels them too, once, but a cancellation may be lost: a client of aiokafka 0.14 that is being closed
    waits for a task of its own that it has cancelled, and takes our cancellation for the end of that.
    """
    try:
        await work
    except BaseException:
        stop.set()
        raise
