"""A batch judged: first by what the process knows by itself, then by all that there is to know."""

import asyncio
from collections import deque
from typing import Final, cast

from enrich.judge import judge
from enrich.law import Law
from enrich.registry import NOTHING_LEARNT, Registry
from ingest.batch import Batch
from ingest.learn import hold, learn
from ingest.newest import Newest
from schemas.envelope import receipt_of
from schemas.judgement import Accepted, Entry, Judgement, Rejected
from schemas.reasons import Reason
from schemas.states import NOBODY, Names
from sinks.copy_format import row_of
from sinks.database import Connection

_AT_ONCE: Final = 100
"""Records: some 0.5 ms, by which the database may have to wait for us at each step of a transaction."""


class Judging:
    """The lines that the records of a batch become, in their order, by rules 1 to 8.

    :param newest: of those that it takes for newer than all others the row is made at once, while all that they say is
        in the processor's caches: later it takes half as long again. None: no row is made.
    """

    def __init__(self, batch: Batch, registry: Registry, law: Law, newest: Newest | None = None) -> None:
        self.batch: Final = batch
        self._records, self._refused, self._sources = batch.records, batch.refused, batch.sources
        self._first_seen = {name: source.first_seen for name, source in batch.sources.items()}
        self.newest: Final = newest
        self._registry, self._law = registry, law
        self._by_version = registry.version  # it may learn, for another task, before our transaction begins
        self._entries: list[Entry[Judgement]] = []
        self._in_doubt = set[int]()
        self._unheard_of = set[int]()
        self._wanted = NOBODY

    async def begin(self, at_once: int) -> None:
        """Judge all by what is known, so many at once: others have their turn between."""
        while len(self._entries) < len(self._records):
            self._judge_more(at_once)
            await asyncio.sleep(0)

    @property
    def entries(self) -> list[Entry[Judgement]]:
        """What is known of them; until they are settled only rules 1 to 4, which ask no registry, are sure."""
        self._judge_more(len(self._records))
        return self._entries

    async def settled(self, connection: Connection) -> list[Entry[Judgement]]:
        """What they are by all that is told until now; the registry keeps still until the transaction ends.

        :raises OperatorError: when the law has changed since they were judged first.
        """
        entries, registry = self.entries, self._registry
        changed = await hold(connection, registry, since=self._by_version)
        if any(changed):
            self._in_doubt |= {number for number, entry in enumerate(entries) if touches(changed, entry.judgement)}
        while self._in_doubt:
            await learn(connection, registry, self._wanted)
            again, self._in_doubt = sorted(self._in_doubt), set()
            for number in again:
                entries[number] = self._judged(number)
            self._wanted = registry.take_wanted()
        return entries

    def _judge_more(self, most: int) -> None:
        """Judge so many more of them at most by what is known."""
        entries = self._entries
        begin = len(entries)
        for number in range(begin, min(begin + most, len(self._records))):
            entries.append(self._judged(number))
        self._wanted = self._wanted.union(self._registry.take_wanted())

    def _judged(self, number: int) -> Entry[Judgement]:
        """By what is known, with its row; in doubt, if it names somebody of whom the registry has not learnt yet."""
        registry, record = self._registry, self._records[number]
        if self._refused is not None:  # it may be whom it names that the database refuses to look up
            refused = Rejected(Reason.UNSTORABLE, self._refused, payload=record.value or b"")
            return Entry(record.place, receipt_of(record), refused)
        missed, first_seen = registry.missed, self._first_seen[record.place.source]
        entry = judge(record, first_seen=first_seen, registry=registry, law=self._law)
        if registry.missed != missed:
            self._in_doubt.add(number)
        elif self._may_stand_alone(entry.judgement):
            entry.row = row_of(cast("Entry[Accepted]", entry), self._sources)
        return entry

    def _may_stand_alone(self, judgement: Judgement) -> bool:
        """Whether it is a reading that is newer than all others; from now on it is one of those."""
        if self.newest is None or not isinstance(judgement, Accepted):
            return False
        return self.newest.note(judgement, self._unheard_of)


class Ahead:
    """The batch that comes next, judged by what is known while the one before it is stored, or waits for its turn.

    :param at_once: so many records without a pause.
    """

    def __init__(self, registry: Registry, law: Law, newest: Newest, *, at_once: int = _AT_ONCE) -> None:
        self._registry, self._law, self._newest, self._at_once = registry, law, newest, at_once
        self._begun = deque[Judging](maxlen=2)

    async def judge(self, batch: Batch) -> None:
        if self._registry.version == NOTHING_LEARNT:
            return  # a part of it would be judged at no version, and the rest at the first
        judging = Judging(batch, self._registry, self._law, self._newest)
        self._begun.append(judging)
        await judging.begin(self._at_once)

    def taken(self, batch: Batch) -> Judging | None:
        """What was begun of this batch, once: when it is stored again it is judged anew."""
        for judging in self._begun:
            if judging.batch is batch:
                self._begun.remove(judging)
                return judging
        return None


def touches(changed: Names, judgement: Judgement) -> bool:
    """Whether one of these is a device, identifier or patient that the reading names or was given."""
    reading = judgement.reading
    if reading is None:
        return False
    return (
        not changed.devices.isdisjoint((judgement.device_id, reading.device_id_named))
        or not changed.patients.isdisjoint((judgement.patient_id, reading.patient_id_named))
        or not changed.identifiers.isdisjoint(reading.identifiers_named)
    )
