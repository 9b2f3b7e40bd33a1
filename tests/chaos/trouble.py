"""What happens to those who work: consumers are killed, put to sleep and ended; the servers they lean on come and go."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random

from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.demo.kept_server import KeptServer
from tests.apache_kafka import ApacheKafka
from tests.service import Process, readings

TROUBLES = (
    "kills",
    "stops",
    "stops beyond the session",
    "graceful ends",
    "postgres restarts",
    "kafka restarts",
)
ENDS_WITHIN_S = 60
"""How long a consumer may take after SIGTERM, on a machine that is busy with all this."""


class EndedByItselfError(Exception):
    """A consumer ended though nobody asked for it, or otherwise than it should."""


async def came_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


class Replica:
    """One place among the consumers: a process, and after its end the next."""

    def __init__(self, number: int, env: Mapping[str, str], dice: Random, happened: Counter[str]) -> None:
        self.logs: list[str] = []
        self.number, self._env, self._dice, self._happened = number, dict(env), dice, happened
        self._session_s = float(env["READINGS_KAFKA_SESSION_TIMEOUT_S"])
        self._process: Process | None = None

    async def live(self, peace: asyncio.Event, over: asyncio.Event) -> None:
        """One trouble after another; from `peace` on undisturbed; ended when all is `over`.

        :raises EndedByItselfError: as soon as it does, or when it does not end as it should.
        """
        await self._begin()
        while not await self._undisturbed(peace, self._dice.uniform(0.2, 10)):
            match self._dice.choice(("kill", "kill", "nap", "sleep", "sleep", "end")):
                case "kill":
                    self._happened["kills"] += 1
                    self._send(signal.SIGKILL)
                    await self._ended(-signal.SIGKILL)
                    await came_within(peace, self._dice.choice((0, self._dice.uniform(0, 2 * self._session_s))))
                    await self._begin()
                case "nap":
                    await self._stopped(peace, self._dice.uniform(0, self._session_s))
                case "sleep":  # its partitions go to others, who are at work when it wakes
                    await self._stopped(peace, self._session_s * self._dice.uniform(1.2, 4))
                case "end":
                    self._happened["graceful ends"] += 1
                    await self._asked_to_end()
                    await self._begin()
        await self._undisturbed(over, None)
        await self._asked_to_end()

    async def close(self) -> None:
        """Whatever became of it, it is gone."""
        if self._process is not None:
            await self._process.__aexit__()

    async def _begin(self) -> None:
        # Small and large, quick and slow batches: what is in hand when it is stopped, or already stored, differs.
        size, age_ms = self._dice.choice((20, 200, 1000)), self._dice.choice((50, 200, 2000))
        batches = {"READINGS_BATCH_RECORDS": str(size), "READINGS_BATCH_AGE_MS": str(age_ms)}
        self._process = await readings("consume", env=self._env | batches).__aenter__()
        self._end = asyncio.ensure_future(self._process.ended())
        self._end.add_done_callback(lambda end: end.cancelled() or self.logs.append(end.result()[2]))

    async def _undisturbed(self, until: asyncio.Event, seconds: float | None) -> bool:
        """Whether `until` came within that time."""
        coming = asyncio.ensure_future(until.wait())
        await asyncio.wait({coming, self._end}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        coming.cancel()
        if self._end.done():
            raise EndedByItselfError(self._told(f"ended by itself with {self._end.result()[0]}"))
        return until.is_set()

    async def _stopped(self, stop: asyncio.Event, seconds: float) -> None:
        self._happened["stops"] += 1
        self._happened["stops beyond the session"] += seconds > self._session_s
        self._send(signal.SIGSTOP)
        try:
            await came_within(stop, seconds)
        finally:
            self._send(signal.SIGCONT)

    async def _asked_to_end(self) -> None:
        """SIGTERM. Before it has said a word it ends as any process that starts."""
        self._send(signal.SIGTERM)
        await asyncio.wait({self._end}, timeout=ENDS_WITHIN_S)
        if not self._end.done():
            self._send(signal.SIGKILL)
            await asyncio.wait({self._end})
            raise EndedByItselfError(self._told(f"had not ended {ENDS_WITHIN_S} s after SIGTERM"))
        starting = not self._end.result()[2]
        await self._ended(*((0, -signal.SIGTERM) if starting else (0,)))

    async def _ended(self, *wanted: int) -> None:
        await asyncio.wait({self._end})  # which, cancelled, leaves it to end
        if (code := self._end.result()[0]) not in wanted:
            raise EndedByItselfError(self._told(f"ended with {code}"))

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it has just ended by itself, as its code will tell
            self._process.send(number)

    def _told(self, what: str) -> str:
        last = self._end.result()[2].splitlines()[-15:]
        return "\n    ".join([f"consumer {self.number} {what}; its last lines:", *last])


def ways_to_end(database: EmbeddedPostgres, broker: ApacheKafka) -> dict[KeptServer, list[Callable[[], None]]]:
    """In good order and killed, both; the database also at once, without a checkpoint."""

    def at_once() -> None:
        database.send_signal(signal.SIGQUIT)
        database.stop()

    return {database: [database.stop, at_once, database.kill], broker: [broker.stop, broker.kill]}


async def outages(
    server: KeptServer,
    ways: Mapping[KeptServer, list[Callable[[], None]]],
    every_s: tuple[float, float],
    dice: Random,
    happened: Counter[str],
    peace: asyncio.Event,
) -> None:
    """It goes away in one of its ways and comes back, until `peace`; then it is there."""
    while not await came_within(peace, dice.uniform(*every_s)):
        happened[f"{server.name} restarts"] += 1
        await finished(dice.choice(ways[server]))
        await came_within(peace, dice.choice((0, dice.uniform(0, 5))))
        await finished(server.start)


async def finished(call: Callable[[], None]) -> None:
    """The call in a thread, waited for even when we are cancelled: a server is not for two threads at once."""
    working = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait({working})
        raise
