"""Waiting, and ending: what fails in one loop ends the others."""

import asyncio
from contextlib import suppress

import pytest

from ingest.patience import Patience, before, or_all_stop
from sinks.errors import AwayError


async def test_where_one_loop_fails_the_others_end_even_if_they_lose_their_cancellation() -> None:
    stop, lost = asyncio.Event(), 0

    async def fails() -> None:
        await asyncio.sleep(0.05)
        raise ValueError("mend me")

    async def loses_it() -> None:
        nonlocal lost
        while not stop.is_set():
            try:
                await asyncio.sleep(0.5)
            except asyncio.CancelledError:
                lost += 1

    async def together() -> None:
        async with asyncio.timeout(10), asyncio.TaskGroup() as loops:
            for loop in (fails(), loses_it()):
                loops.create_task(or_all_stop(stop, loop))

    with pytest.raises(ExceptionGroup) as raised:
        await together()
    assert [str(error) for error in raised.value.exceptions] == ["mend me"]
    assert lost == 1


async def test_a_loop_that_ends_by_itself_stops_nobody() -> None:
    stop = asyncio.Event()
    await or_all_stop(stop, asyncio.sleep(0))
    assert not stop.is_set()


async def test_what_is_done_before_a_stop_is_given_and_what_is_not_is_cut_off() -> None:
    stop, cut_off = asyncio.Event(), False

    async def long() -> int:
        nonlocal cut_off
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cut_off = True
            raise
        return 1

    assert await before(stop, lambda: asyncio.sleep(0, result=2)) == 2
    asyncio.get_running_loop().call_later(0.05, stop.set)
    assert await before(stop, long) is None
    assert cut_off
    assert await before(stop, long) is None, "stopped already: it is never begun"


async def test_who_loses_a_cancellation_and_waits_on_is_cut_off_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.patience._CANCEL_AGAIN_AFTER_S", 0.05)
    stop, lost = asyncio.Event(), 0

    async def loses_two() -> None:
        nonlocal lost
        while lost < 2:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                lost += 1
        await asyncio.sleep(30)

    asyncio.get_running_loop().call_later(0.05, stop.set)
    async with asyncio.timeout(10):
        assert await before(stop, loses_two) is None
    assert lost == 2


async def test_who_gives_up_after_a_while_looks_often_and_a_service_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def longest(patiently: Patience) -> float:
        left = 40

        async def away() -> None:
            nonlocal left
            if left:
                left -= 1
                raise AwayError("the database cannot be reached")

        waits.clear()
        await patiently(away)
        assert len(waits) == 40
        return max(waits)

    async def skip(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", skip)
    assert 1 < await longest(Patience(give_up_after_s=600)) <= 2
    assert 2 < await longest(Patience()) <= 10


async def test_what_was_begun_before_stop_ends_with_who_began_it_however_often_that_is_cancelled() -> None:
    """Of what loses a cancellation, too: the second one comes while it is waited for."""
    stop, done = asyncio.Event(), []

    async def deaf() -> None:
        ends_at = asyncio.get_running_loop().time() + 0.2
        while asyncio.get_running_loop().time() < ends_at:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.02)
        done.append("ended")

    waiting = asyncio.create_task(before(stop, deaf))
    for _ in range(2):
        await asyncio.sleep(0.01)
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert done == ["ended"]
