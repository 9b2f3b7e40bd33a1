"""How far the log reaches at this moment: told by fetches, since `end_offsets` alone may be wrong or old."""

import asyncio
from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ingest.broker import consumer_options, failure, partitions_of, start_whole
from ingest.settings import Settings


async def high_water_marks(settings: Settings, topics: Collection[str]) -> dict[tuple[str, int], int]:
    """The high-water mark of every (topic, partition), each from a fetch that was answered after this was called.

    :raises OperatorError: when a topic is missing; :raises BrokerAwayError: when the broker does not answer in time.
    """
    counts = await partitions_of(settings, topics)
    asked = [TopicPartition(topic, partition) for topic, count in counts.items() for partition in range(count)]
    # A consumer of its own and without a group: its first fetches are all answered after now, whoever owns what.
    # They ask for what lies behind the end, and need not wait for it.
    only_the_mark = {"max_partition_fetch_bytes": 1, "fetch_max_bytes": 1, "fetch_max_wait_ms": 10}
    consumer = AIOKafkaConsumer(**consumer_options(settings) | only_the_mark)
    try:
        await start_whole(consumer)
        consumer.assign(asked)
        for tp, end in (await consumer.end_offsets(asked)).items():
            consumer.seek(tp, end)
        async with asyncio.timeout(settings.kafka_timeout_s):
            while any(consumer.highwater(tp) is None for tp in asked):
                await consumer.getmany(timeout_ms=50)
        return {(tp.topic, tp.partition): consumer.highwater(tp) for tp in asked}
    except (KafkaError, OSError) as error:  # a time-out is an OSError
        raise failure(error, "cannot tell how far its log reaches") from None
    finally:
        await consumer.stop()
