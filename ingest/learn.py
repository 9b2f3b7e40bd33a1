"""The registry, learnt as it is asked for."""

from collections.abc import Callable
from typing import TypeVar

from enrich.registry import Registry
from schemas.states import NOBODY, Names
from sinks.database import Connection, Database
from sinks.registry import changed_since, registry_version, share_registry
from sinks.told import told_of

Answer = TypeVar("Answer")


async def begin(database: Database, registry: Registry) -> None:
    """Learn from here on: whatever changes after this, the law included, is noticed before anything is stored."""
    async with database.transaction(readonly=True) as connection:
        registry.forget(NOBODY, version=await registry_version(connection))


async def hold(connection: Connection, registry: Registry, *, since: int) -> Names:
    """Keep the registry from moving until this transaction ends; who was told of after version `since`.

    :raises OperatorError: when the law has changed since then.
    """
    version = await share_registry(connection)
    if version == since:
        return NOBODY
    changed = await changed_since(connection, since)
    registry.forget(changed, version=version)
    return changed


async def learn_wanted(connection: Connection, registry: Registry) -> None:
    """Learn of all who were asked for in vain. Call it where the registry cannot move, and at its version."""
    version, names = registry.version, registry.wanted
    told = await told_of(connection, names)
    # Else our lock is lost, and with it the transaction: another task knows of a later version already.
    if registry.version == version:
        registry.learn(told.states, told.owners, version=version, of=told.of)


async def asked(connection: Connection, registry: Registry, ask: Callable[[], Answer]) -> Answer:
    """What `ask` answers when nobody is asked for in vain. Call it where the registry cannot move, at its version."""
    while True:
        missed = registry.missed
        answer = ask()
        if registry.missed == missed:
            return answer
        await learn_wanted(connection, registry)
