"""The loop of every source: take a batch, store it with the position, take the next."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from ingest.batch import Batch
from ingest.kafka import KafkaSource
from ingest.patience import Patience, before
from ingest.pieces import store_in_pieces
from ingest.stop_line import StopLineError
from sinks.errors import PositionMovedError

log = structlog.get_logger(__name__)

_LOOK_AGAIN_EVERY_S: Final = 60.0


async def follow(
    source: KafkaSource,
    store_batch: Callable[[Batch], Awaitable[None]],
    *,
    stop: asyncio.Event,
    patiently: Patience,
    stand_still: Callable[[StopLineError], None],
) -> None:
    """Take and store until `stop`; the batch in hand is finished then.

    :param stand_still: is told, once a minute, that a bad deployment stops the line; it raises where nobody is to wait.
    """
    while not stop.is_set():
        batch = await before(stop, lambda: patiently(source.take))
        if batch is None:
            continue  # nothing came, or it is time to stop
        try:
            await store_in_pieces(batch, store_batch, patiently=patiently)
        except PositionMovedError:
            # Another owner was first, or our own last commit was unknown and held: the database tells where to go on.
            log.info("position moved; starting again from the database's")
            source.reposition()
        except StopLineError as error:
            stand_still(error)
            await before(stop, lambda: asyncio.sleep(_LOOK_AGAIN_EVERY_S))
            source.reposition()
        else:
            source.stored(batch)
