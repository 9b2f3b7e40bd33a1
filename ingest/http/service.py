"""`readings serve`: the server, and what watches whether it can serve, until told to stop."""

import asyncio
from importlib.metadata import version

import structlog

from enrich.zones import Zones
from ingest.broker import partitions_of
from ingest.compiled import compiled
from ingest.health import BEAT_EVERY_S, Health
from ingest.http.api_metrics import ApiMetrics
from ingest.http.app import application
from ingest.http.connections import Connections
from ingest.http.door import Door
from ingest.http.probes import probes
from ingest.http.publisher import Publisher
from ingest.http.rate import RateLimit
from ingest.http.server import listening_socket, server_of
from ingest.http.world import World
from ingest.law_parameters import check_parameters, parameters
from ingest.metrics import Metrics
from ingest.patience import Patience, before, or_all_stop
from ingest.ready import database_of
from ingest.settings import Settings
from sinks.migrate import check_schema

log = structlog.get_logger(__name__)

_LOOK_EVERY_S, _ANSWERS_WITHIN_S = 5.0, 5.0


class Service:
    """One process of `readings serve`. It answers from the start: by 503, until it has seen that the law is ours."""

    def __init__(self, settings: Settings, zones: Zones, stop: asyncio.Event) -> None:
        self.port: int | None = None
        """Where it listens, as soon as it does."""
        self._settings, self._stop = settings, stop
        self._parameters = parameters(settings.law, zones)
        self._watching = database_of(settings, "watching", answers_within_s=_ANSWERS_WITHIN_S)
        self._health = Health("database", "broker")
        self._lawful = asyncio.Event()
        self._metrics = Metrics(self._health, {}, zones.version)
        self._world = World(
            settings,
            settings.law,
            zones,
            Connections(settings),
            Publisher(settings),
            RateLimit(settings.api_requests_per_minute),
            ApiMetrics(self._metrics.exposed),
        )

    @property
    def hindrances(self) -> list[str]:
        """Why it is not ready: a line each, as /ready tells them."""
        return self._health.hindrances

    async def run(self) -> None:
        """Until told to stop; requests in hand are answered then, within `shutdown_timeout_s`. Waits out every outage.

        :raises OperatorError: when a person has to mend something; :raises SettingsError: when the law differs.
        """
        settings = self._settings
        log.info("starting", version=version("device-readings"), compiled=compiled(),
                 brokers=settings.kafka_bootstrap_servers, topics=self._topics,
                 database=settings.database_without_password)  # fmt: skip
        try:
            with (
                probes(self._health, self._metrics, host=settings.http_host, port=settings.http_port) as port,
                listening_socket(settings) as listening,
            ):
                if port is not None:
                    log.info("listening", host=settings.http_host, port=port)
                self.port = listening.getsockname()[1]
                log.info("serving", host=settings.api_host, port=self.port)
                app = Door(application(self._world), settings, self._world.metrics, self._lawful)
                server = server_of(app, settings)
                beating = asyncio.create_task(self._beat())
                serving = asyncio.create_task(or_all_stop(self._stop, server.serve([listening])))
                serving.add_done_callback(lambda _: beating.cancel())  # alive while requests in hand are answered
                try:
                    async with asyncio.TaskGroup() as looking:
                        for look in (self._database(), self._broker()):
                            looking.create_task(or_all_stop(self._stop, look))
                finally:
                    self._health.hinder("server", "stopping")
                    server.should_exit = True
                    await serving
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        finally:
            await self._world.publisher.stop()
            await self._world.connections.close()
            await self._watching.close()

    async def _beat(self) -> None:
        while True:
            self._health.beat()
            await asyncio.sleep(BEAT_EVERY_S)

    async def _database(self) -> None:
        """Ready while the database is there, with our schema and our law."""
        patiently = Patience(self._health.waiting("database"), task="database")
        while not self._stop.is_set():
            await before(self._stop, lambda: patiently(self._check))
            await before(self._stop, lambda: asyncio.sleep(_LOOK_EVERY_S))

    async def _check(self) -> None:
        await check_schema(self._watching)
        await check_parameters(self._watching, self._parameters)
        self._lawful.set()

    async def _broker(self) -> None:
        """Ready while the broker is there, with our topics. Only then does anything reach it."""
        patiently = Patience(self._health.waiting("broker"), task="broker")
        while not self._stop.is_set():
            await before(self._stop, lambda: patiently(self._reach))
            await before(self._stop, lambda: asyncio.sleep(_LOOK_EVERY_S))

    async def _reach(self) -> None:
        await partitions_of(self._settings, self._topics, answers_within_s=_ANSWERS_WITHIN_S)
        await self._world.publisher.start()

    @property
    def _topics(self) -> tuple[str, ...]:
        return (*self._settings.registry_topics, self._settings.raw_topic)
