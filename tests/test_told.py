"""What a consumer tells in its log of what it stored: counts that agree with the tables, and the last of a burst."""

from collections import Counter
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingest import told
from ingest.change import READING, Change
from ingest.told import Tally


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds, to be turned by hand."""
    now = [100.0]
    monkeypatch.setattr(told.time, "monotonic", lambda: now[0])
    return now


def lines(tally: Tally) -> list[dict[str, Any]]:
    with capture_logs() as logged:
        tally.tell()
    return [{key: value for key, value in line.items() if key not in {"event", "log_level"}} for line in logged]


def test_what_gave_way_is_counted_as_what_it_became() -> None:
    tally = Tally()
    tally.add(Change(Counter({READING: 3, "invalid": 1}), Counter()))
    tally.add(Change(Counter({READING: 1, "conflicting_duplicate": 1}), Counter({READING: 1})))
    assert lines(tally) == [{"readings": 3, "rejections": 2, "invalid": 1, "conflicting_duplicate": 1}]
    tally.add(Change(Counter({READING: 1}), Counter({"invalid": 1})))
    assert lines(tally) == [{"readings": 4, "rejections": 1, "conflicting_duplicate": 1}], (
        "none is left out, not told as 0"
    )


def test_what_was_judged_again_is_told_beside_what_was_stored_and_only_where_anything_was() -> None:
    tally = Tally()
    tally.add(Change(Counter({READING: 2}), Counter()))
    tally.correct(Change(Counter({"decommissioned_device": 2}), Counter({READING: 2})))
    assert lines(tally) == [{"readings": 2, "rejections": 0, "corrected": 2}]


def test_the_last_of_a_burst_is_told_when_nothing_comes_after_it_and_once(clock: list[float]) -> None:
    tally = Tally()
    with capture_logs() as logged:
        for _ in range(3):
            tally.add(Change(Counter({READING: 1}), Counter()))
            tally.tell_now_and_then()
        assert logged == [], "not at once"
        clock[0] += 10
        tally.tell_now_and_then()
        clock[0] += 10
        tally.tell_now_and_then()
    assert [line["readings"] for line in logged] == [3]
