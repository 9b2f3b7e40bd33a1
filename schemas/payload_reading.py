"""What a payload says whose fields are valid: a reading."""

from collections.abc import Callable
from typing import Any, Final

from pydantic_core import PydanticCustomError

from schemas.kinds import Kind
from schemas.plain import plain_instant
from schemas.reading import MEASURES, MEASURES_OF, Reading

Payload = dict[str, Any]


class Reader:
    """Makes readings of the payloads of one kind.

    What is none all the same raises `PydanticCustomError`, a `ValueError` that pydantic takes for a broken rule.

    :param convert: makes of its measures those that are stored: from another unit, or another name.
    """

    def __init__(self, kind: Kind, convert: Callable[[Payload], None] | None) -> None:
        self._kind: Final = kind
        self._convert: Final = convert
        self._measures: Final = [MEASURES[column] for column in MEASURES_OF[kind]]

    def reading_at(self, payload: Payload) -> Reading:
        """Of one whose time is still a string; raises `ValueError`, too, if it is not written plainly."""
        payload["readingTimestamp"] = plain_instant(payload["readingTimestamp"])
        return self.reading(payload)

    def reading(self, payload: Payload) -> Reading:
        """Of one whose time is an instant."""
        if self._convert is not None:
            self._convert(payload)
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
            self._kind,
            payload["readingTimestamp"],
            device_id,
            identifiers,
            patient_id,
            payload.get("deviceTimeZoneOffset"),
            payload.get("manual") is True,
            payload.get("id"),
            tuple([payload.get(measure) for measure in self._measures]),
        )


def _identifiers(said: str | None, nested: list[Payload] | None) -> tuple[str, ...]:
    """Each once, as first named."""
    if not nested:
        return () if said is None else (said,)
    values: list[str] = [one["value"] for one in nested]
    if said is not None:
        values.insert(0, said)
    return tuple(dict.fromkeys(values))
