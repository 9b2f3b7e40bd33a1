"""What a process stored and set aside, told in its log now and then."""

import time
from collections import Counter
from typing import Final

import structlog

from ingest.change import READING, Change

log = structlog.get_logger(__name__)

_TELL_EVERY_S: Final = 10.0


class Tally:
    """What this process stored and set aside, told now and then."""

    def __init__(self) -> None:
        self.readings = 0
        self.rejections: Counter[str] = Counter()
        self._told_at = time.monotonic()
        self._told = (0, 0)

    def add(self, change: Change) -> None:
        self.readings += change.added[READING]
        self.rejections.update({fate: lines for fate, lines in change.added.items() if fate != READING})
        if time.monotonic() - self._told_at >= _TELL_EVERY_S:
            self.tell()

    def tell(self) -> None:
        """What was stored since the start, if anything was since the last time."""
        self._told_at = time.monotonic()
        if (now := (self.readings, self.rejections.total())) == self._told:
            return
        self._told = now
        log.info(
            "stored since the start", readings=self.readings, rejections=self.rejections.total(), **self.rejections
        )
