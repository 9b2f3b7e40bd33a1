"""What is asked over HTTP: devices, patients and readings of one customer, a page at a time."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

import asyncpg
from pydantic_core import from_json

from schemas.judgement import Accepted, Entry, told_apart
from schemas.kinds import Kind
from sinks.database import Connection
from sinks.readings import load_readings
from sinks.statements import sql


class Window(NamedTuple):
    """A page: how many to pass over, how many to give."""

    passed_over: int
    size: int


class DevicesWanted(NamedTuple):
    """Which of a customer's devices; None: whatever it is."""

    status: str | None = None
    patient_id: int | None = None
    device_id: int | None = None


class ReadingsWanted(NamedTuple):
    """Which of a customer's readings of a kind; None: whatever it is. `until` is excluded."""

    device_id: int | None = None
    patient_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None


class DeviceNow(NamedTuple):
    """A device as it is now."""

    device_id: int
    device_identifiers: list[dict[str, Any]] | None
    current_status: str | None
    disabled_readings: bool
    patient_id: int | None
    site_id: int | None
    platform_site: bool | None
    note: str | None


async def devices_now(
    connection: Connection, customer_id: int, wanted: DevicesWanted, window: Window
) -> tuple[list[DeviceNow], int]:
    """A page of the customer's devices, by id, and how many there are in all."""
    named = [str(customer_id), None if wanted.patient_id is None else str(wanted.patient_id), wanted.device_id]
    rows = await connection.fetch(sql("devices_of_customer"), *named)
    # By their ids: only so does the view look at their states alone.
    asked = ([row["device_id"] for row in rows], customer_id, wanted.status, wanted.patient_id)
    found = await connection.fetch(sql("devices_now"), *asked, *window)
    if found:
        return [_device(row) for row in found], found[0]["total"]
    first = await connection.fetch(sql("devices_now"), *asked, 0, 1) if window.passed_over else []
    return [], first[0]["total"] if first else 0


async def status_was_told(connection: Connection, customer_id: int, status: str) -> bool:
    """Whether a topic or a file ever told this status of a device that is or was the customer's."""
    told: bool = await connection.fetchval(sql("status_was_told"), str(customer_id), status)
    return told


async def patients_ever_called(connection: Connection, external_identifier: str) -> list[int]:
    """Patients, whoever's they are, that were ever said to have this external identifier."""
    rows = await connection.fetch(sql("patients_by_external_identifier"), external_identifier)
    return [row["patient_id"] for row in rows]


async def page_of_readings(
    connection: Connection, customer_id: int, kind: Kind, wanted: ReadingsWanted, window: Window
) -> tuple[Sequence[Entry[Accepted]], int]:
    """A page of the customer's readings, the latest first, and how many there are in all."""
    asked = (customer_id, kind, *wanted)
    total: int = await connection.fetchval(sql("count_readings"), *asked)
    found, _ = told_apart((await load_readings(connection, "page_of_readings", *asked, *window)).entries)
    return found, total


async def reading_by_id(
    connection: Connection, customer_id: int, kind: Kind, reading_id: int
) -> Entry[Accepted] | None:
    """The customer's reading that was sent with this id of the platform's."""
    found, _ = told_apart((await load_readings(connection, "reading_by_id", customer_id, kind, reading_id)).entries)
    return found[0] if found else None


async def first_receipt(connection: Connection, event: bytes) -> datetime:
    """When an event, in its one form, was first received: now, unless it was received before. Cut to milliseconds."""
    digest = sha256(event).digest()
    received: datetime | None = await connection.fetchval(sql("first_receipt"), digest)
    if received is None:  # another process entered it between the two halves of the statement
        received = await connection.fetchval(sql("first_receipt"), digest)
    assert received is not None
    return received


def _device(row: asyncpg.Record) -> DeviceNow:
    said = {name: row[name] for name in DeviceNow._fields}
    identifiers = row["device_identifiers"]
    return DeviceNow(**said | {"device_identifiers": None if identifiers is None else from_json(identifiers)})
