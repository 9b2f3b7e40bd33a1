"""How the broker is asked: a question that is cut off leaves nothing open."""

import asyncio
import gc

import pytest
from aiokafka.conn import AIOKafkaConnection

from ingest.broker import partitions_of
from ingest.settings import Settings
from tests.conftest import Broker, MakeTopics


async def test_who_is_cut_off_at_any_moment_of_asking_leaves_no_connection_open(
    broker: Broker, make_topics: MakeTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    (raw,) = await make_topics(raw=1)
    settings = Settings(database_url="postgresql://nowhere", kafka_bootstrap_servers=broker.bootstrap)
    close, left_open = AIOKafkaConnection.__del__, 0

    def count(connection: AIOKafkaConnection) -> None:
        nonlocal left_open
        left_open += connection.connected()
        close(connection)

    gc.collect()
    monkeypatch.setattr(AIOKafkaConnection, "__del__", count)
    for steps in range(80):  # of the event loop; about sixty are what an answer takes
        asking = asyncio.ensure_future(partitions_of(settings, [raw]))
        for _ in range(steps):
            await asyncio.sleep(0 if steps % 2 else 0.000_1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    gc.collect()
    assert not left_open
    assert await partitions_of(settings, [raw]) == {raw: 1}
