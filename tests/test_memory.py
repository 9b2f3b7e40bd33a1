"""Memory is bounded by the settings, not by how much waits or how large a file is. More of both is in tests/bench."""

from pathlib import Path

import pytest

from ingest.demo.embedded_broker import EmbeddedBroker
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from tests.bench import backfill_memory
from tests.bench.memory import LIMIT_MB, caught_up
from tests.bench.parts import Parts
from tests.conftest import MakeTopics

pytestmark = pytest.mark.thorough


async def test_sixty_thousand_readings_that_wait_are_stored_within_300_mb(
    postgres_server: EmbeddedPostgres, migrated: str, broker: EmbeddedBroker, make_topics: MakeTopics
) -> None:
    """All of them are in the broker before the process starts: the most that it may ever have to catch up with."""
    await make_topics(warm=1)  # finds the broker running, whatever an earlier test did to it
    parts = Parts(postgres_server.url, broker.bootstrap, postgres_server.pid, broker.pid)
    found = await caught_up(parts, migrated, count=60_000, devices=2_000)
    assert found["rss_mb_100"] < LIMIT_MB, found
    assert found["stored"] > 59_900, found


async def test_an_archive_of_400_mb_is_stored_within_300_mb(migrated: str, tmp_path: Path) -> None:
    found = await backfill_memory.run(migrated, tmp_path, count=25_000, bytes_a_line=17_000)
    assert found.unpacked_gb * 1_024 > LIMIT_MB + 90, found
    assert found.peak_rss_mb < LIMIT_MB, found
