"""A bad deployment stops the line: nearly all that comes is unreadable, and nothing of the last batch is stored."""

import asyncio
import json
import re
import signal
from datetime import timedelta

import asyncpg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.stop_line import StopLine, StopLineError
from schemas.judgement import Entry, Rejected
from schemas.reasons import Reason
from schemas.record import Place
from tests.build import NOON, SOURCE, envelope
from tests.conftest import Broker, MakeTopics, Produce
from tests.service import environment, readings


def judged(*reasons: str) -> list[Entry[Rejected]]:
    return [Entry(Place(SOURCE, 0, n), NOON, Rejected(Reason(reason))) for n, reason in enumerate(reasons)]


def stops(line: StopLine, entries: list[Entry[Rejected]]) -> bool:
    try:
        line.look(entries)
    except StopLineError:
        return True
    line.stored()
    return False


@example(batches=[[False, False, True, True], [False]], window=5, share=0.25)
@given(
    batches=st.lists(st.lists(st.booleans(), min_size=1, max_size=12), max_size=8),
    window=st.integers(1, 10),
    share=st.floats(0.1, 1),
)
def test_it_stops_at_the_first_batch_in_which_a_full_window_is_that_bad(
    batches: list[list[bool]], window: int, share: float
) -> None:
    """However the records are cut into batches; by looking at every window there is."""
    line, seen = StopLine(window, share), []
    for batch in batches:
        before = len(seen)
        seen += batch
        windows = [seen[end - window : end] for end in range(max(window, before + 1), len(seen) + 1)]
        expected = any(sum(one) >= share * window for one in windows)
        assert stops(line, judged(*("malformed" if bad else "duplicate" for bad in batch))) is expected
        if expected:
            break


@pytest.mark.parametrize("reason", Reason)
def test_malformed_and_invalid_count_and_nothing_else(reason: Reason) -> None:
    """A fleet of decommissioned devices, or a kind that we do not know yet, is no bad deployment."""
    assert stops(StopLine(3, 0.9), judged(*[reason] * 3)) is (reason in ("malformed", "invalid"))


def test_a_batch_that_was_not_stored_is_not_counted() -> None:
    line = StopLine(4, 0.5)
    assert not stops(line, judged("duplicate", "duplicate", "malformed"))
    for _ in range(3):  # looked at again and again, as while the database is away
        line.look(judged("duplicate"))
    assert stops(line, judged("malformed"))
    assert stops(line, judged("malformed"))


def test_a_window_of_0_never_stops() -> None:
    assert not stops(StopLine(0, 0.9), judged(*["malformed"] * 100))


# --- the service ----------------------------------------------------------------------------------------------------


async def given_world(
    make_topics: MakeTopics, produce: Produce, url: str, broker: Broker, **settings: object
) -> dict[str, str]:
    """Sixty good readings, and after them a deployment that sends three hundred which say nothing."""
    raw, devices, patients = await make_topics(raw=1, devices=1, patients=1)
    good = [(b"1", envelope(patientId=7, taken=NOON + timedelta(seconds=n)), None) for n in range(60)]
    bad = [(b"1", json.dumps({"type": "reading.heartRate", "payload": {"n": n}}).encode(), None) for n in range(300)]
    await produce(raw, [*good, *bad])
    topics = {"READINGS_RAW_TOPIC": raw, "READINGS_DEVICES_TOPIC": devices, "READINGS_PATIENTS_TOPIC": patients}
    return environment(url, broker, topics, BATCH_RECORDS=50, STOP_LINE_WINDOW=100, **settings)


async def counts(url: str) -> tuple[int, int, int]:
    connection = await asyncpg.connect(url)
    try:
        return (
            await connection.fetchval("SELECT count(*) FROM readings"),
            await connection.fetchval("SELECT count(*) FROM rejections"),
            await connection.fetchval("SELECT coalesce(max(next_offset), 0) FROM source_positions"),
        )
    finally:
        await connection.close()


async def test_until_caught_up_it_ends_with_1_and_a_line_that_says_what_to_do(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce
) -> None:
    env = await given_world(make_topics, produce, migrated, broker)
    async with readings("consume", "--until-caught-up", env=env) as consumer:
        code, _, err = await consumer.ended()
    assert code == 1, err
    (line,) = [line for line in err.splitlines() if line.startswith("readings: ")]
    assert re.fullmatch(
        r"readings: (9\d|100) of 100 records in a row are malformed or invalid: a bad deployment, most likely\. Nothing of"
        r" the last batch is stored\. Mend what sends them, or go on with --accept-bad-input\. The first of the batch: kafka:raw-\w+ 0 \d+: invalid: payload.*",
        line,
    )
    assert "Traceback" not in err
    stored, refused, position = await counts(migrated)
    assert stored + refused == position
    assert stored == 60
    assert refused < 100, "what came before the window was full"


@pytest.mark.thorough
async def test_it_stands_still_and_is_not_ready_until_it_is_told_to_accept_bad_input(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce
) -> None:
    env = await given_world(make_topics, produce, migrated, broker)
    async with readings("consume", env=env) as consumer:
        while (stood := await counts(migrated))[0] < 60:
            await asyncio.sleep(0.1)
        await asyncio.sleep(1.5)
        assert (await counts(migrated))[2] < 160, "it went on"
        stood = await counts(migrated)
        await asyncio.sleep(0.5)
        assert await counts(migrated) == stood
        consumer.send(signal.SIGTERM)
        code, _, err = await consumer.ended()
    assert code == 0, err
    assert err.count("the line stands still") == 1, "it says so once a minute"
    async with readings("consume", "--until-caught-up", "--accept-bad-input", env=env) as consumer:
        code, _, err = await consumer.ended()
    assert code == 0, err
    assert await counts(migrated) == (60, 300, 360)
