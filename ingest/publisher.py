"""Archived records into the backfill topic, for consumers to store: the other end of `ingest.carried`."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from ingest.batch import Batch
from ingest.broker import connection_options, failure, leave, partitions_of, start_whole
from ingest.carried import headers_of
from ingest.change import Change
from ingest.content import LONGEST_LINE, UnreadableFileError
from ingest.patience import Patience
from ingest.settings import Settings, SettingsError
from schemas.record import ARCHIVE, Place, Record

_RUN: Final = 1_000
"""So many records that follow each other in an archive lie in one partition: what a consumer takes is then a few runs,
and what it passes over a few gaps, however many consumers share an archive."""


class Publisher:
    """Stands where a run of the file stores: what it is given lies in the topic when `publish` returns."""

    def __init__(self, producer: Any, topic: str, partitions: int) -> None:
        self._producer, self._topic, self._partitions = producer, topic, partitions

    async def publish(self, batch: Batch, **_: Any) -> Change:
        """Send every record and wait until all replicas in sync have it; some may lie there twice afterwards.

        :raises BrokerAwayError: when the broker does not take them in time.
        :raises UnreadableFileError: when one is larger than the topic takes.
        """
        stands = [Place(move.source.name, move.partition, at) for move in batch.moves for at in move.repeated]
        records = [*batch.records, *(Record(place, None, None) for place in stands)]
        answers = await asyncio.gather(*map(self._deliver, records), return_exceptions=True)
        for record, answer in zip(records, answers, strict=True):
            match answer:
                case MessageSizeTooLargeError():
                    raise UnreadableFileError(
                        f"record {record.place.offset} is larger than the topic takes: raise the max.message.bytes of"
                        f" {self._topic} and run the same again, or store the file without --to-topic"
                    )
                case KafkaError() | OSError():
                    raise failure(answer, "takes no records")
                case BaseException():
                    raise answer
        return Change(Counter(), Counter())

    async def _deliver(self, record: Record) -> None:
        where: dict[str, Any] = {"partition": self._partition(record.place), "headers": headers_of(record)}
        key = b"" if record.value is None else None  # the client sends nothing that has neither
        await (await self._producer.send(self._topic, record.value, key, **where))

    def _partition(self, place: Place) -> int:
        """The same for a record whenever it is published; archives begin in different ones."""
        begins = int(place.source.removeprefix(ARCHIVE)[:8], 16)
        return (begins + place.offset // _RUN) % self._partitions


@asynccontextmanager
async def publisher(settings: Settings) -> AsyncIterator[Publisher]:
    """A publisher to the backfill topic, at a broker that answers within `connect_timeout_s`.

    :raises SettingsError: when no topic is set; :raises OperatorError: when it is missing.
    :raises BrokerAwayError: when the broker does not answer in time.
    """
    topic = settings.backfill_topic
    if topic is None:
        raise SettingsError("READINGS_BACKFILL_TOPIC: needed for --to-topic, and of its consumers")
    within = Patience(give_up_after_s=settings.connect_timeout_s)
    partitions = (await within(lambda: partitions_of(settings, [topic])))[topic]
    producer = AIOKafkaProducer(
        **connection_options(settings),
        acks="all",
        compression_type="lz4",
        linger_ms=20,
        max_batch_size=262_144,
        max_request_size=LONGEST_LINE + 1_048_576,  # what is too large the topic tells
    )
    try:
        try:
            await start_whole(producer)
        except (KafkaError, OSError) as error:
            raise failure(error, "cannot be reached") from None
        yield Publisher(producer, topic, partitions)
    finally:
        await leave(producer)
