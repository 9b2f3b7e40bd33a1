"""What a process stored and set aside, told in its log now and then."""

import time
from collections import Counter
from typing import Final

import structlog

from ingest.change import READING, Change

log = structlog.get_logger(__name__)

_TELL_EVERY_S: Final = 10.0


class Tally:
    """What became of the records that this process took, and how many lines it corrected, told now and then."""

    def __init__(self) -> None:
        self._became: Counter[str] = Counter()
        self._corrected = 0
        self._told_at = time.monotonic()
        self._told: tuple[Counter[str], int] = (Counter(), 0)

    @property
    def readings(self) -> int:
        return self._became[READING]

    @property
    def rejections(self) -> Counter[str]:
        """By reason."""
        return Counter({fate: lines for fate, lines in self._became.items() if fate != READING and lines})

    def add(self, change: Change) -> None:
        """A batch was stored; what gave way to it is counted as what it became."""
        self._became.update(change.added)
        self._became.subtract(change.removed)

    def correct(self, change: Change) -> None:
        """Lines were judged again."""
        self._corrected += change.removed.total()

    def tell_now_and_then(self) -> None:
        """To be called every second or so: what came last is told too, when nothing comes after it."""
        if time.monotonic() - self._told_at >= _TELL_EVERY_S:
            self.tell()

    def tell(self) -> None:
        """What was done since the start, if anything was since the last time."""
        self._told_at = time.monotonic()
        if (now := (Counter(self._became), self._corrected)) == self._told:
            return
        self._told = now
        rejections = self.rejections
        log.info(
            "stored since the start", readings=self.readings, rejections=rejections.total(), **rejections,
            **({"corrected": self._corrected} if self._corrected else {}),
        )  # fmt: skip
