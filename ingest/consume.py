"""`readings consume`: the registry first, then readings, until told to stop."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from importlib.metadata import version
from typing import Literal

import structlog

from enrich.registry import Registry
from enrich.zones import Zones
from ingest.batch import Batch
from ingest.carried import Archives
from ingest.caught_up import marks_now, reach
from ingest.change import Change
from ingest.compiled import compiled
from ingest.correct import correct
from ingest.follow import follow
from ingest.garbage import keep_what_is_here
from ingest.health import BEAT_EVERY_S, Health
from ingest.http.probes import probes
from ingest.judging import Ahead
from ingest.kafka import KafkaSource
from ingest.law_parameters import check_parameters, parameters
from ingest.learn import begin
from ingest.metrics import Metrics
from ingest.newest import Newest
from ingest.patience import Patience, before, or_all_stop
from ingest.ready import database_of
from ingest.registry_feed import MOST_STATES, store_states, topic_state
from ingest.settings import Settings
from ingest.stop_line import StopLine, StopLineError, under
from ingest.store import store
from ingest.told import Tally
from schemas.envelope import NotUnderstood
from schemas.record import Record
from schemas.states import State
from sinks.corrections import pending_corrections
from sinks.database import Database
from sinks.migrate import check_schema

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 0.5
_LOOK_AT_BROKER_EVERY_S = 10.0
_AFTER_LIVE_LOOK_S = 0.05


_AFTER_LIVE_WITHIN_S = 5.0
"""How long a batch of archived readings waits at most for live ones to be stored first."""


class Consumer:
    """One process of the service: the registry, live and archived readings, in loops and groups of their own."""

    def __init__(self, settings: Settings, zones: Zones, stop: asyncio.Event) -> None:
        self.tally = Tally()
        self._settings = settings
        self._law = settings.law
        self._registry = Registry(zones)
        self._parameters = parameters(self._law, zones)
        self._stop = stop
        self._database = database_of(settings, "readings")
        self._feed_database = database_of(settings, "registry")
        self._watching = database_of(settings, "watching")
        self._backfill_database = database_of(settings, "backfill topic")
        self._readings_source = self._source(self._database, [settings.raw_topic], holds="readings")
        self._registry_source = self._source(self._feed_database, settings.registry_topics, holds="registry")
        self._backfill_source = None
        if settings.backfill_topic is not None:
            archives = Archives(self._backfill_database)
            self._backfill_source = self._source(
                self._backfill_database, [settings.backfill_topic], holds="readings", archives=archives
            )
        sources = {
            "readings": self._readings_source,
            "registry": self._registry_source,
            "backfill": self._backfill_source,
        }
        lags = {what: source.lag for what, source in sources.items() if source is not None}
        self._registry_waited_for = asyncio.Event()
        self._health = Health("database", *(f"{what}: start" for what in lags))
        self._health.behind = self._behind
        self._metrics = Metrics(self._health, lags, zones.version)

    async def run(self, *, until_caught_up: bool = False, accept_bad_input: bool = False) -> None:
        """Until told to stop, or until all that was given by now is stored. Waits for ever while the world is away.

        At the end the batch in hand is finished, within `shutdown_timeout_s`; what is not finished was never taken.

        :param accept_bad_input: never stop the line for a bad deployment.
        :raises OperatorError: when a person has to mend something; :raises SettingsError: when the law differs.
        :raises StopLineError: when the line stops `until_caught_up`.
        """
        log.info("starting", version=version("device-readings"), compiled=compiled(),
                 group=self._settings.kafka_group_id, brokers=self._settings.kafka_bootstrap_servers,
                 topics=self._settings.topics, database=self._settings.database_without_password)  # fmt: skip
        listening = probes(self._health, self._metrics, host=self._settings.http_host, port=self._settings.http_port)
        try:
            async with asyncio.timeout(None) as deadline:
                with listening as port:
                    if port is not None:
                        log.info("listening", host=self._settings.http_host, port=port)
                    await self._work(deadline, until_caught_up=until_caught_up, accept_bad_input=accept_bad_input)
        except TimeoutError:
            log.warning("left before the batch in hand was stored; it will be taken again")
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            self.tally.tell()
            await self._database.close()
            await self._feed_database.close()
            await self._backfill_database.close()
            await self._watching.close()

    async def _work(self, deadline: asyncio.Timeout, *, until_caught_up: bool, accept_bad_input: bool) -> None:
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(self._beat())
            await before(self._stop, lambda: self._patience("database")(self._check))
            manner = {"wait": not until_caught_up, "accept_bad_input": accept_bad_input}
            loops = [self._end_by(deadline), self._watch_broker(), self._follow_registry(), self._follow_live(**manner)]
            if self._backfill_source is not None:
                loops.append(self._follow_backfill(self._backfill_source, **manner))
            loops.append(self._correct())
            if until_caught_up:
                loops.append(self._stop_when_caught_up())
            async with asyncio.TaskGroup() as work:
                for loop in loops:
                    work.create_task(or_all_stop(self._stop, loop))
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            self._health.beat()
            self.tally.tell_now_and_then()
            await asyncio.sleep(BEAT_EVERY_S)

    async def _watch_broker(self) -> None:
        patiently = self._patience("broker")
        while not self._stop.is_set():
            await before(self._stop, lambda: asyncio.sleep(_LOOK_AT_BROKER_EVERY_S))
            await before(self._stop, lambda: patiently(self._readings_source.see_broker))

    async def _check(self) -> None:
        await check_schema(self._database)
        await begin(self._database, self._registry)
        await check_parameters(self._database, self._parameters)

    async def _follow_registry(self) -> None:
        def understand(record: Record, batch: Batch) -> State | NotUnderstood:
            return topic_state(record, batch, devices_topic=self._settings.devices_topic, law=self._law)

        async def store_batch(batch: Batch) -> None:
            began = time.monotonic()
            change = await store_states(batch, lambda record: understand(record, batch), database=self._feed_database)
            self._metrics.stored("registry", batch, change, time.monotonic() - began)

        await self._follow("registry", self._registry_source, store_batch)

    async def _follow_live(self, *, wait: bool, accept_bad_input: bool) -> None:
        newest = Newest()
        ahead = Ahead(self._registry, self._law, newest)
        store_batch = self._storing("readings", self._database, newest, accept_bad_input=accept_bad_input, ahead=ahead)
        stand_still = self._standing_still("stopped", wait=wait)
        await self._follow(
            "readings", self._readings_source, store_batch, self._wait_for_registry, stand_still, ahead.judge
        )

    async def _follow_backfill(self, source: KafkaSource, *, wait: bool, accept_bad_input: bool) -> None:
        """The backfill topic, beside the live readings: by the same function, and after them."""
        store_batch = self._storing("backfill", self._backfill_database, Newest(), accept_bad_input=accept_bad_input)
        stand_still = self._standing_still("backfill: stopped", wait=wait)

        async def store_after_live(batch: Batch) -> None:
            waits_until = time.monotonic() + _AFTER_LIVE_WITHIN_S
            while self._live_waiting > self._settings.batch_records and time.monotonic() < waits_until:
                if await before(self._stop, lambda: asyncio.sleep(_AFTER_LIVE_LOOK_S, result=True)) is None:
                    break  # told to stop: the batch in hand is finished
            await store_batch(batch)

        async def registry_waited_for() -> None:
            await self._registry_waited_for.wait()

        await self._follow("backfill", source, store_after_live, registry_waited_for, stand_still)

    def _storing(
        self, holds: str, database: Database, newest: Newest, *, accept_bad_input: bool, ahead: Ahead | None = None
    ) -> Callable[[Batch], Awaitable[None]]:
        """What stores a batch of readings, looks whether the line has to stop, and counts."""
        window = 0 if accept_bad_input else self._settings.stop_line_window
        line = StopLine(window, self._settings.stop_line_share)
        judge_and_store = under(
            line, partial(store, database=database, registry=self._registry, law=self._law, newest=newest, ahead=ahead)
        )
        stopped = "stopped" if holds == "readings" else f"{holds}: stopped"

        async def store_batch(batch: Batch) -> None:
            began = time.monotonic()
            change = await judge_and_store(batch)
            self._health.clear(stopped)
            self.tally.add(change)
            self._metrics.stored(holds, batch, change, time.monotonic() - began)

        return store_batch

    def _standing_still(self, what: str, *, wait: bool) -> Callable[[StopLineError], None]:
        def stand_still(error: StopLineError) -> None:
            if not wait:
                raise error
            log.error("the line stands still", why=str(error))
            self._health.hinder(what, str(error))

        return stand_still

    @property
    def _live_waiting(self) -> int:
        """Live records of our partitions that are not stored, as far as is known."""
        return sum(lag.records or 0 for lag in self._readings_source.lag.partitions)

    async def _follow(
        self,
        what: str,
        source: KafkaSource,
        store_batch: Callable[[Batch], Awaitable[None]],
        first: Callable[[], Awaitable[None]] | None = None,
        stand_still: Callable[[StopLineError], None] = lambda _: None,
        prepare: Callable[[Batch], Awaitable[None]] | None = None,
    ) -> None:
        patiently = self._patience(what)
        try:
            await before(self._stop, lambda: patiently(source.start))
            if first is not None:
                await before(self._stop, first)
            self._health.clear(f"{what}: start")
            await follow(
                source,
                store_batch,
                stop=self._stop,
                patiently=patiently,
                stand_still=stand_still,
                prepare=prepare,
            )
        finally:
            await source.stop()

    async def _wait_for_registry(self) -> None:
        """Wait, for a bounded time, until the histories hold what the registry topics hold now."""
        marks = await marks_now(self._settings, self._database, self._settings.registry_topics)
        try:
            async with asyncio.timeout(self._settings.registry_catch_up_s):
                await reach(self._database, marks)
        except TimeoutError:
            log.warning("the registry has not caught up; going on with what is told")
        else:
            log.info("registry caught up")
        keep_what_is_here()
        self._registry_waited_for.set()

    async def _correct(self) -> None:
        """Work off what late changes of the registry ask for; idle, learn of its changes within a second."""
        database = database_of(self._settings, "corrections")
        patiently = self._patience("corrections")

        def tell(change: Change) -> None:
            self._metrics.changed(change)
            self.tally.correct(change)

        async def once() -> int:
            return await correct(database=database, registry=self._registry, law=self._law, tell=tell)

        async def look() -> int:
            async with database.transaction() as connection:
                return await pending_corrections(connection)

        try:
            while not self._stop.is_set():
                pieces = await patiently(once)
                self._metrics.registry_version = self._registry.version
                self._metrics.corrections_pending = await patiently(look)
                if not pieces:
                    await before(self._stop, lambda: asyncio.sleep(_LOOK_EVERY_S))
        finally:
            await database.close()

    async def _stop_when_caught_up(self) -> None:
        names = self._settings.topics
        marks = await marks_now(self._settings, self._watching, names)
        await before(self._stop, lambda: reach(self._watching, marks, corrected=True))
        self._stop.set()

    def _behind(self) -> list[str]:
        """For readiness: what was received too long ago and is not stored."""
        return [
            f"behind: {lag.topic}/{lag.partition} by {lag.seconds:.0f} s"
            for lag in self._readings_source.lag.partitions
            if lag.seconds > self._settings.ready_lag_s
        ]

    def _patience(self, what: str) -> Patience:
        return Patience(self._health.waiting(what), task=what)

    def _source(
        self,
        database: Database,
        names: Collection[str],
        *,
        holds: Literal["readings", "registry"],
        archives: Archives | None = None,
    ) -> KafkaSource:
        suffix = "-registry" if holds == "registry" else "" if archives is None else "-backfill"
        group_id = self._settings.kafka_group_id + suffix
        settings = self._settings
        if holds == "registry":
            settings = settings.model_copy(update={"batch_records": min(settings.batch_records, MOST_STATES)})
        return KafkaSource(settings, database, names, group_id=group_id, holds=holds, archives=archives)

    async def _end_by(self, deadline: asyncio.Timeout) -> None:
        await self._stop.wait()
        deadline.reschedule(asyncio.get_running_loop().time() + self._settings.shutdown_timeout_s)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group of tasks: the others were cancelled because of it."""
    error: BaseException = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
