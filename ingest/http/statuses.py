"""Which statuses may be set over HTTP: those that are known, since one that is misspelt would block nothing.

The platform's list of statuses is not public, so topics and files may tell any: they come from the platform itself.
Over HTTP a person or a program types one, and "Decommisioned" would be another that refuses no readings: the device
would be open again, and the answer 200. So a status is taken here when it is one of

* those that the platform documents;
* those that refuse readings by `READINGS_BLOCKED_STATUSES`, and the others of `READINGS_API_STATUSES`;
* those that topics or files ever told of a device that is or was the customer's: so an override can be taken back
  whatever the status was before. What was set over HTTP tells nothing, and what differs from a status that refuses
  readings in nothing but case or blanks is that status misspelt, wherever it comes from.
"""

from typing import Final

from ingest.http.problems import Problem, ProblemError
from ingest.http.world import World
from ingest.settings import Settings
from sinks.api_keys import Caller
from sinks.asked import status_was_told

DOCUMENTED: Final = frozenset({"available", "availableAtSite", "decommissioned", "withPatient"})
"""Source: the platform's device management guide."""


def named_statuses(settings: Settings) -> list[str]:
    """Those that any customer may set, in the order of the alphabet."""
    return sorted(DOCUMENTED | settings.blocked_statuses | settings.api_statuses)


async def check_status(world: World, caller: Caller, status: str) -> None:
    """Raises unless the customer may set this status.

    :raises ProblemError: naming those that any customer may set.
    """
    named = named_statuses(world.settings)
    if status in named:
        return
    blocked = {_folded(one) for one in world.settings.blocked_statuses}
    if _folded(status) not in blocked:
        async with world.connections.looking() as connection:
            if await status_was_told(connection, caller.customer_id, status):
                return
    there_are = f"status: is none that is known; there are: {', '.join(named)}"
    others = "and what your devices were told to be by topics or files; the operator may name others"
    raise ProblemError(Problem.INVALID, f"{there_are}; {others}: READINGS_API_STATUSES")


def _folded(status: str) -> str:
    return "".join(status.split()).casefold()
