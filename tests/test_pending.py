"""What a broker hands over, as records of ours."""

from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import TopicPartition
from hypothesis import example, given
from hypothesis import strategies as st

import ingest.pending
from ingest.pending import Pending, instant
from ingest.settings import Settings
from sinks.ledger import Gap, Source

LAST_MS = 253_402_300_799_999


@given(st.integers(0, LAST_MS))
@example(4_102_444_799_999)
@example(4_102_444_800_000)
@example(LAST_MS)
def test_a_timestamp_is_told_to_the_millisecond(timestamp_ms: int) -> None:
    assert instant(timestamp_ms) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=timestamp_ms)


@given(st.integers())
def test_any_timestamp_is_told_or_unknown(timestamp_ms: int) -> None:
    """With CreateTime it is whatever a sender wrote."""
    told = instant(timestamp_ms)
    assert (told is None) == (timestamp_ms < 0)
    assert told is None or told.tzinfo is UTC


def test_a_batch_that_is_not_full_goes_so_long_after_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came while that one was stored has waited already; a silence before makes nobody wait."""
    now = 1_000.0
    monkeypatch.setattr(ingest.pending.time, "monotonic", lambda: now)
    settings = Settings(database_url="postgresql://x", batch_age_ms=100)
    tp = TopicPartition("raw", 0)
    pending = Pending({"raw": Source(1, "kafka:raw", datetime(2026, 1, 1, tzinfo=UTC))})
    assert (pending.wait_ms(settings), pending.ready(settings)) == (100, False)
    now += 0.03
    pending.pass_over(tp, Gap(0, 1, "marker"))
    assert (pending.wait_ms(settings), pending.ready(settings)) == (70, False)
    now += 0.07
    assert (pending.wait_ms(settings), pending.ready(settings)) == (0, True)
    pending = Pending({"raw": Source(1, "kafka:raw", datetime(2026, 1, 1, tzinfo=UTC))})
    now += 60
    assert (pending.wait_ms(settings), pending.ready(settings)) == (100, False)
    pending.pass_over(tp, Gap(1, 2, "marker"))
    assert pending.ready(settings)
