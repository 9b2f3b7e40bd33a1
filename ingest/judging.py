"""A batch judged: first by what the process knows by itself, then by all that there is to know."""

from collections.abc import Iterable

from enrich.judge import judge
from enrich.law import Law
from enrich.registry import Registry
from ingest.batch import Batch
from ingest.learn import hold, learn
from schemas.judgement import Entry, Judgement, Rejected
from schemas.reasons import Reason
from schemas.record import Record
from schemas.states import Names
from sinks.database import Connection


class Judging:
    """The lines that the records of a batch become, in their order, by rules 1 to 8."""

    def __init__(self, batch: Batch, registry: Registry, law: Law) -> None:
        self._batch, self._registry, self._law = batch, registry, law
        self._by_version = registry.version  # it may learn, for another task, before our transaction begins
        self._lines: dict[int, Entry[Judgement]] = {}
        self._in_doubt = self._judge(range(len(batch.records)))
        self._wanted = registry.take_wanted()

    @property
    def entries(self) -> list[Entry[Judgement]]:
        """What is known of them; until they are settled only rules 1 to 4, which ask no registry, are sure."""
        return list(self._lines.values())

    async def settled(self, connection: Connection) -> list[Entry[Judgement]]:
        """What they are by all that is told until now; the registry keeps still until the transaction ends.

        :raises OperatorError: when the law has changed since they were judged first.
        """
        changed = await hold(connection, self._registry, since=self._by_version)
        in_doubt = self._in_doubt
        if any(changed):
            in_doubt |= {number for number, entry in self._lines.items() if touches(changed, entry.judgement)}
        while in_doubt:
            await learn(connection, self._registry, self._wanted)
            in_doubt = self._judge(sorted(in_doubt))
            self._wanted = self._registry.take_wanted()
        return self.entries

    def _judge(self, numbers: Iterable[int]) -> set[int]:
        """Judge these records by what is known; those that name somebody of whom the registry has not learnt yet."""
        records, registry, in_doubt = self._batch.records, self._registry, set[int]()
        for number in numbers:
            missed = registry.missed
            self._lines[number] = self._judged(records[number])
            if registry.missed != missed:
                in_doubt.add(number)
        return in_doubt

    def _judged(self, record: Record) -> Entry[Judgement]:
        first_seen = self._batch.sources[record.place.source].first_seen
        entry = judge(record, first_seen=first_seen, registry=self._registry, law=self._law)
        if self._batch.refused is None:
            return entry
        refused = Rejected(Reason.UNSTORABLE, self._batch.refused, payload=record.value or b"")
        return Entry(entry.place, entry.received_at, refused)


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
