"""The registry, learnt as it is asked for."""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from enrich.registry import NOTHING_LEARNT, Registry
from schemas.states import NOBODY, Names
from sinks.database import Connection, Database
from sinks.errors import OperatorError
from sinks.registry import changed_since, registry_version, share_registry
from sinks.told import told_of

Answer = TypeVar("Answer")
_AT_ONCE: Final = 1_000
"""Devices, and patients, of one look-up: some 80 ms, in which this process does nothing else."""


async def begin(database: Database, registry: Registry) -> None:
    """Learn from here on: whatever changes after this, the law included, is noticed before anything is stored.

    To be followed by a look at the law parameters.
    """
    async with database.transaction(readonly=True) as connection:
        registry.begin(version=await registry_version(connection))


async def hold(connection: Connection, registry: Registry, *, since: int) -> Names:
    """Keep the registry from moving until this transaction ends; who was told of after version `since`.

    :raises OperatorError: when the law has changed since then, or the database has lost what it once told.
    """
    version = await share_registry(connection)
    registry.forget_nobodies()
    if version == since:
        return NOBODY
    if version < since:
        raise OperatorError(
            "the database knows less of the registry than it did while this process ran: it was restored, or a standby"
            " that lacked the last transactions took over; start this process again, to learn it anew"
        )
    if since == NOTHING_LEARNT:
        registry.begin(version=version)
        return NOBODY
    changed = await changed_since(connection, since)
    registry.forget(changed, version=version)
    return changed


async def learn(connection: Connection, registry: Registry, names: Names) -> None:
    """Learn of these, as far as they are not known. Call it where the registry cannot move, and at its version."""
    version = registry.version
    for some in _slices(registry.lacking(names)):
        told = await told_of(connection, some)
        if registry.version != version:
            return  # our lock is lost, and with it the transaction: another task knows of a later version already
        registry.learn(told.states, told.owners, version=version, of=told.of)


async def asked(connection: Connection, registry: Registry, ask: Callable[[], Answer]) -> Answer:
    """What `ask` answers when nobody is asked for in vain. Call it where the registry cannot move, at its version."""
    registry.answering += 1
    try:
        while True:
            answer = ask()
            wanted = registry.take_wanted()
            if not any(wanted):
                return answer
            await learn(connection, registry, wanted)
    finally:
        registry.answering -= 1


def _slices(names: Names) -> Iterator[Names]:
    identifiers, devices, patients = list(names.identifiers), list(names.devices), list(names.patients)
    for first in range(0, max(map(len, names)), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        yield Names(frozenset(identifiers[some]), frozenset(devices[some]), frozenset(patients[some]))
