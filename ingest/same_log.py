"""Whether a topic's log is still the one taken so far: told by the last record taken, which must stand there yet."""

import asyncio
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from ingest.broker import beyond_the_end, consumer_options, failure, start_whole
from ingest.high_water import high_water_marks
from ingest.pending import instant
from ingest.settings import Settings
from schemas.record import Place, Record
from sinks.errors import OperatorError
from sinks.ledger import Standing, Taken

_LOG_APPEND_TIME: Final = 1


def stands(record: "ConsumerRecord[bytes, bytes]", taken: Taken) -> bool:
    """Whether the record at the offset of the one taken last is that one."""
    found = _as_taken(record)
    return (found.received_at, found.digest) == (taken.received_at, taken.digest)


def made_anew(tp: TopicPartition, record: "ConsumerRecord[bytes, bytes]", taken: Taken) -> OperatorError:
    """What to stop with: going on there would pass over what the new log begins with."""
    found = _as_taken(record)
    unlike = "another content" if found.received_at == taken.received_at else f"received at {found.received_at}"
    return OperatorError(
        f"at offset {taken.offset} of {tp.topic} partition {tp.partition}, taken up to there, stands another record"
        f" than the one received at {taken.received_at} ({unlike}): the topic was made anew under its name, or this is"
        f" another cluster. To take its log from the beginning: readings sources renew {tp.topic}"
    )


def _as_taken(record: "ConsumerRecord[bytes, bytes]") -> Record:
    return Record(Place("", record.partition, record.offset), instant(record.timestamp), record.value)


async def check_same_log(settings: Settings, tp: TopicPartition, standing: Standing) -> None:
    """Nothing, if the log may be the one taken so far although its last record has not come: slow, compacted, deleted.

    :raises OperatorError: if the log ends before the position, if another record stands in the place of the last one,
        or none does and by the broker's own clock what comes before it was received after it.
    :raises BrokerAwayError: when the broker does not tell.
    """
    taken, marks = standing.last, await high_water_marks(settings, [tp.topic])
    end = marks.get((tp.topic, tp.partition), 0)
    if end < standing.next_offset:
        raise beyond_the_end(tp.topic, tp.partition, standing.next_offset, end)
    if taken is None:
        return
    there = await first_record(settings, tp, taken.offset)
    if there is not None and there.offset == taken.offset:
        if not stands(there, taken):
            raise made_anew(tp, there, taken)
        return
    first = await first_record(settings, tp, 0)
    if first is None or first.offset > taken.offset or first.timestamp_type != _LOG_APPEND_TIME:
        return
    received_at = instant(first.timestamp)
    if received_at is not None and taken.received_at is not None and received_at > taken.received_at:
        raise made_anew(tp, first, taken)


async def first_record(settings: Settings, tp: TopicPartition, offset: int) -> "ConsumerRecord[bytes, bytes] | None":
    """The first record of the log from an offset on, None where there is none; by a consumer without a group."""
    consumer = AIOKafkaConsumer(**consumer_options(settings) | {"auto_offset_reset": "earliest"})
    try:
        await start_whole(consumer)
        consumer.assign([tp])
        consumer.seek(tp, offset)
        async with asyncio.timeout(settings.kafka_timeout_s):
            while True:
                for records in (await consumer.getmany(tp, timeout_ms=100)).values():
                    for record in records:
                        if record.offset >= offset:
                            return record
                if (mark := consumer.highwater(tp)) is not None and await consumer.position(tp) >= mark:
                    return None
    except (KafkaError, OSError) as error:  # a time-out is an OSError
        raise failure(error, "cannot be read") from None
    finally:
        await consumer.stop()
