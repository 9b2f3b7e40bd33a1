"""What a payload says whose fields are valid: a reading."""

from collections.abc import Callable
from typing import Any

from pydantic_core import PydanticCustomError

from schemas.kinds import Kind
from schemas.plain import plain_instant
from schemas.reading import MEASURES, MEASURES_OF, Reading

Payload = dict[str, Any]


def readers(
    kind: Kind, convert: Callable[[Payload], None] | None
) -> tuple[Callable[[Payload], Reading], Callable[[Payload], Reading]]:
    """What makes readings of payloads of that kind: of those whose time is an instant, and of those with a string.

    What is no reading all the same raises `PydanticCustomError`, a `ValueError`; in the second, a time that is not
    written plainly raises `ValueError` too.

    :param convert: makes of its measures those that are stored, where they may come in another unit or by another name.
    """
    measures = [MEASURES[column] for column in MEASURES_OF[kind]]

    def reading(payload: Payload) -> Reading:
        if convert is not None:
            convert(payload)
        device: Payload | None = payload.get("device")
        patient: Payload | None = payload.get("patient")
        device_id, patient_id = payload.get("deviceId"), payload.get("patientId")
        nested = None if device is None else device.get("deviceIdentifiers")
        identifiers = _identifiers(payload.get("deviceIdentifier"), nested)
        if device is not None and (nested_id := device.get("id")) is not None:
            if device_id is not None and nested_id != device_id:
                raise PydanticCustomError("two_devices", "deviceId and device.id differ")
            device_id = nested_id
        if patient is not None and (nested_id := patient.get("id")) is not None:
            if patient_id is not None and nested_id != patient_id:
                raise PydanticCustomError("two_patients", "patientId and patient.id differ")
            patient_id = nested_id
        if device_id is None and patient_id is None and not identifiers:
            raise PydanticCustomError("names_nobody", "names no device and no patient")
        return Reading(
            kind,
            payload["readingTimestamp"],
            device_id,
            identifiers,
            patient_id,
            payload.get("deviceTimeZoneOffset"),
            payload.get("manual") is True,
            payload.get("id"),
            tuple([payload.get(measure) for measure in measures]),
        )

    def reading_at(payload: Payload) -> Reading:
        payload["readingTimestamp"] = plain_instant(payload["readingTimestamp"])
        return reading(payload)

    return reading, reading_at


def _identifiers(said: str | None, nested: list[Payload] | None) -> tuple[str, ...]:
    """Each once, as first named."""
    if not nested:
        return () if said is None else (said,)
    values: list[str] = [one["value"] for one in nested]
    if said is not None:
        values.insert(0, said)
    return tuple(dict.fromkeys(values))
