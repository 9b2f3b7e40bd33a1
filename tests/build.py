"""Builders: a test says what matters to it, and these say the rest."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter

from enrich.law import Law
from enrich.registry import Registry
from enrich.zones import table_zones
from schemas.payloads import PayloadOf
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import About, State
from tests.canaries import CANARY

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SOURCE = "kafka:readings.raw"
LAW = Law()


def at(text: str) -> datetime:
    """`2026-07-01T12:00` in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def wire_names(payload_of: PayloadOf) -> set[str]:
    """What the fields of a payload are called by those who send it."""
    return set(TypeAdapter(payload_of.model).json_schema()["properties"])


def rfc3339(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def envelope(kind: str = "heartRate", *, taken: datetime = NOON, **payload: Any) -> bytes:
    """A raw reading: a heart rate of device 1 at noon, unless said otherwise. `_type` says another type."""
    measures = {"heartRate": 60} if kind == "heartRate" else {}
    # A field that we never need, dropped at the door: whatever is logged of a reading, in whatever test, this is not.
    personal = {"patientName": CANARY}
    named = (
        {} if payload.keys() & {"deviceId", "deviceIdentifier", "patientId", "device", "patient"} else {"deviceId": 1}
    )
    return json.dumps(
        {
            "type": f"reading.{kind}",
            "payload": {"readingTimestamp": rfc3339(taken), **named, **measures, **personal, **payload},
        }
    ).encode()


def record(
    value: bytes | None, *, offset: int = 0, partition: int = 0, received: datetime | None = NOON, source: str = SOURCE
) -> Record:
    return Record(Place(source, partition, offset), received, value)


def state(about: str, message: dict[str, Any], *, told: datetime, offset: int = 0, from_file: bool = False) -> State:
    """A registry message as it would come in."""
    told_record = record(json.dumps(message).encode(), offset=offset, received=told, source=f"kafka:registry.{about}s")
    understood = understand_state(
        About(about), told_record, told_at=told, from_file=from_file, max_bytes=LAW.max_bytes, max_depth=LAW.max_depth
    )
    assert isinstance(understood, State), understood
    return understood


def registry(*states: State) -> Registry:
    """A registry that was told these states; identifiers belong to the earliest that names them."""
    claims: dict[str, State] = {}
    for told in sorted(states, key=lambda told: (told.effective_at, told.recorded_at, told.place), reverse=True):
        claims.update(dict.fromkeys(told.identifiers, told))
    made = Registry(table_zones())
    made.learn(states, {identifier: told.subject_id for identifier, told in claims.items()}, version=1)
    return made


def device(device_id: int = 1, *, told: datetime = NEW_YEAR, offset: int = 0, **says: Any) -> State:
    return state("device", {"deviceId": device_id, **says}, told=told, offset=offset)


def patient(patient_id: int = 7, *, told: datetime = NEW_YEAR, offset: int = 0, **says: Any) -> State:
    return state("patient", {"patientId": patient_id, **says}, told=told, offset=offset)


def values(records: Iterable[Record]) -> list[bytes | None]:
    return [given.value for given in records]
