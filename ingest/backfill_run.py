"""A run of `readings backfill`: files one after the other, in one process, then the corrections that are left."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import structlog

from enrich.registry import Registry
from enrich.zones import Zones
from ingest.archive import Standing, enter
from ingest.archive_choice import Choice
from ingest.backfill import DONE, Enter, Outcome, Step, StoppedError, backfill_file
from ingest.backfill_pace import Pace, live_lag
from ingest.batch import Batch
from ingest.change import Change
from ingest.content import Content, UnreadableFileError
from ingest.correct import correct
from ingest.garbage import keep_what_is_here
from ingest.judging import Ahead
from ingest.law_parameters import check_parameters, parameters
from ingest.learn import begin
from ingest.newest import Newest
from ingest.patience import Patience, before
from ingest.publisher import publisher
from ingest.ready import database_of, ready_database
from ingest.rehearsal import Rehearsal
from ingest.settings import Settings
from ingest.stop_line import StopLine, StopLineError, under
from ingest.store import store
from sinks.corrections import pending_corrections
from sinks.database import Database
from sinks.errors import SinkError
from sinks.registry import knows_a_device

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Manner:
    """How a run goes about it."""

    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None
    rate: float | None = None
    yield_to_live: bool = False
    accept_bad_input: bool = False
    dry_run: bool = False
    to_topic: bool = False
    """Publish to the backfill topic, for consumers to store."""


@dataclass(slots=True)
class Report:
    """What a run did, whatever ended it."""

    outcomes: list[Outcome] = field(default_factory=list)
    ended_by: Exception | None = None
    """What kept it from going on; None: it came to its end, or was told to stop."""


async def backfill(
    files: Iterable[str],
    settings: Settings,
    zones: Zones,
    *,
    manner: Manner,
    stop: asyncio.Event,
    tell: Callable[[Step], None],
) -> Report:
    """Store or publish what the files hold. A file that cannot be read is told in its outcome, and the others go on.

    :raises SettingsError: when what is stored was judged by other law parameters, or no topic is set to publish to.
    :raises SchemaError: when the schema is missing or older.
    :raises SinkError: when the database, or the broker to publish to, cannot be used.
    """
    report = Report()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(ready_database(settings, "backfill"))
        registry = await _begun(database, settings, zones)
        enter_archive: Enter = partial(_enter, database)
        prepare: Callable[[Batch], Awaitable[None]] | None = None
        judge_and_store: Callable[..., Awaitable[Change]]
        publishing = manner.to_topic and not manner.dry_run
        if not publishing:
            await _warn_of_no_device(database)
        if publishing:
            judge_and_store = (await stack.enter_async_context(publisher(settings))).publish
        elif manner.dry_run:
            rehearsal = Rehearsal(database, registry, settings.law)
            enter_archive, judge_and_store = rehearsal.enter, rehearsal.store
        else:
            newest = Newest()
            ahead = Ahead(registry, settings.law, newest)
            judge_and_store = partial(
                store, database=database, registry=registry, law=settings.law, newest=newest, ahead=ahead
            )
            prepare = ahead.judge
        line = StopLine(0 if manner.accept_bad_input else settings.stop_line_window, settings.stop_line_share)
        choice = Choice(since=manner.since, until=manner.until, limit=manner.limit)
        behind = partial(live_lag, settings, database) if manner.yield_to_live else None
        pace = Pace(stop, rate=manner.rate, behind=behind, tolerated=settings.batch_records)
        try:
            for file in files:
                if stop.is_set() or choice.exhausted:
                    break
                report.outcomes.append(outcome := Outcome(file))
                try:
                    await backfill_file(
                        file,
                        outcome,
                        enter_archive=enter_archive,
                        prepare=prepare,
                        store_batch=under(line, judge_and_store),
                        settings=settings,
                        choice=choice,
                        stop=stop,
                        tell=tell,
                        pace=pace,
                    )
                except UnreadableFileError as error:
                    outcome.error = str(error)
                tell(Step(file, DONE, 0, 0))
        except StoppedError:
            log.info("stopped; the same command goes on where it stood")
        except (SinkError, StopLineError) as error:
            report.ended_by = error
    return report


async def _begun(database: Database, settings: Settings, zones: Zones) -> Registry:
    """A registry that has learnt nothing yet, in a process of the law that is stored; from here on a change is noticed.

    :raises SettingsError: when what is stored was judged by other law parameters.
    """
    registry = Registry(zones)
    await begin(database, registry)
    await check_parameters(database, parameters(settings.law, zones))
    keep_what_is_here()
    return registry


async def _warn_of_no_device(database: Database) -> None:
    async with database.transaction(readonly=True) as connection:
        if not await knows_a_device(connection):
            log.warning("the registry knows no device: all is set aside until it does; see: readings registry load")


async def _enter(database: Database, content: Content) -> Standing:
    async with database.transaction() as connection:
        return await enter(connection, content, holds="readings")


async def settle(settings: Settings, zones: Zones, *, stop: asyncio.Event) -> bool:
    """Work off the corrections that are pending, or wait for who does; whether none is left.

    What is stored is right by all that is known when none is.

    :raises SettingsError: when what is stored was judged by other law parameters.
    """
    within = Patience(give_up_after_s=settings.connect_timeout_s)
    database = database_of(settings, "backfill corrections")

    async def pending() -> int:
        async with database.transaction() as connection:
            return await pending_corrections(connection)

    async def once() -> int:
        return await correct(database=database, registry=registry, law=settings.law)

    try:
        registry = await within(lambda: _begun(database, settings, zones))
        while not stop.is_set():
            if not await within(pending):
                return True
            if not await within(once):
                await before(stop, lambda: asyncio.sleep(_LOOK_EVERY_S))
        return False
    finally:
        await database.close()
