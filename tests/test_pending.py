"""What a broker hands over, as records of ours."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from ingest.pending import instant

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
