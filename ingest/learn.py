"""The whole registry, learnt when a process begins."""

from enrich.registry import NOTHING_LEARNT, Registry
from schemas.states import About
from sinks.database import Connection, Database
from sinks.registry import EVERYTHING, histories, owners_since, registry_version


async def learn_registry(database: Database, registry: Registry) -> None:
    """Learn all that the histories tell at this moment.

    Until the last step nothing counts as learnt: interrupted, it begins anew.
    """
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        await learn_all(connection, registry)


async def learn_all(connection: Connection, registry: Registry) -> None:
    """As the above, where the registry cannot move; page by page, for a million devices' states are gigabytes."""
    for about in About:
        async for states in histories(connection, about):
            registry.learn(states, {}, version=NOTHING_LEARNT)
    version = await registry_version(connection)
    registry.learn((), await owners_since(connection, EVERYTHING), version=version)
