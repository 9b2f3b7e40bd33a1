"""Device and patient states: what the registry was told, true from a moment on."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from schemas.envelope import NotUnderstood
from schemas.payloads import Identifier
from schemas.reasons import Reason
from schemas.record import Place, Record
from schemas.value import value
from schemas.wire import EARLIEST_INSTANT, Id, Instant, MalformedError, WireModel, broken_rules, parse_object


class About(StrEnum):
    """Whom a state is about."""

    DEVICE = "device"
    PATIENT = "patient"


class Names(NamedTuple):
    """Of identifiers, devices and patients, some, whether or not anything is told of them."""

    identifiers: frozenset[str] = frozenset()
    devices: frozenset[int] = frozenset()
    patients: frozenset[int] = frozenset()


NOBODY: Final = Names()


class _State(WireModel):
    effective_at: Instant | None = None
    recorded_at: Instant | None = None


class DeviceMessage(_State):
    """Any subset of a device's fields; one that is absent says nothing, null says none."""

    device_id: Id
    device_identifiers: list[Identifier] | None = None
    current_status: str | None = None
    disabled_readings: bool | None = None
    patient_id: Id | None = None
    site_id: Id | None = None
    platform_site: bool | None = None
    customer_id: Id | None = None
    note: str | None = None


class PatientMessage(_State):
    """Any subset of what is kept of a patient; names, birth date and contacts are dropped at the door."""

    patient_id: Id
    external_identifier: str | None = None
    zip_code: str | None = None
    country: str | None = None
    customer_id: Id | None = None


_MESSAGES: Final[dict[About, type[_State]]] = {About.DEVICE: DeviceMessage, About.PATIENT: PatientMessage}
_SUBJECT: Final = {About.DEVICE: "deviceId", About.PATIENT: "patientId"}
_BLOCKING: Final = frozenset({"currentStatus", "disabledReadings"})
"""The fields that refuse readings; in a plain export they count only from the day it was recorded."""


@value
class State:
    """What one registry record says of one device or patient, from `effective_at` on."""

    about: About
    subject_id: int
    says: Mapping[str, Any] = field(repr=False)
    """The platform's field names and values; a field that is absent here was not said."""
    effective_at: datetime
    """UTC; the earliest instant stands for "always"."""
    blocking_effective_at: datetime
    """The moment from which `currentStatus` and `disabledReadings` count: later than `effective_at` in an export."""
    effective_at_sent: bool
    """Whether the message itself told its moment: only then is telling it twice one change."""
    recorded_at: datetime
    place: Place

    def effective_at_of(self, name: str) -> datetime:
        """From when on this state's `name` counts."""
        return self.blocking_effective_at if name in _BLOCKING else self.effective_at

    @property
    def identifiers(self) -> list[str]:
        """The identifiers it names, by value."""
        return [identifier["value"] for identifier in self.says.get("deviceIdentifiers") or ()]

    @property
    def content(self) -> bytes:
        """What it says, in one form: two messages that say the same have it in common."""
        return to_json(dict(sorted(self.says.items())))


def understand_state(
    about: About, record: Record, *, told_at: datetime, from_file: bool, max_bytes: int, max_depth: int
) -> State | NotUnderstood:
    """The state that a registry record tells, or why it is set aside. Never raises.

    :param told_at: the record's timestamp on a topic, the moment a file was first opened: stands in for a `recordedAt`
        or, on a topic, an `effectiveAt` that the message does not send.
    :param from_file: a plain export is true "always", but for the two fields that block readings, which count from
        `recordedAt` on.
    """
    try:
        document = parse_object(record.value, max_bytes=max_bytes, max_depth=max_depth)
        message = _MESSAGES[about].model_validate(document)
    except MalformedError as error:
        return NotUnderstood(Reason.MALFORMED, str(error))
    except ValidationError as error:
        return NotUnderstood(Reason.INVALID, broken_rules(error))
    says = message.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"effective_at", "recorded_at"})
    subject_id = says.pop(_SUBJECT[about])
    recorded_at = message.recorded_at or told_at
    # "Always" is before any moment that can be sent.
    sent = message.effective_at and max(message.effective_at, EARLIEST_INSTANT + timedelta(microseconds=1))
    return State(
        about=about,
        subject_id=subject_id,
        says=says,
        effective_at=sent or (EARLIEST_INSTANT if from_file else told_at),
        blocking_effective_at=sent or (recorded_at if from_file else told_at),
        effective_at_sent=message.effective_at is not None,
        recorded_at=recorded_at,
        place=record.place,
    )


def says_from_json(text: str | bytes) -> dict[str, Any]:
    """What a state says, back from the database."""
    says: dict[str, Any] = from_json(text)
    return says
