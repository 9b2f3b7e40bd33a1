"""`readings verify`: what is stored is what was given, and right by all that is known now, or how it is not."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import SystemRandom
from time import monotonic
from typing import Final

from enrich.registry import Registry
from enrich.zones import Zones
from ingest.check import Check
from ingest.law_parameters import parameters, standing_parameters
from ingest.patience import Patience
from ingest.ready import ready_database
from ingest.settings import Settings
from ingest.verify_ledger import (
    check_conservation,
    check_gaps,
    check_identifiers,
    check_keys,
    check_law,
    check_places,
)
from ingest.verify_lines import Judges, check_readings, check_rejections
from sinks.corrections import pending_corrections
from sinks.database import Connection
from sinks.registry import registry_version
from sinks.scan import Sample
from sinks.tally import tallies

_LOOK_EVERY_S: Final = 0.2

Tell = Callable[[int, int], None]
"""Is told how many rows are judged again, and of how many."""


@dataclass(frozen=True, slots=True)
class Verification:
    checks: list[Check]

    @property
    def holds(self) -> bool:
        return not any(check.differ for check in self.checks)


class UnsettledError(Exception):
    """Corrections are pending, and nobody worked them off in time: what is stored may rightly differ."""

    def __init__(self, pending: int, waited_s: float) -> None:
        super().__init__(f"{pending} corrections are pending after {waited_s:g} s; a running consumer works them off")
        self.pending = pending


async def verify(
    settings: Settings,
    zones: Zones,
    *,
    sample: int | None = None,
    wait_s: float = 30,
    tell: Tell = lambda _judged, _of: None,
) -> Verification:
    """Hold everything stored against its promises, in one snapshot: live writers neither disturb it nor wait for it.

    :param sample: judge so many random readings, and rejections, of each partition again, instead of all of them; that
        each key stands once is then left out, too.
    :raises UnsettledError: when corrections were still pending after `wait_s`.
    :raises AwayError: when the database was not reached in time; :raises SchemaError: when there is no schema.
    """
    picked = None if sample is None else Sample(sample, SystemRandom().getrandbits(63))
    async with ready_database(settings, "verify") as database:
        law = check_law(parameters(settings.law, zones), await standing_parameters(database))

        async def settled() -> list[Check] | int:
            """The checks, or how many corrections are pending."""
            async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
                if pending := await pending_corrections(connection):
                    return pending
                registry = Registry(zones)
                registry.begin(version=await registry_version(connection))
                return await _checked(connection, Judges(registry, settings.law), picked, tell)

        end = monotonic() + wait_s
        while isinstance(found := await Patience(give_up_after_s=settings.connect_timeout_s)(settled), int):
            if monotonic() >= end:
                raise UnsettledError(found, wait_s)
            await asyncio.sleep(_LOOK_EVERY_S)
    return Verification([law, *found])


async def _checked(connection: Connection, judges: Judges, sample: Sample | None, tell: Tell) -> list[Check]:
    partitions = await tallies(connection)
    checks = [check_conservation(partitions), check_gaps(partitions), await check_places(connection, partitions)]
    if sample is None:
        checks.append(await check_keys(connection, partitions))
    checks.append(await check_identifiers(connection))
    of = [count for tally in partitions for count in (tally.readings, tally.rejections)]
    total = sum(of) if sample is None else sum(min(count, sample.size) for count in of)
    judged = 0

    def more(count: int) -> None:
        nonlocal judged
        judged += count
        tell(judged, total)

    checks += await check_readings(connection, partitions, judges, sample, more)
    return checks + await check_rejections(connection, partitions, judges, sample, more)
