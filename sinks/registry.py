"""The registry's histories in the database, and the lock that orders them against batches of readings."""

from collections.abc import Mapping, Sequence

from pydantic_core import to_json

from schemas.states import About, Names, State
from sinks.corrections import queue_identifiers, queue_states
from sinks.database import Connection
from sinks.errors import OperatorError
from sinks.ledger import Source
from sinks.statements import sql
from sinks.told import device_ids_of

_LOCK = 7_205_759_403_792_794  # advisory: batches of readings share it, a change of the registry has it alone


async def share_registry(connection: Connection) -> int:
    """Keep the registry as it is until this transaction ends; its version, read after the lock is held."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1)", _LOCK)
    version: int = await connection.fetchval("SELECT version FROM registry_version")
    return version


async def registry_version(connection: Connection) -> int:
    """The registry's version at this moment, without a lock."""
    version: int = await connection.fetchval("SELECT version FROM registry_version")
    return version


async def knows_a_device(connection: Connection) -> bool:
    """Whether any state of a device was ever told."""
    known: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM device_states)")
    return known


async def have_registry_alone(connection: Connection) -> None:
    """Keep batches and corrections out until this transaction ends: none judges, and none changes what is stored."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)


async def change_law(connection: Connection) -> None:
    """Raise the version for another law: whoever judges by the old one stops at its next look."""
    await have_registry_alone(connection)
    await connection.execute("UPDATE registry_version SET version = version + 1, law_version = version + 1")


async def changed_since(connection: Connection, version: int) -> Names:
    """Who was told of after `version`. Call it where the registry cannot move.

    :raises OperatorError: when the law has changed since then: what was judged by the old one may not be stored.
    """
    if version < await connection.fetchval("SELECT law_version FROM registry_version"):
        raise OperatorError("the law parameters were changed while this process ran; start it again, with the new ones")
    return Names(*[
        frozenset(row["name"] for row in await connection.fetch(sql(f"{changed}_changed"), version))
        for changed in ("identifiers", "devices", "patients")
    ])  # fmt: skip


async def add_states(connection: Connection, states: Sequence[State], sources: Mapping[str, Source]) -> int:
    """Add states to the histories, alone with the registry until the transaction ends; the version they make.

    What they may touch of what is stored is queued with them, in the same transaction, to be judged again.
    """
    await have_registry_alone(connection)
    version: int = await connection.fetchval("UPDATE registry_version SET version = version + 1 RETURNING version")
    for about in About:
        rows = [
            (
                sources[state.place.source].source_id,
                state.place.partition,
                state.place.offset,
                state.subject_id,
                to_json(state.says).decode(),
                state.effective_at,
                state.blocking_effective_at,
                state.effective_at_sent,
                state.recorded_at,
            )
            for state in states
            if state.about is about
        ]
        if rows:
            await connection.execute(sql(f"insert_states_{about}"), *map(list, zip(*rows, strict=True)), version)
    claims = [
        (identifier, state.subject_id, state.effective_at, state.recorded_at, *state.place)
        for state in states
        for identifier in state.identifiers
    ]
    if claims:
        named = list({claim[0] for claim in claims})
        before = await device_ids_of(connection, named)
        await connection.execute(sql("claim_identifiers"), *map(list, zip(*claims, strict=True)), version)
        after = await device_ids_of(connection, named)
        claimed = [name for name in named if before.get(name) != after[name]]
        await queue_identifiers(connection, {name: before.get(name) for name in claimed}, version)
    await queue_states(connection, states, version)
    return version
