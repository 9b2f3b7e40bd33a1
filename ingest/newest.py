"""Which readings can be stored without asking first whether one stands under their key."""

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

    def note(self, accepted: Accepted, unheard_of: set[int]) -> bool:
        """Note one; whether it is newer than all that were noted before, and its row may be made.

        :param unheard_of: collects those who are first heard of in a batch: of them nothing is newer in that batch.
        """
        reading, subject = accepted.reading, accepted.subject
        known, moment = self._known[reading.kind], reading.reading_timestamp
        newest = known.get(subject)
        if newest is not None and moment <= newest:
            return False
        known[subject] = moment
        if newest is None:
            unheard_of.add(subject)
        return not self._wary and subject not in unheard_of

    def told_apart(self, entries: list[Entry[Accepted]]) -> tuple[list[Entry[Accepted]], list[Entry[Accepted]]]:
        """Those that stand alone, and those beside which another may stand: in the database or among themselves.

        Alone are those whose rows were made when they were noted. No two of a batch have one key, unless too many were
        known between; of two batches they may, if one is judged again. Then, too, the key refuses the second.
        """
        if sum(map(len, self._known.values())) > _MOST:
            self._known = {kind: {} for kind in Kind}
        if self._wary:
            self._wary -= 1
            return [], entries
        beside = [entry for entry in entries if entry.row is None]
        # The newest of a device may be told twice here: then the other one is not newer.
        subjects = {entry.judgement.subject for entry in beside}
        keys = {entry.judgement.key for entry in beside}
        alone = []
        for entry in entries:
            if entry.row is None:
                continue
            if entry.judgement.subject in subjects and entry.judgement.key in keys:
                beside.append(entry)
            else:
                alone.append(entry)
        return alone, beside

    def collided(self) -> None:
        """Under one of those that stood alone stood a reading all the same."""
        self._wary = _WARY_FOR
