"""The ten payloads of the platform, as they come in. Fields are named by the column that keeps them.

Source: the platform's public API reference, models `readings-*`; R (required) is `Required` here.

They are typed dictionaries and no models: validating one costs a third, and what is made of it is a `Reading` anyway.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, NamedTuple, Required

from pydantic import AfterValidator, Field, TypeAdapter, with_config
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypedDict  # Python's own, up to 3.11, keeps too little for pydantic

from schemas.kinds import Kind
from schemas.payload_reading import readers
from schemas.reading import Reading
from schemas.wire import WIRE, Double, Id, Instant, Int32, Int64, OffsetSeconds, Word, finite

IdentifierValue = Annotated[str, Field(min_length=1, max_length=255)]
"""Compared exactly. The bound keeps it fit for an index."""


@with_config(WIRE)
class Identifier(TypedDict, total=False):
    type: Literal["serial", "imei", "macAddress", "iccid", "simCardNumber"] | None
    value: Required[IdentifierValue]


@with_config(WIRE)
class NestedDevice(TypedDict, total=False):
    id: Id | None
    device_identifiers: list[Identifier] | None


@with_config(WIRE)
class NestedPatient(TypedDict, total=False):
    id: Id | None


@with_config(WIRE)
class Payload(TypedDict, total=False):
    """What every kind has: when, whose, and the device's own clock."""

    id: Id | None
    reading_timestamp: Required[Instant]
    device_id: Id | None
    device_identifier: IdentifierValue | None
    device: NestedDevice | None
    patient_id: Id | None
    patient: NestedPatient | None
    device_time_zone_offset: OffsetSeconds | None
    manual: bool | None


HeartRateBpm = Annotated[Int32, Field(alias="heartRate")]
SleepDuration = Annotated[str, Field(alias="duration")]


@with_config(WIRE)
class HeartRate(Payload, total=False):
    heart_rate_bpm: Annotated[Int32 | None, Field(alias="heartRate")]


@with_config(WIRE)
class HeartRateVariability(Payload, total=False):
    heart_rate_variability_ms: Required[Annotated[Double, Field(alias="heartRateVariability")]]
    heart_rate_bpm: Annotated[Int32 | None, Field(alias="heartRate")]
    heart_rate_variability_duration_ms: Annotated[Int64 | None, Field(alias="heartRateVariabilityDuration")]
    heart_rate_variability_algorithm: Annotated[
        Literal["sdann", "sdnn", "sdrr"] | None, Field(alias="heartRateVariabilityAlgorithmType")
    ]


@with_config(WIRE)
class BloodPressure(Payload, total=False):
    systolic_mmhg: Required[Annotated[Int32, Field(alias="systolic")]]
    diastolic_mmhg: Required[Annotated[Int32, Field(alias="diastolic")]]
    heart_rate_bpm: Annotated[Int32 | None, Field(alias="heartRate")]


@with_config(WIRE)
class BloodGlucose(Payload, total=False):
    glucose_mg_dl: Required[Annotated[Int32, Field(alias="glucose")]]
    glucose_unit: Annotated[str, Word("mgdl")] | None
    before_meal: bool | None
    after_meal: bool | None


@with_config(WIRE)
class BloodOxygen(Payload, total=False):
    blood_oxygen_pct: Required[Annotated[Int32, Field(alias="bloodOxygen")]]
    blood_oxygen_unit: Annotated[str, Word("spo2")] | None
    heart_rate_bpm: Annotated[Int32 | None, Field(alias="heartRate")]


@with_config(WIRE)
class Weight(Payload, total=False):
    weight_lb: Required[Annotated[Double, Field(ge=0, alias="weight", json_schema_extra={"minimum": 0})]]
    weight_unit: Annotated[str, Word("lbs")] | None


@with_config(WIRE)
class Temperature(Payload, total=False):
    temperature: Required[Double]
    temperature_unit: Required[Annotated[str, Word("celsius", "fahrenheit", "c", "f")]]


@with_config(WIRE)
class PeakFlow(Payload, total=False):
    peak_expiratory_flow_l_min: Required[Annotated[Double, Field(alias="peakExpiratoryFlow")]]
    forced_expiratory_volume_in_one_second: Double | None
    forced_expiratory_volume: Double | None
    """The same measure as the platform's responses name it; the request's name wins."""


@with_config(WIRE)
class SleepMatActivity(Payload, total=False):
    bed_times: Required[Annotated[list[str], Field(alias="bedTime")]]
    get_up_times: Required[Annotated[list[str], Field(alias="getUpTime")]]
    sleep_duration: Required[SleepDuration]
    body_turn_over: Required[Int32]
    heart_rate_bpm: Required[HeartRateBpm]
    respiration: Required[Int32]


@with_config(WIRE)
class SleepMatDuration(Payload, total=False):
    deep_sleep_min: Required[Annotated[Int32, Field(alias="deepSleep")]]
    light_sleep_min: Required[Annotated[Int32, Field(alias="lightSleep")]]
    rem_min: Required[Annotated[Int32, Field(alias="rem")]]
    sleep_duration: Required[SleepDuration]
    body_turn_over: Required[Int32]
    heart_rate_bpm: Required[HeartRateBpm]
    respiration: Required[Int32]


class PayloadOf(NamedTuple):
    """The payload of one kind."""

    kind: Kind
    model: type[Payload]
    reading: Callable[[object], Reading]
    """What a payload says. Raises `pydantic.ValidationError` when it is none."""
    schema: CoreSchema
    """The same, for who reads the whole envelope at once; its time may only be written as `plain_instant` reads it."""


def _payload_of(kind: Kind, model: Any, convert: Callable[[Any], None] | None = None) -> PayloadOf:
    """How a payload of that kind becomes a reading.

    :param convert: says, among the fields, the measures that are sent in another unit or by another name.
    """
    reading, reading_at = readers(kind, convert)
    adapter: TypeAdapter[Reading] = TypeAdapter(Annotated[model, AfterValidator(reading)])
    schema: Any = TypeAdapter(model).core_schema
    written = {**schema["fields"]["reading_timestamp"], "schema": core_schema.str_schema(strict=True)}
    plain = {**schema, "fields": schema["fields"] | {"reading_timestamp": written}}
    return PayloadOf(
        kind,
        model,
        adapter.validator.validate_python,
        core_schema.no_info_after_validator_function(reading_at, plain),
    )


def _fahrenheit(payload: Any) -> None:
    celsius = payload["temperature_unit"] in ("celsius", "c")
    payload["temperature_f"] = finite(payload["temperature"] * 9 / 5 + 32 if celsius else payload["temperature"])


def _fev1(payload: Any) -> None:
    requested = payload.get("forced_expiratory_volume_in_one_second")
    payload["fev1_l"] = payload.get("forced_expiratory_volume") if requested is None else requested


PAYLOADS: Final[dict[str, PayloadOf]] = {
    f"reading.{payload.kind}": payload
    for payload in (
        _payload_of(Kind.HEART_RATE, HeartRate),
        _payload_of(Kind.HEART_RATE_VARIABILITY, HeartRateVariability),
        _payload_of(Kind.BLOOD_PRESSURE, BloodPressure),
        _payload_of(Kind.BLOOD_GLUCOSE, BloodGlucose),
        _payload_of(Kind.BLOOD_OXYGEN, BloodOxygen),
        _payload_of(Kind.WEIGHT, Weight),
        _payload_of(Kind.TEMPERATURE, Temperature, _fahrenheit),
        _payload_of(Kind.PEAK_FLOW, PeakFlow, _fev1),
        _payload_of(Kind.SLEEP_MAT_ACTIVITY, SleepMatActivity),
        _payload_of(Kind.SLEEP_MAT_DURATION, SleepMatDuration),
    )
}
"""From an envelope's `type` to the payload it announces: the known kinds."""
