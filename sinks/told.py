"""What one device or patient was told to be, and whom an identifier belongs to: for those who ask, not for judging."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from schemas.record import Place
from schemas.states import About, State, says_from_json
from sinks.database import Connection
from sinks.statements import sql


class Owned(NamedTuple):
    """An identifier, the device that it belongs to for ever, and the state that made it so."""

    identifier: str
    device_id: int
    effective_at: datetime
    place: Place


async def states_of(connection: Connection, about: About, subject_id: int) -> list[State]:
    """Every state of one device or patient; none, if there is nobody by that id."""
    return [
        State(
            about=about,
            subject_id=row["subject_id"],
            says=says_from_json(row["says"]),
            effective_at=row["effective_at"].replace(tzinfo=UTC),  # "always" comes without its zone
            blocking_effective_at=row["blocking_effective_at"].replace(tzinfo=UTC),
            effective_at_sent=row["effective_at_sent"],
            recorded_at=row["recorded_at"].replace(tzinfo=UTC),
            place=Place(row["source"], row["source_partition"], row["source_offset"]),
        )
        for row in await connection.fetch(sql(f"states_of_{about}"), subject_id)
    ]


async def owners_of(connection: Connection, identifiers: Iterable[str]) -> list[Owned]:
    """Whom each of them belongs to, by identifier; those of nobody are left out."""
    return [
        Owned(
            row["identifier"],
            row["device_id"],
            row["effective_at"].replace(tzinfo=UTC),
            Place(row["source"], row["source_partition"], row["source_offset"]),
        )
        for row in await connection.fetch(sql("owners_of_identifiers"), list(identifiers))
    ]
