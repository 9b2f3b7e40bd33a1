"""Whether a topic's log is still the one taken so far: told by the last record taken, which must stand there yet."""

import asyncio

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from ingest.broker import beyond_the_end, consumer_options, failure
from ingest.high_water import high_water_marks
from ingest.pending import instant
from ingest.settings import Settings
from schemas.record import Place, Record
from sinks.errors import OperatorError
from sinks.ledger import Standing, Taken


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
    """Nothing, if the log may be the one taken so far although its last record is not found: compacted, or deleted.

    :raises OperatorError: if the log ends before the position, or what comes before it was received after it.
    :raises BrokerAwayError: when the broker does not tell.
    """
    taken, marks = standing.last, await high_water_marks(settings, [tp.topic])
    end = marks.get((tp.topic, tp.partition), 0)
    if end < standing.next_offset:
        raise beyond_the_end(tp.topic, tp.partition, standing.next_offset, end)
    first = await _first_record(settings, tp)
    if taken is None or first is None or first.offset > taken.offset:
        return
    received_at = instant(first.timestamp)
    late = received_at is not None and taken.received_at is not None and received_at > taken.received_at
    if late or (first.offset == taken.offset and not stands(first, taken)):
        raise made_anew(tp, first, taken)


async def _first_record(settings: Settings, tp: TopicPartition) -> "ConsumerRecord[bytes, bytes] | None":
    """The first record of the log, None where there is none; by a consumer without a group."""
    consumer = AIOKafkaConsumer(**consumer_options(settings))
    try:
        await consumer.start()
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        async with asyncio.timeout(settings.kafka_timeout_s):
            while True:
                for records in (await consumer.getmany(tp, timeout_ms=100, max_records=1)).values():
                    return records[0]
                if (mark := consumer.highwater(tp)) is not None and await consumer.position(tp) >= mark:
                    return None
    except (KafkaError, OSError) as error:  # a time-out is an OSError
        raise failure(error, "cannot be read") from None
    finally:
        await consumer.stop()
