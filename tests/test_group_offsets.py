"""The group's committed offsets: what the tools that show lag are told, and that failing to tell them is no matter."""

import asyncio
import gc
import logging
import signal
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from ingest.kafka import KafkaSource
from ingest.ready import database_of
from ingest.settings import Settings
from tests.conftest import Broker, MakeTopics, Produce


@pytest.fixture
async def raw(make_topics: MakeTopics, produce: Produce) -> str:
    """A topic of three full batches."""
    (raw,) = await make_topics(raw=1)
    await produce(raw, [(b"k", b"v", 0)] * 30)
    return raw


@pytest.fixture
async def source(migrated: str, broker: Broker, raw: str) -> AsyncIterator[KafkaSource]:
    settings = Settings(database_url=migrated, kafka_bootstrap_servers=broker.bootstrap, batch_records=10)
    database = database_of(settings, "test")
    source = KafkaSource(settings, database, [raw], group_id=raw, holds="readings")
    await source.start()
    yield source
    await source.stop()
    await database.close()


async def told(raw: str, broker: Broker) -> int | None:
    """As a tool that shows lag asks."""
    tool = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap, group_id=raw, enable_auto_commit=False)
    tool.assign([TopicPartition(raw, 0)])
    await tool.start()
    try:
        return await tool.committed(TopicPartition(raw, 0))
    finally:
        await tool.stop()


async def take_and_store(source: KafkaSource, batches: int) -> None:
    for _ in range(batches):
        batch = None
        while batch is None:
            batch = await source.take()
        source.stored(batch)


async def test_what_was_stored_last_is_told_when_nothing_comes_after_it_and_before_the_group_is_left(
    source: KafkaSource, raw: str, broker: Broker, produce: Produce
) -> None:
    await take_and_store(source, 3)
    async with asyncio.timeout(10):
        while await told(raw, broker) != 30:
            assert await source.take() is None
    await produce(raw, [(b"k", b"v", 0)])
    await take_and_store(source, 1)
    await source.stop()
    assert await told(raw, broker) == 31


async def test_of_a_commit_that_the_broker_does_not_answer_nobody_is_told(
    source: KafkaSource, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    await take_and_store(source, 1)
    await asyncio.to_thread(broker.send_signal, signal.SIGSTOP)
    try:
        taking = asyncio.create_task(source.take())
        await asyncio.sleep(0.5)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        async with asyncio.timeout(8):
            await source.stop()
    finally:
        await asyncio.to_thread(broker.send_signal, signal.SIGCONT)
    gc.collect()
    assert not [
        record.message for record in caplog.records if record.name == "asyncio" and record.levelno > logging.INFO
    ]
