"""Archives as a source: each record judged and stored like one that came live, exactly once, however often it is given.

An archive is opened, hashed, taken from where the database stands with its content, and stored batch by batch by the
function that stores the stream.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ingest.archive import Standing, batches
from ingest.archive_choice import Choice
from ingest.archive_format import records_of
from ingest.batch import Batch
from ingest.change import READING, Change
from ingest.content import Content, UnreadableFileError, opened
from ingest.object_storage import copied, is_remote
from ingest.patience import Patience
from ingest.pieces import store_in_pieces
from ingest.refused_record import as_given_again
from ingest.settings import Settings
from ingest.stop_line import Store
from sinks.errors import HeldOtherwiseError, PositionMovedError

Enter = Callable[[Content], Awaitable[Standing]]
"""Where the database stands with a content; raises HeldOtherwiseError."""


HASHING, STORING, DONE = "hashing", "storing", "done"


class StoppedError(Exception):
    """The run was told to stop; what is stored by then is stored with its position."""


class Step(NamedTuple):
    """How far an archive is, told as it goes."""

    file: str
    doing: str
    read: int
    """Bytes, of `size`, as they lie on disk."""
    size: int
    records: int = 0
    """Stored in this step."""
    change: Change | None = None


@dataclass(slots=True)
class Outcome:
    """What became of an archive's records."""

    file: str
    source: str | None = None
    """None: it could not be read, or holds nothing."""
    records: int = 0
    """Stored by this run, whatever became of them."""
    already_there: int = 0
    left_out: int = 0
    became: Counter[str] = field(default_factory=Counter)
    """Lines of the ledger by fate: `reading`, or a rejection's reason. What gave way to these is counted, too."""
    error: str | None = None

    @property
    def readings(self) -> int:
        return self.became[READING]

    @property
    def set_aside(self) -> Counter[str]:
        return Counter({fate: lines for fate, lines in self.became.items() if fate != READING and lines})


async def backfill_file(
    file: str,
    outcome: Outcome,
    *,
    enter_archive: Enter,
    prepare: Callable[[Batch], Awaitable[None]] | None,
    store_batch: Store,
    settings: Settings,
    choice: Choice,
    stop: asyncio.Event,
    tell: Callable[[Step], None],
    pace: Callable[[int], Awaitable[None]],
) -> None:
    """Store what the archive holds, is wanted, and was not stored before.

    :param prepare: does with a batch what can be done while the one before it is stored, in steps.
    :param pace: is asked before so many records are stored, and takes its time.
    :param outcome: is filled as it goes, so that it tells what was done whatever ends this.
    :raises UnreadableFileError: when it cannot be read; :raises StoppedError: when told to stop.
    :raises StopLineError: for a bad deployment; :raises SinkError: as `sinks.errors` tells.
    """

    def watch(read: int, size: int) -> None:
        if stop.is_set():
            raise StoppedError
        tell(Step(file, HASHING if outcome.source is None else STORING, read, size))

    within = Patience(give_up_after_s=settings.connect_timeout_s)
    async with _opened(file, watch) as content:
        records = await asyncio.to_thread(records_of, content, max_bytes=settings.law.max_bytes)
        if content.unpacked_size == 0:
            return
        given = map(as_given_again, await asyncio.to_thread(records))
        while True:
            try:
                standing = await within(lambda: enter_archive(content))
            except HeldOtherwiseError:
                raise UnreadableFileError("its content is the registry's already, by: registry load") from None
            outcome.source, outcome.already_there = standing.source.name, standing.taken - outcome.records
            chosen, stored = choice.made, outcome.records
            to_store = batches(
                given,
                standing,
                most_records=settings.batch_records,
                most_bytes=settings.batch_bytes,
                wanted=choice.wanted,
            )

            async def store_piece(batch: Batch) -> None:
                change = await store_batch(batch)
                outcome.records += len(batch.records)
                outcome.already_there += sum(len(move.repeated) for move in batch.moves)
                outcome.became.update(change.added)
                outcome.became.subtract(change.removed)
                tell(Step(file, STORING, content.read, content.size, len(batch.records), change))

            try:
                async with aclosing(_ahead(to_store, prepare)) as coming:
                    async for batch in coming:
                        if stop.is_set():
                            raise StoppedError
                        content.check_unchanged()
                        await pace(len(batch.records))
                        await store_in_pieces(batch, store_piece, patiently=within)
            except PositionMovedError:
                # Somebody else takes it, too, or our own commit held: on from where it stands.
                given = map(as_given_again, records())
                choice.made = chosen.after(outcome.records - stored)
                continue
            outcome.left_out = choice.made.left_out - chosen.left_out
            return


@asynccontextmanager
async def _opened(file: str, watch: Callable[[int, int], None]) -> AsyncIterator[Content]:
    """As `ingest.content.opened`; the loop turns while the file is hashed."""
    holding = copied(file, watch=watch) if is_remote(file) else opened(Path(file), watch=watch)
    with ExitStack() as stack:
        content = await asyncio.to_thread(holding.__enter__)
        stack.push(holding)
        yield content


async def _ahead(
    made: Iterator[Batch], prepare: Callable[[Batch], Awaitable[None]] | None
) -> AsyncGenerator[Batch, None]:
    """Each next one is made, in a thread, and prepared while the one before is dealt with."""

    async def next_one() -> Batch | None:
        batch = await asyncio.to_thread(next, made, None)
        if batch is not None and prepare is not None:
            await prepare(batch)
        return batch

    coming = asyncio.create_task(next_one())
    try:
        while (batch := await coming) is not None:
            coming = asyncio.create_task(next_one())
            yield batch
    finally:
        await asyncio.gather(coming, return_exceptions=True)  # a thread cannot be cancelled
