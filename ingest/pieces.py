"""A batch, in one piece or in as many as the database asks for."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from ingest.batch import Batch
from ingest.patience import Patience
from sinks.errors import AwayError, CollisionError, OperatorError, RefusedRowError, StatementCancelledError

log = structlog.get_logger(__name__)


async def store_in_pieces(
    batch: Batch, store_batch: Callable[[Batch], Awaitable[None]], *, patiently: Patience
) -> None:
    """Store all of it: whole, or in halves down to the one record that the database refuses, set aside `unstorable`.

    Whatever ends it, what is stored by then is stored with its position, and the rest is not.

    :raises PositionMovedError: when the rest is no longer ours to store; :raises SinkError: as `sinks.errors` tells.
    """
    pieces = [batch]
    while pieces:
        piece = pieces.pop()
        splits = len(piece.records) > 1
        try:
            # A single record whose statement is cancelled again and again is waited for like the database itself.
            mended_by_time = (AwayError, CollisionError) + (() if splits else (StatementCancelledError,))
            await patiently(lambda: store_batch(piece), mended_by_time=mended_by_time)  # noqa: B023 - awaited here
        except (RefusedRowError, StatementCancelledError) as error:
            if splits:
                log.debug("again in two halves", records=len(piece.records), error=str(error))
                pieces.extend(reversed(piece.halves))
            elif piece.refused is None and piece.records:
                place = piece.records[0].place
                log.warning("the database refuses a record; it is set aside as unstorable", error=str(error),
                            source=place.source, partition=place.partition, offset=place.offset)  # fmt: skip
                pieces.append(replace(piece, refused=str(error)))
            else:
                raise OperatorError(f"the database refuses even to set a record aside: {error}") from None
