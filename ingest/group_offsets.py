"""What the group's committed offsets say: for the tools that show lag, and never read by us."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import structlog
from aiokafka import TopicPartition

log = structlog.get_logger(__name__)

_TELL_EVERY_S: Final = 1.0
_TELL_THE_LAST_WITHIN_S: Final = 1.0


class GroupOffsets:
    """The offsets of one member, told to its group now and then. Failing to is no matter.

    A commit that was begun is never cut off: aiokafka 0.14 goes on with it behind a shield, and where it then fails,
    asyncio writes a traceback of an error that nobody asked for.
    """

    def __init__(self) -> None:
        self._untold: dict[TopicPartition, int] = {}
        self._told_at = -_TELL_EVERY_S
        self._telling: asyncio.Task[None] | None = None

    def note(self, offsets: Mapping[TopicPartition, int]) -> None:
        """What comes next in partitions that are ours."""
        self._untold.update(offsets)

    def forget(self) -> None:
        """The partitions may be another's by now."""
        self._untold.clear()

    def tell_now_and_then(self, consumer: Any) -> None:
        """To be called every second or so: what was noted last is told too, when nothing comes after it."""
        if time.monotonic() - self._told_at >= _TELL_EVERY_S:
            self._tell(consumer)

    async def tell_the_last(self, consumer: Any) -> None:
        """Tell what is left, within a moment, before the consumer leaves its group."""
        try:
            async with asyncio.timeout(_TELL_THE_LAST_WITHIN_S):
                await self._told()
                self._tell(consumer)
                await self._told()
        except TimeoutError:
            log.debug("group offsets not committed", error="the broker does not answer")

    async def end(self) -> None:
        """To be called when the consumer has left: what was under way has failed by that, or never will."""
        if self._telling is not None:
            self._telling.cancel()
            await self._told()

    async def _told(self) -> None:
        if self._telling is not None:
            await asyncio.wait({self._telling})

    def _tell(self, consumer: Any) -> None:
        if self._untold and (self._telling is None or self._telling.done()):
            offsets, self._untold = self._untold, {}
            self._told_at = time.monotonic()
            self._telling = asyncio.create_task(_commit(consumer, offsets))


async def _commit(consumer: Any, offsets: dict[TopicPartition, int]) -> None:
    try:
        await consumer.commit(offsets)
    except Exception as error:  # noqa: BLE001 - of a client that is being closed anything, and it is no matter
        log.debug("group offsets not committed", error=type(error).__name__)
