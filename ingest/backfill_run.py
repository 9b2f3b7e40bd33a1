"""A run of `readings backfill`: the files one after the other, then the corrections that are left."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from enrich.registry import Registry
from enrich.zones import Zones
from ingest.archive_choice import Choice
from ingest.backfill import Outcome, Step, StoppedError, backfill_file, known_registry, storing
from ingest.content import UnreadableFileError
from ingest.correct import correct
from ingest.law_parameters import check_parameters, parameters
from ingest.patience import Patience, before
from ingest.ready import ready_database
from ingest.settings import Settings
from ingest.stop_line import StopLineError
from sinks.corrections import pending_corrections
from sinks.database import Database
from sinks.errors import SinkError

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 0.5


@dataclass(slots=True)
class Report:
    """What a run did, whatever ended it."""

    outcomes: list[Outcome] = field(default_factory=list)
    ended_by: Exception | None = None
    """What kept it from going on; None: it came to its end, or was told to stop."""
    corrected: bool = False
    """Whether no correction was pending at the end: what is stored is right by all that is known."""


async def backfill(
    files: Sequence[Path],
    settings: Settings,
    zones: Zones,
    *,
    choice: Choice,
    stop: asyncio.Event,
    tell: Callable[[Step], None],
    pace: Callable[[int], Awaitable[None]],
    accept_bad_input: bool,
) -> Report:
    """Store what the files hold. A file that cannot be read is told in its outcome, and the others go on.

    :raises SettingsError: when what is stored was judged by other law parameters.
    :raises SchemaError: when the schema is missing or older.
    """
    report = Report()
    async with ready_database(settings, "backfill") as database:
        await check_parameters(database, parameters(settings.law, zones))
        registry = await known_registry(database, zones)
        devices, patients = registry.sizes
        log.info("registry known", devices=devices, patients=patients, version=registry.version)
        store_batch = storing(
            database=database, registry=registry, settings=settings, accept_bad_input=accept_bad_input
        )
        try:
            for path in files:
                if stop.is_set() or choice.exhausted:
                    break
                report.outcomes.append(outcome := Outcome(path))
                try:
                    await backfill_file(
                        path,
                        outcome,
                        database=database,
                        store_batch=store_batch,
                        settings=settings,
                        choice=choice,
                        stop=stop,
                        tell=tell,
                        pace=pace,
                    )
                except UnreadableFileError as error:
                    outcome.error = str(error)
            report.corrected = await _settle(database, registry, settings, stop)
        except StoppedError:
            pass
        except (SinkError, StopLineError) as error:
            report.ended_by = error
    return report


async def _settle(database: Database, registry: Registry, settings: Settings, stop: asyncio.Event) -> bool:
    """Work off the corrections that are pending, or wait for who does; whether none is left."""
    within = Patience(give_up_after_s=settings.connect_timeout_s)

    async def pending() -> int:
        async with database.transaction() as connection:
            return await pending_corrections(connection)

    while not stop.is_set():
        if await within(lambda: correct(database=database, registry=registry, law=settings.law)):
            continue
        if not await within(pending):
            return True
        await before(stop, lambda: asyncio.sleep(_LOOK_EVERY_S))
    return False
