"""The messages that tell of devices and patients, as they come in: from topics, files and over HTTP."""

from datetime import datetime, timedelta
from typing import Final

from pydantic import ValidationError

from schemas.envelope import NotUnderstood
from schemas.payloads import Identifier
from schemas.reasons import Reason
from schemas.record import Record
from schemas.states import About, State
from schemas.wire import EARLIEST_INSTANT, Id, Instant, MalformedError, WireModel, broken_rules, parse_object


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
