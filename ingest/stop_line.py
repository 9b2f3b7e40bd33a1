"""A bad deployment is not bad data: when nearly all that comes is unreadable, the line stops instead of emptying it."""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ingest.batch import Batch
from ingest.change import Change
from schemas.judgement import Entry, Judgement, Rejected
from schemas.reasons import Reason

_UNREADABLE: Final = frozenset({Reason.MALFORMED, Reason.INVALID})


Store = Callable[[Batch], Awaitable[Change]]


class StopLineError(Exception):
    """Nothing of the batch in hand was stored, and nothing will be until a person has looked."""


class StopLine:
    """The last so many records of this process: whether each could be read.

    :param window: how many are looked at; 0 never stops.
    :param share: the share of a full window, 0 to 1, that may not be reached by `malformed` and `invalid` ones.
    """

    def __init__(self, window: int, share: float) -> None:
        self._window, self._share = window, share
        self._unreadable: deque[bool] = deque(maxlen=window)
        self._coming: list[bool] = []

    def look(self, entries: Sequence[Entry[Judgement]]) -> None:
        """Nothing, as long as no full window that ends within these is as bad as that.

        :raises StopLineError: if one is.
        """
        self._coming = coming = [_unreadable(entry.judgement) for entry in entries]
        if not self._window or self._unreadable.count(True) + coming.count(True) < self._share * self._window:
            return  # together they are too few for any window
        seen = [*self._unreadable, *coming]
        bad = sum(seen[: self._window])
        worst = bad if len(seen) >= self._window else 0
        for leaving, entering in zip(seen, seen[self._window :], strict=False):
            bad += entering - leaving
            worst = max(worst, bad)
        if len(seen) >= self._window and worst >= self._share * self._window:
            first = next((entry for entry in entries if _unreadable(entry.judgement)), None)
            raise StopLineError(
                f"{worst} of {self._window} records in a row are malformed or invalid: a bad deployment, most likely."
                " Nothing of the last batch is stored. Mend what sends them, or go on with --accept-bad-input."
                + ("" if first is None else f" The first of the batch: {_told(first)}")
            )

    def stored(self) -> None:
        """Those that were looked at last are stored."""
        self._unreadable.extend(self._coming)
        self._coming = []


def under(line: StopLine, store: Callable[..., Awaitable[Change]]) -> Store:
    """What stores a batch, and stops the line for a bad deployment."""

    async def store_batch(batch: Batch) -> Change:
        change = await store(batch, look=line.look)
        line.stored()
        return change

    return store_batch


def _told(entry: Entry[Judgement]) -> str:
    assert isinstance(entry.judgement, Rejected), "only what was refused is unreadable"
    return f"{' '.join(map(str, entry.place))}: {entry.judgement.reason}: {entry.judgement.detail}"


def _unreadable(judgement: Judgement) -> bool:
    return type(judgement) is Rejected and judgement.reason in _UNREADABLE
