"""`readings consume`: the registry first, then readings, until told to stop."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

import structlog

from enrich.registry import Registry
from enrich.zones import Zones
from ingest.correct import correct
from ingest.high_water import high_water_marks
from ingest.kafka import KafkaSource, source_name
from ingest.law_parameters import check_parameters, parameters
from ingest.patience import before, patiently
from ingest.registry_feed import store_states, topic_state
from ingest.settings import Settings
from ingest.store import Batch, Stored, store
from schemas.envelope import NotUnderstood
from schemas.record import Record
from schemas.states import State
from sinks.corrections import pending_corrections
from sinks.database import Database
from sinks.errors import PositionMovedError
from sinks.ledger import positions
from sinks.migrate import check_schema
from sinks.registry import news_since

log = structlog.get_logger(__name__)

_TELL_EVERY_S = 10.0
_LOOK_EVERY_S = 0.5


async def follow(source: KafkaSource, store_batch: Callable[[Batch], Awaitable[None]], *, stop: asyncio.Event) -> None:
    """The loop: take a batch, store it with the position, take the next. The batch in hand is finished at `stop`."""
    while (batch := await before(stop, lambda: patiently(source.take))) is not None:
        try:
            await patiently(lambda: store_batch(batch))
        except PositionMovedError:
            # Another owner was first, or our own last commit was unknown and held: the database tells where to go on.
            log.info("position moved; starting again from the database's")
            source.reposition()
        else:
            source.stored(batch)


class Tally:
    """What this process stored and set aside, told now and then."""

    def __init__(self) -> None:
        self.readings = 0
        self.rejections: Counter[str] = Counter()
        self._told_at = time.monotonic()

    def add(self, stored: Stored) -> None:
        self.readings += len(stored.readings)
        self.rejections.update(str(entry.judgement.reason) for entry in stored.rejections)
        if time.monotonic() - self._told_at >= _TELL_EVERY_S:
            self.tell()

    def tell(self) -> None:
        self._told_at = time.monotonic()
        log.info("stored", readings=self.readings, rejections=self.rejections.total(), **self.rejections)


class Consumer:
    """One process of the service: the registry and the raw readings, each in a loop and a group of its own."""

    def __init__(self, settings: Settings, zones: Zones, stop: asyncio.Event) -> None:
        self.tally = Tally()
        self._settings = settings
        self._law = settings.law
        self._registry = Registry(zones)
        self._parameters = parameters(self._law, zones)
        self._stop = stop
        self._database = database_of(settings, "readings")
        self._feed_database = database_of(settings, "registry")

    async def run(self, *, until_caught_up: bool = False) -> None:
        """Until told to stop, or until all that was given by now is stored. Waits for ever while the world is away.

        At the end the batch in hand is finished, within `shutdown_timeout_s`; what is not finished was never taken.

        :raises OperatorError: when a person has to mend something; :raises SettingsError: when the law differs.
        """
        try:
            async with asyncio.timeout(None) as deadline:
                await before(self._stop, lambda: patiently(self._check))
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._end_by(deadline))
                    tasks.create_task(self._follow_registry())
                    tasks.create_task(self._follow_readings())
                    tasks.create_task(self._correct())
                    if until_caught_up:
                        tasks.create_task(self._stop_when_caught_up())
        except TimeoutError:
            log.warning("left before the batch in hand was stored; it will be taken again")
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            self.tally.tell()
            await self._database.close()
            await self._feed_database.close()

    async def _check(self) -> None:
        await check_schema(self._database)
        await check_parameters(self._database, self._parameters)

    async def _follow_registry(self) -> None:
        devices_source = source_name(self._settings.devices_topic)

        async def store_batch(batch: Batch) -> None:
            def understand(record: Record) -> State | NotUnderstood:
                return topic_state(record, batch, devices_source=devices_source, law=self._law)

            await store_states(batch, understand, database=self._feed_database)

        topics = registry_topics(self._settings)
        group_id = f"{self._settings.kafka_group_id}-registry"
        source = KafkaSource(self._settings, self._feed_database, topics, group_id=group_id, holds="registry")
        await self._follow(source, store_batch)

    async def _follow_readings(self) -> None:
        async def store_batch(batch: Batch) -> None:
            self.tally.add(await store(batch, database=self._database, registry=self._registry, law=self._law))

        topics = [self._settings.raw_topic]
        source = KafkaSource(
            self._settings, self._database, topics, group_id=self._settings.kafka_group_id, holds="readings"
        )
        await self._follow(source, store_batch, first=self._registry_known)

    async def _follow(
        self,
        source: KafkaSource,
        store_batch: Callable[[Batch], Awaitable[None]],
        first: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        try:
            await before(self._stop, lambda: patiently(source.start))
            if first is not None:
                await before(self._stop, first)
            await follow(source, store_batch, stop=self._stop)
        finally:
            await source.stop()

    async def _registry_known(self) -> None:
        """Wait, for a bounded time, until the histories hold what the registry topics hold now; then learn them."""
        marks = await patiently(lambda: high_water_marks(self._settings, registry_topics(self._settings)))
        try:
            async with asyncio.timeout(self._settings.registry_catch_up_s):
                await self._reached(marks)
        except TimeoutError:
            log.warning("the registry has not caught up; going on with what is known")
        await patiently(self._learn_registry)
        devices, patients = self._registry.sizes
        log.info("registry known", devices=devices, patients=patients, version=self._registry.version)

    async def _correct(self) -> None:
        """Work off what late changes of the registry ask for; idle, learn of its changes within a second."""
        database = database_of(self._settings, "corrections")

        async def once() -> int:
            return await correct(database=database, registry=self._registry, law=self._law)

        try:
            while not self._stop.is_set():
                if not await patiently(once):
                    await before(self._stop, lambda: asyncio.sleep(_LOOK_EVERY_S))
        finally:
            await database.close()

    async def _learn_registry(self) -> None:
        async with self._database.transaction(isolation="repeatable_read", readonly=True) as connection:
            news = await news_since(connection, 0)
        self._registry.learn(news.states, news.owners, version=news.version)

    async def _stop_when_caught_up(self) -> None:
        topics = (*registry_topics(self._settings), self._settings.raw_topic)
        marks = await patiently(lambda: high_water_marks(self._settings, topics))
        await before(self._stop, lambda: self._reached(marks, corrected=True))
        self._stop.set()

    async def _reached(self, marks: Mapping[tuple[str, int], int], *, corrected: bool = False) -> None:
        """Wait until the positions in the database, whoever moves them, have reached `marks`.

        :param corrected: wait until no correction is pending, too.
        """
        database = database_of(self._settings, "watching")

        async def reached() -> bool:
            async with database.transaction() as connection:
                at = await positions(connection, {source_name(topic) for topic, _ in marks})
                if any(at.get((source_name(topic), number), -1) < mark for (topic, number), mark in marks.items()):
                    return False
                return not corrected or await pending_corrections(connection) == 0

        try:
            while not await patiently(reached):  # noqa: ASYNC110 - other processes move what is waited for
                await asyncio.sleep(0.1)
        finally:
            await database.close()

    async def _end_by(self, deadline: asyncio.Timeout) -> None:
        await self._stop.wait()
        deadline.reschedule(asyncio.get_running_loop().time() + self._settings.shutdown_timeout_s)


def registry_topics(settings: Settings) -> tuple[str, str]:
    """Device states, patient states."""
    return settings.devices_topic, settings.patients_topic


def database_of(settings: Settings, role: str) -> Database:
    """A connection of one task's own; `role` is how it is told apart in pg_stat_activity."""
    url = settings.database_url.get_secret_value()
    return Database(url, timeout_s=settings.database_timeout_s, application_name=f"device-readings {role}")


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group of tasks: the others were cancelled because of it."""
    error: BaseException = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
