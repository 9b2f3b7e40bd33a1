"""The registry's histories in the database, and the lock that orders them against batches of readings."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import asyncpg
from pydantic_core import to_json

from schemas.record import Place
from schemas.states import About, State, says_from_json
from sinks.corrections import queue_identifiers, queue_states
from sinks.database import Connection
from sinks.errors import OperatorError
from sinks.ledger import Source
from sinks.statements import sql

EVERYTHING: Final = -1
"""A version before the first that a registry has."""
_PAGE: Final = 5_000
_LOCK = 7_205_759_403_792_794  # advisory: batches of readings share it, a change of the registry has it alone


class News(NamedTuple):
    """What has changed in the registry since a version: all states of everybody concerned."""

    version: int
    states: list[State]
    owners: dict[str, int]
    devices: frozenset[int]
    patients: frozenset[int]


async def share_registry(connection: Connection) -> int:
    """Keep the registry as it is until this transaction ends; its version, read after the lock is held."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1)", _LOCK)
    version: int = await connection.fetchval("SELECT version FROM registry_version")
    return version


async def registry_version(connection: Connection) -> int:
    """The registry's version at this moment, without a lock."""
    version: int = await connection.fetchval("SELECT version FROM registry_version")
    return version


async def have_registry_alone(connection: Connection) -> None:
    """Keep batches and corrections out until this transaction ends: none judges, and none changes what is stored."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)


async def change_law(connection: Connection) -> None:
    """Raise the version for another law: whoever judges by the old one stops at its next look."""
    await have_registry_alone(connection)
    await connection.execute("UPDATE registry_version SET version = version + 1, law_version = version + 1")


async def news_since(connection: Connection, version: int) -> News:
    """What has changed since `version`; since -1, everything. Call it where the registry cannot move.

    :raises OperatorError: when the law has changed since then: what was judged by the old one may not be stored.
    """
    if 0 <= version < await connection.fetchval("SELECT law_version FROM registry_version"):
        raise OperatorError("the law parameters were changed while this process ran; start it again, with the new ones")
    states = [
        _state(about, row) for about in About for row in await connection.fetch(sql(f"states_of_{about}s"), version)
    ]
    owners = await owners_since(connection, version)
    devices, patients = (frozenset(state.subject_id for state in states if state.about is about) for about in About)
    return News(await registry_version(connection), states, owners, devices, patients)


async def histories(connection: Connection, about: About) -> AsyncIterator[list[State]]:
    """Every state of every device, or patient: of some of them at a time, and of each all."""
    left: list[State] = []
    rows = await connection.cursor(sql(f"states_of_{about}s"), EVERYTHING)
    while page := await rows.fetch(_PAGE):
        states = [*left, *(_state(about, row) for row in page)]
        unfinished = states[-1].subject_id  # more of its states may be on the next page
        whole = next((n for n in range(len(states), 0, -1) if states[n - 1].subject_id != unfinished), 0)
        yield states[:whole]
        left = states[whole:]
    yield left


async def owners_since(connection: Connection, version: int) -> dict[str, int]:
    """The identifiers whose owner has changed since a version, with the device that they belong to."""
    return {row["identifier"]: row["device_id"] for row in await connection.fetch(sql("identifiers_since"), version)}


def _state(about: About, row: asyncpg.Record) -> State:
    return State(
        about=about,
        subject_id=row["subject_id"],
        says=says_from_json(row["says"]),
        effective_at=_aware(row["effective_at"]),
        blocking_effective_at=_aware(row["blocking_effective_at"]),
        effective_at_sent=row["effective_at_sent"],
        recorded_at=_aware(row["recorded_at"]),
        place=Place(row["source"], row["source_partition"], row["source_offset"]),
    )


def _aware(moment: datetime) -> datetime:
    """Asyncpg gives -infinity, which is "always", as the earliest datetime, and without its zone."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


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
        before = {row["identifier"]: row["device_id"] for row in await connection.fetch(sql("owners_of"), named)}
        await connection.execute(sql("claim_identifiers"), *map(list, zip(*claims, strict=True)), version)
        after = {row["identifier"]: row["device_id"] for row in await connection.fetch(sql("owners_of"), named)}
        claimed = [name for name in named if before.get(name) != after[name]]
        await queue_identifiers(connection, {name: before.get(name) for name in claimed}, version)
    await queue_states(connection, states, version)
    return version
