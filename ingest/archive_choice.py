"""Which records of archives are wanted: taken within some time, and no more than so many."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from ingest.archive import Block
from schemas.wire import Instant

_INSTANT: Final = TypeAdapter[datetime](Instant)


class Made(NamedTuple):
    """What was chosen by now."""

    left_out: int
    left: int | None
    """How many more may be taken; None: any number."""

    def after(self, records: int) -> "Made":
        """If only so many more had been chosen, and none left out."""
        return self._replace(left=None if self.left is None else self.left - records)


class Choice:
    """What one run wants.

    :param since: the earliest `readingTimestamp`; :param until: the first that is too late.
    :param limit: how many records at most, of all archives together.
    """

    def __init__(
        self, *, since: datetime | None = None, until: datetime | None = None, limit: int | None = None
    ) -> None:
        self.made = Made(0, limit)
        self._since, self._until = since, until

    @property
    def exhausted(self) -> bool:
        return self.made.left == 0

    def wanted(self, blocks: Iterator[Block]) -> Iterator[Block]:
        """Those that are wanted; the others are neither stored nor set aside, and can be asked for another time."""
        if self._since is None and self._until is None and self.made.left is None:
            return blocks
        return self._chosen(blocks)

    def _chosen(self, blocks: Iterator[Block]) -> Iterator[Block]:
        while not self.exhausted and (block := next(blocks, None)) is not None:
            numbers, values = [], []
            for number, value in zip(block.numbers, block.values, strict=True):
                if self.exhausted:
                    break
                if self._outside(value):
                    self.made = self.made._replace(left_out=self.made.left_out + 1)
                    continue
                self.made = self.made.after(1)
                numbers.append(number)
                values.append(value)
            if values:
                yield Block(block.stretch, numbers, values)

    def _outside(self, value: bytes) -> bool:
        """Whether it says a time outside. One that says none that can be read lies in no other time: it is wanted."""
        if self._since is None and self._until is None:
            return False
        taken = _reading_timestamp(value)
        if taken is None:
            return False
        return (self._since is not None and taken < self._since) or (self._until is not None and taken >= self._until)


def _reading_timestamp(value: bytes) -> datetime | None:
    try:
        document: Any = from_json(value, allow_inf_nan=False)
        return _INSTANT.validate_python(document["payload"]["readingTimestamp"])
    except (ValueError, TypeError, KeyError, ValidationError):
        return None
