"""What devices and patients were told to be, and whom identifiers belong to."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import NamedTuple

from schemas.record import Place
from schemas.states import About, Names, State, says_from_json
from sinks.database import Connection, aware
from sinks.statements import sql


class Owned(NamedTuple):
    """An identifier, the device that it belongs to for ever, and the state that made it so."""

    identifier: str
    device_id: int
    effective_at: datetime
    place: Place


class Told(NamedTuple):
    """All that is told of some."""

    of: Names
    states: list[State]
    owners: dict[str, int]


async def states_of(connection: Connection, about: About, *subject_ids: int) -> list[State]:
    """Every state of these devices or patients; none of an id that is nobody's."""
    return [
        State(
            about=about,
            subject_id=row["subject_id"],
            says=says_from_json(row["says"]),
            effective_at=aware(row["effective_at"]),
            blocking_effective_at=aware(row["blocking_effective_at"]),
            effective_at_sent=row["effective_at_sent"],
            recorded_at=aware(row["recorded_at"]),
            place=Place(row["source"], row["source_partition"], row["source_offset"]),
        )
        for row in await connection.fetch(sql(f"states_of_{about}s"), subject_ids)
    ]


async def owners_of(connection: Connection, identifiers: Iterable[str]) -> list[Owned]:
    """Whom each of them belongs to, by identifier; those of nobody are left out."""
    return [
        Owned(
            row["identifier"],
            row["device_id"],
            aware(row["effective_at"]),
            Place(row["source"], row["source_partition"], row["source_offset"]),
        )
        for row in await connection.fetch(sql("owners_of"), list(identifiers))
    ]


async def told_of(connection: Connection, names: Names) -> Told:
    """What is told of these, and of the devices that their identifiers belong to."""
    owners = await device_ids_of(connection, names.identifiers)
    devices = names.devices.union(owners.values())
    states = await states_of(connection, About.DEVICE, *devices) if devices else []
    states += await states_of(connection, About.PATIENT, *names.patients) if names.patients else []
    return Told(Names(names.identifiers, devices, names.patients), states, owners)


async def device_ids_of(connection: Connection, identifiers: Collection[str]) -> dict[str, int]:
    """The device that each of them belongs to; those of nobody are left out."""
    rows = await connection.fetch(sql("device_ids_of"), list(identifiers)) if identifiers else []
    return {row["identifier"]: row["device_id"] for row in rows}
