"""The loop of every source: take a batch, store it with the position, take the next."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Self

import structlog

from ingest.batch import Batch
from ingest.kafka import KafkaSource
from ingest.patience import Patience, before
from ingest.pieces import store_in_pieces
from ingest.stop_line import StopLineError
from sinks.errors import PositionMovedError, SinkError

log = structlog.get_logger(__name__)

_LOOK_AGAIN_EVERY_S: Final = 60.0


async def follow(
    source: KafkaSource,
    store_batch: Callable[[Batch], Awaitable[None]],
    *,
    stop: asyncio.Event,
    patiently: Patience,
    stand_still: Callable[[StopLineError], None],
    prepare: Callable[[Batch], Awaitable[None]] | None = None,
) -> None:
    """Take and store until `stop`; the batch in hand is finished then.

    Where more has come than one batch holds, the next is taken and prepared while the database stores, and this process
    has nothing else to do.

    :param stand_still: is told, once a minute, that a bad deployment stops the line; it raises where nobody is to wait.
    :param prepare: does with a batch what can be done before it is its turn, in steps.
    """

    async def next_one(stored: asyncio.Event) -> Batch | None:
        try:
            batch = await source.take(ahead_until=stored)
        except SinkError:
            return None  # whoever has the patience asks again, and is told the same
        if batch is not None and prepare is not None:
            await prepare(batch)
        return batch

    async with _Meanwhile(lambda stored: before(stop, lambda: next_one(stored))) as meanwhile:
        while not stop.is_set():
            batch = await meanwhile.done() or await before(stop, lambda: patiently(source.take))
            if batch is None:
                continue  # nothing came, or it is time to stop
            meanwhile.begin()
            try:
                await store_in_pieces(batch, store_batch, patiently=patiently)
            except PositionMovedError:
                # Another owner was first, or our own last commit held, though that was unknown: the database tells.
                log.info("position moved; starting again from the database's")
                await meanwhile.drop()
                source.reposition()
            except StopLineError as error:
                stand_still(error)
                await meanwhile.drop()
                await before(stop, lambda: asyncio.sleep(_LOOK_AGAIN_EVERY_S))
                source.reposition()
            else:
                source.stored(batch)


class _Meanwhile:
    """What is done beside, by a task of its own that ends with us.

    :param work: is given what tells it that nobody has anything else to do any more.
    """

    def __init__(self, work: Callable[[asyncio.Event], Coroutine[Any, Any, Batch | None]]) -> None:
        self._work = work
        self._awaited = asyncio.Event()
        self._task: asyncio.Task[Batch | None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drop()

    def begin(self) -> None:
        self._awaited = asyncio.Event()
        self._task = asyncio.create_task(self._work(self._awaited))

    async def done(self) -> Batch | None:
        """What it came to; None where nothing was begun."""
        if self._task is None:
            return None
        self._awaited.set()
        batch = await self._task
        self._task = None
        return batch

    async def drop(self) -> None:
        """Let it be undone."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
