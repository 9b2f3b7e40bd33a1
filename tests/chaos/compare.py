"""What must be there: what the oracle says of all that the broker holds."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from unittest.mock import patch

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from tests import oracle
from tests.chaos.load import Topics
from tests.histories import History
from tests.test_law_under_concurrency import unlike as everything_unlike

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def held(bootstrap: str, topics: Topics) -> History:
    """Every record of the topics, as any consumer of committed records is given it."""
    given = {topic: await records_of(bootstrap, topic) for topic in topics}
    kinds: Mapping[str, str] = {topics.devices: "device", topics.patients: "patient"}
    return History(
        tuple(oracle.Record(*place(r), instant(r), r.value) for r in given[topics.raw]),
        tuple(
            oracle.RegistryRecord(kind, *place(r), instant(r), False, r.value)
            for topic, kind in kinds.items()
            for r in given[topic]
        ),
    )


async def records_of(bootstrap: str, topic: str) -> list[ConsumerRecord]:
    options = {"isolation_level": "read_committed", "auto_offset_reset": "earliest"}
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, **options)  # without a group it has all partitions
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        given: list[ConsumerRecord] = []
        while any([await consumer.position(tp) < end for tp, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                given += records
        return given
    finally:
        await consumer.stop()


def place(record: ConsumerRecord) -> oracle.Place:
    return (f"kafka:{record.topic}", record.partition, record.offset)


def instant(record: ConsumerRecord) -> datetime:
    return _EPOCH + timedelta(milliseconds=record.timestamp)


async def unlike(url: str, given: History) -> list[str]:
    """Every difference between what is stored and what must be."""
    with patch.object(oracle, "Registry", Indexed):
        # With the broker's clock on the topic nobody asks when a source was first seen.
        return await everything_unlike(url, given, seen=lambda _: oracle.LATEST)


class Indexed(oracle.Registry):
    """The oracle's registry, which looks through all states for every reading, with an index of whose each is."""

    @cached_property
    def _of(self) -> dict[tuple[str, int], list[oracle.State]]:
        found: dict[tuple[str, int], list[oracle.State]] = {}
        for state in self.states:
            found.setdefault((state.kind, state.id), []).append(state)
        return found

    def device(self, device_id: int | None) -> list[oracle.State]:
        return self._of.get(("device", device_id), [])

    def patient(self, patient_id: int | None) -> list[oracle.State]:
        return self._of.get(("patient", patient_id), [])
