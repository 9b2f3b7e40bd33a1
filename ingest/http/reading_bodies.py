"""Readings as the platform's answers name them: a model a kind, made of the measures that the kind has."""

from datetime import datetime
from typing import Any, Final, get_type_hints

from pydantic import Field, create_model

from ingest.http.registry_bodies import Answer, Reference
from schemas.judgement import Accepted
from schemas.kinds import Kind
from schemas.payloads import PAYLOADS
from schemas.reading import MEASURES, MEASURES_OF

_UNITS: Final = {
    Kind.BLOOD_GLUCOSE: {"glucoseUnit": "mgdl"},
    Kind.BLOOD_OXYGEN: {"bloodOxygenUnit": "spO2"},
    Kind.WEIGHT: {"weightUnit": "lbs"},
    Kind.TEMPERATURE: {"temperatureUnit": "fahrenheit"},
}
"""The one unit that each of these is stored in."""
_IN_ANSWERS: Final = MEASURES | {"fev1_l": "forcedExpiratoryVolume"}
"""The platform names this one otherwise in its answers than in its requests."""


class ReadingBody(Answer):
    """What is stored of a reading."""

    id: int | None = Field(description="The platform's id, where one was sent.")
    reading_timestamp: datetime = Field(description="When it was taken, UTC.")
    device_time_zone_offset: int | None = Field(description="Seconds east of UTC as the device said; null: it did not.")
    patient_time_zone_offset: int | None = Field(
        description="Seconds east of UTC of the patient's zip code at that moment; null without a single zone."
    )
    patient_time_zone: str | None = Field(description="IANA name of that zone.")
    manual: bool
    device: Reference | None
    patient: Reference | None


class Placed(Answer):
    """Where the broker has put a record: what `readings explain` asks for."""

    topic: str
    partition: int
    offset: int


def _measures_of(kind: Kind) -> dict[str, str]:
    """The columns that a kind has, with what its answers call them."""
    return {column: name for column, name in _IN_ANSWERS.items() if column in MEASURES_OF[kind]}


def _body_of(kind: Kind) -> type[ReadingBody]:
    model = PAYLOADS[f"reading.{kind}"].model
    fields: dict[str, Any] = {}
    told = get_type_hints(model)
    for column, name in _measures_of(kind).items():
        annotation: Any = told[MEASURES[column]]
        fields[name] = (annotation | None, Field(None, alias=name))
    fields |= {name: (str, Field(unit, alias=name)) for name, unit in _UNITS.get(kind, {}).items()}
    return create_model(f"{model.__name__}Reading", __base__=ReadingBody, __doc__=None, **fields)


BODIES: Final = {kind: _body_of(kind) for kind in Kind}


def reading_body(accepted: Accepted) -> ReadingBody:
    """What the answer says of a reading."""
    reading = accepted.reading
    measured = reading.measured
    return BODIES[reading.kind](
        id=reading.reading_id,
        reading_timestamp=reading.reading_timestamp,
        device_time_zone_offset=reading.device_time_zone_offset,
        patient_time_zone_offset=accepted.patient_time_zone_offset,
        patient_time_zone=accepted.patient_time_zone,
        manual=reading.manual,
        device=None if accepted.device_id is None else Reference(id=accepted.device_id),
        patient=None if accepted.patient_id is None else Reference(id=accepted.patient_id),
        **{name: measured[column] for column, name in _measures_of(reading.kind).items()},
    )
