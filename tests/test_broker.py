"""How the broker is asked: a question that is cut off leaves nothing open."""

import asyncio
import gc
import warnings

from ingest.broker import partitions_of
from ingest.settings import Settings
from tests.conftest import Broker, MakeTopics


async def test_who_is_cut_off_at_any_moment_of_asking_leaves_no_connection_open(
    broker: Broker, make_topics: MakeTopics
) -> None:
    (raw,) = await make_topics(raw=1)
    settings = Settings(database_url="postgresql://nowhere", kafka_bootstrap_servers=broker.bootstrap)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for steps in range(80):  # of the event loop; about sixty are what an answer takes
            asking = asyncio.ensure_future(partitions_of(settings, [raw]))
            for _ in range(steps):
                await asyncio.sleep(0 if steps % 2 else 0.000_1)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        gc.collect()
    assert [str(one.message) for one in seen] == []
    assert await partitions_of(settings, [raw]) == {raw: 1}
