"""A short `make chaos`: see `tests.chaos`."""

import asyncio
import secrets

import pytest

from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from tests.apache_kafka import ApacheKafka
from tests.chaos.run import chaos
from tests.conftest import ON_APACHE_KAFKA

pytestmark = [*ON_APACHE_KAFKA, pytest.mark.thorough]

SECONDS = 40


async def test_whatever_breaks_every_row_and_column_is_what_the_oracle_says(
    migrated: str, postgres_server: EmbeddedPostgres, apache_kafka: ApacheKafka
) -> None:
    """Consumers are killed, put to sleep and ended, database and broker restarted, while records flow in."""
    seed = secrets.randbelow(10**6)
    print(f"`python -m tests.chaos --seconds {SECONDS} --seed {seed}`")
    await asyncio.to_thread(apache_kafka.start)
    outcome = await chaos(postgres_server, migrated, apache_kafka, seconds=SECONDS, seed=seed, consumers=3, say=print)
    print(outcome.counts)
    assert not outcome.faults, "\n".join(outcome.faults[:20])
