"""Which readings can be stored without asking first whether one stands under their key."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import Final

from schemas.judgement import ReadingKey
from schemas.kinds import Kind

_WARY_FOR: Final = 20
"""Batches. One that collides is stored twice over: at worst every twenty-first is."""
_MOST: Final = 2_000_000


class Newest:
    """The newest reading of each device and kind that this process has come across.

    A newer one stands alone, for all that we know: devices measure in the order of time. Another process may know
    better; then the unique key refuses ours, and for a while every reading is asked for.
    """

    def __init__(self) -> None:
        self._known: defaultdict[Kind, dict[int, datetime]] = defaultdict(dict)
        self._wary = 0

    def not_newer(self, keys: Collection[ReadingKey]) -> Collection[ReadingKey]:
        """Those under which a reading may stand."""
        if self._wary:
            return keys
        known = self._known
        return [
            key for key in keys
            if (newest := known[key.kind].get(key.subject)) is None or key.reading_timestamp <= newest
        ]  # fmt: skip

    def stored(self, keys: Collection[ReadingKey]) -> None:
        """Under each of these stands a reading now."""
        for subject, kind, moment in keys:
            known = self._known[kind]
            newest = known.get(subject)
            if newest is None or newest < moment:
                known[subject] = moment
        if sum(map(len, self._known.values())) > _MOST:
            self._known.clear()
        self._wary = max(0, self._wary - 1)

    def collided(self) -> None:
        """Under one of the others stood a reading all the same."""
        self._wary = _WARY_FOR
