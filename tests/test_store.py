"""Rule 9 where batches of different sources meet."""

from datetime import timedelta

from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.store import Batch, store
from sinks.database import Database
from sinks.ledger import Move, begin_partition, open_source
from tests.build import LAW, NOON, envelope, record


async def test_a_reading_gives_way_to_one_of_another_source_that_was_received_before_it(migrated: str) -> None:
    """The later batch knows nothing of the first one's source but what stands in the database."""
    database, registry = Database(migrated, timeout_s=10), Registry(table_zones())
    for name, received in (("kafka:one", NOON), ("kafka:two", NOON - timedelta(seconds=1))):
        async with database.transaction() as connection:
            source = await open_source(connection, name, first_seen=NOON)
            await begin_partition(connection, source, 0, 0)
        given = record(envelope(patientId=7), received=received, source=name)
        batch = Batch([given], [Move(source, 0, 0, 1)], {name: source})
        await store(batch, database=database, registry=registry, law=LAW)
    which = "SELECT source FROM {} JOIN sources USING (source_id)"
    assert [row["source"] for row in await database.fetch(which.format("readings"))] == ["kafka:two"]
    assert [row["source"] for row in await database.fetch(which.format("rejections"))] == ["kafka:one"]
    await database.close()
