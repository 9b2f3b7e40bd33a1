"""What has to be judged again: found exactly, queued with the change that asks for it, worked off page by page."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from pydantic_core import from_json, to_json

from schemas.states import About, State
from schemas.wire import EARLIEST_INSTANT, LATEST_INSTANT
from sinks.database import Connection
from sinks.statements import sql

_LOCK = 7_205_759_403_792_795  # advisory: one replica at a time works corrections off
_TOUCHING: Final = {
    About.DEVICE: frozenset({"currentStatus", "disabledReadings", "patientId", "customerId"}),
    About.PATIENT: frozenset({"zipCode", "country", "customerId"}),
}


class Correction(NamedTuple):
    """One piece of work: whose rows to judge again, and how far that has come."""

    correction_id: int
    about: str
    subject: int | None
    patient_id: int | None
    identifier: str | None
    since: datetime
    done_to: list[Any] | None
    """The last key or place that is done; None at the beginning."""


async def queue_states(connection: Connection, states: Sequence[State], version: int) -> None:
    """Queue what these states, stored in this transaction, may touch."""
    devices = [(state.subject_id, _since(state)) for state in states if state.about is About.DEVICE]
    if devices:
        await connection.execute(sql("enqueue_devices"), *map(list, zip(*devices, strict=True)), version)
    telling = [state for state in states if state.about is About.PATIENT and _TOUCHING[state.about] & state.says.keys()]
    if telling:
        rows = await connection.fetch(sql("first_says_of_patients"), list({state.subject_id for state in telling}))
        first = {row["patient_id"]: (row["first_zip"], row["first_customer"]) for row in rows}
        patients = [(state.subject_id, _since_of_patient(state, *first[state.subject_id])) for state in telling]
        await connection.execute(sql("enqueue_patients"), *map(list, zip(*patients, strict=True)), version)


async def queue_identifiers(connection: Connection, old_owners: Mapping[str, int | None], version: int) -> None:
    """Queue what naming these identifiers, which have a new owner now, may mean otherwise than before."""
    if old_owners:
        owners = [list(old_owners), list(old_owners.values())]
        await connection.execute(sql("enqueue_identifiers"), *owners, version)


async def queue_everything(connection: Connection) -> None:
    """Queue all that is stored: the law has changed."""
    await connection.execute(
        "INSERT INTO corrections_pending (about, registry_version)"
        " SELECT about, version FROM registry_version, unnest(ARRAY['all_readings', 'all_rejections']) AS about"
    )


async def alone(connection: Connection) -> bool:
    """Whether this transaction has the queue to itself; if not, another replica is at work."""
    held: bool = await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _LOCK)
    return held


async def next_correction(connection: Connection) -> Correction | None:
    """The oldest piece of work, or None."""
    row = await connection.fetchrow(sql("next_correction"))
    if row is None:
        return None
    return Correction(
        row["correction_id"],
        row["about"],
        row["subject"],
        row["patient_id"],
        row["identifier"],
        row["since"].replace(tzinfo=UTC),  # asyncpg gives -infinity without its zone
        None if row["done_to"] is None else from_json(row["done_to"]),
    )


async def pending_corrections(connection: Connection) -> int:
    """How many pieces of work are left."""
    left: int = await connection.fetchval("SELECT count(*) FROM corrections_pending")
    return left


async def finish(connection: Connection, correction: Correction) -> None:
    """Strike a piece of work off."""
    await connection.execute("DELETE FROM corrections_pending WHERE correction_id = $1", correction.correction_id)


async def go_on_from(connection: Connection, correction: Correction, done_to: Sequence[Any]) -> None:
    """Note how far a piece of work has come."""
    await connection.execute(
        "UPDATE corrections_pending SET done_to = $2 WHERE correction_id = $1",
        correction.correction_id,
        to_json(list(done_to)).decode(),
    )


def _since(state: State) -> datetime:
    # A state that says nothing of what is asked still makes its device known: `unknown_device` is judged again anyway.
    if not _TOUCHING[About.DEVICE] & state.says.keys():
        return LATEST_INSTANT
    return min(state.effective_at, state.blocking_effective_at)


def _since_of_patient(state: State, first_zip: datetime | None, first_customer: datetime | None) -> datetime:
    """What is said first covers the time before it, and a country before the first zip code counts with that."""

    def covers(first: datetime | None) -> bool:
        return first is not None and state.effective_at <= first.replace(tzinfo=state.effective_at.tzinfo)

    said_first = (
        ("zipCode" in state.says and covers(first_zip))
        or ("country" in state.says and covers(first_zip))
        or (state.says.get("customerId") is not None and covers(first_customer))
        or ("customerId" in state.says and first_customer is None)
    )
    return EARLIEST_INSTANT if said_first else state.effective_at
