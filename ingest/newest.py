"""Which readings can be stored without asking first whether one stands under their key."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from schemas.judgement import Accepted, Entry
from schemas.kinds import Kind

_WARY_FOR: Final = 20
"""Batches. One that collides is stored twice over: at worst every twenty-first is."""
_MOST: Final = 2_000_000


class Newest:
    """The newest reading of each device and kind that this process has come across, stored or not.

    A newer one stands alone, for all that we know: devices measure in the order of time. Another process may know
    better; then the unique key refuses ours, and for a while every reading is asked for.
    """

    def __init__(self) -> None:
        self._known: dict[Kind, dict[int, datetime]] = {kind: {} for kind in Kind}
        self._wary = 0

    def told_apart(self, entries: Iterable[Entry[Accepted]]) -> tuple[list[Entry[Accepted]], list[Entry[Accepted]]]:
        """Those that stand alone, and those beside which another may stand: in the database or among themselves."""
        newer, beside, subjects = list[Entry[Accepted]](), list[Entry[Accepted]](), set[int]()
        unheard_of = set[int]()
        for entry in entries:
            accepted = entry.judgement
            reading, subject = accepted.reading, accepted.subject
            known, moment = self._known[reading.kind], reading.reading_timestamp
            newest = known.get(subject)
            if newest is None:
                unheard_of.add(subject)
            if newest is None or moment <= newest or subject in unheard_of:
                beside.append(entry)
                subjects.add(subject)
            else:
                newer.append(entry)
            if newest is None or moment > newest:
                known[subject] = moment
        if sum(map(len, self._known.values())) > _MOST:
            self._known = {kind: {} for kind in Kind}
        if self._wary:
            self._wary -= 1
            return [], [*beside, *newer]
        # The newest of a device may be told twice here: then the other one is among those that are not newer.
        keys = {entry.judgement.key for entry in beside}
        alone = []
        for entry in newer:
            if entry.judgement.subject in subjects and entry.judgement.key in keys:
                beside.append(entry)
            else:
                alone.append(entry)
        return alone, beside

    def collided(self) -> None:
        """Under one of those that stood alone stood a reading all the same."""
        self._wary = _WARY_FOR
