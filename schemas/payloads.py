"""The ten payloads of the platform, as they come in. Fields are named by the column that keeps them.

Source: the platform's public API reference, models `readings-*`; R (required) has no default here.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.kinds import Kind
from schemas.reading import MEASURES, Measure, Reading
from schemas.wire import Double, Id, Instant, Int32, Int64, OffsetSeconds, WireModel, finite, word

IdentifierValue = Annotated[str, Field(min_length=1, max_length=255)]
"""Compared exactly. The bound keeps it fit for an index."""


class Identifier(WireModel):
    type: Literal["serial", "imei", "macAddress", "iccid", "simCardNumber"] | None = None
    value: IdentifierValue


class NestedDevice(WireModel):
    id: Id | None = None
    device_identifiers: list[Identifier] | None = None


class NestedPatient(WireModel):
    id: Id | None = None


class Payload(WireModel):
    """What every kind has: when, whose, and the device's own clock."""

    kind: ClassVar[Kind]
    measures_of: ClassVar[Callable[[Any], tuple[Measure, ...]]]
    no_such_measure: ClassVar[None] = None

    id: Id | None = None
    reading_timestamp: Instant
    device_id: Id | None = None
    device_identifier: IdentifierValue | None = None
    device: NestedDevice | None = None
    patient_id: Id | None = None
    patient: NestedPatient | None = None
    device_time_zone_offset: OffsetSeconds | None = None
    manual: bool | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        has = set(dir(cls)) | set(cls.model_fields)
        cls.measures_of = attrgetter(*(name if name in has else "no_such_measure" for name in MEASURES))

    @model_validator(mode="after")
    def _names_somebody_once(self) -> "Payload":
        if self.device is not None and _differ(self.device_id, self.device.id):
            raise PydanticCustomError("two_devices", "deviceId and device.id differ")
        if self.patient is not None and _differ(self.patient_id, self.patient.id):
            raise PydanticCustomError("two_patients", "patientId and patient.id differ")
        if self.device_id_named is None and self.patient_id_named is None and not self.identifiers_named:
            raise PydanticCustomError("names_nobody", "names no device and no patient")
        return self

    @property
    def device_id_named(self) -> int | None:
        return self.device.id if self.device_id is None and self.device is not None else self.device_id

    @property
    def patient_id_named(self) -> int | None:
        return self.patient.id if self.patient_id is None and self.patient is not None else self.patient_id

    @property
    def identifiers_named(self) -> tuple[str, ...]:
        nested = self.device.device_identifiers if self.device is not None else None
        if not nested:
            return () if self.device_identifier is None else (self.device_identifier,)
        named = [] if self.device_identifier is None else [self.device_identifier]
        return tuple(dict.fromkeys([*named, *(identifier.value for identifier in nested)]))

    def reading(self) -> Reading:
        return Reading(
            kind=self.kind,
            reading_timestamp=self.reading_timestamp,
            device_id_named=self.device_id_named,
            identifiers_named=self.identifiers_named,
            patient_id_named=self.patient_id_named,
            device_time_zone_offset=self.device_time_zone_offset,
            manual=bool(self.manual),
            reading_id=self.id,
            measures=type(self).measures_of(self),
        )


def _differ(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one != other


class HeartRate(Payload):
    kind = Kind.HEART_RATE
    heart_rate_bpm: Int32 | None = Field(None, alias="heartRate")


class HeartRateVariability(Payload):
    kind = Kind.HEART_RATE_VARIABILITY
    heart_rate_variability_ms: Double = Field(alias="heartRateVariability")
    heart_rate_bpm: Int32 | None = Field(None, alias="heartRate")
    heart_rate_variability_duration_ms: Int64 | None = Field(None, alias="heartRateVariabilityDuration")
    heart_rate_variability_algorithm: Literal["sdann", "sdnn", "sdrr"] | None = Field(
        None, alias="heartRateVariabilityAlgorithmType"
    )


class BloodPressure(Payload):
    kind = Kind.BLOOD_PRESSURE
    systolic_mmhg: Int32 = Field(alias="systolic")
    diastolic_mmhg: Int32 = Field(alias="diastolic")
    heart_rate_bpm: Int32 | None = Field(None, alias="heartRate")


class BloodGlucose(Payload):
    kind = Kind.BLOOD_GLUCOSE
    glucose_mg_dl: Int32 = Field(alias="glucose")
    glucose_unit: Annotated[str, word("mgdl")] | None = None
    before_meal: bool | None = None
    after_meal: bool | None = None


class BloodOxygen(Payload):
    kind = Kind.BLOOD_OXYGEN
    blood_oxygen_pct: Int32 = Field(alias="bloodOxygen")
    blood_oxygen_unit: Annotated[str, word("spo2")] | None = None
    heart_rate_bpm: Int32 | None = Field(None, alias="heartRate")


class Weight(Payload):
    kind = Kind.WEIGHT
    weight_lb: Annotated[Double, Field(ge=0)] = Field(alias="weight")
    weight_unit: Annotated[str, word("lbs")] | None = None


class Temperature(Payload):
    kind = Kind.TEMPERATURE
    temperature: Double
    temperature_unit: Annotated[str, word("celsius", "fahrenheit", "c", "f")]

    @model_validator(mode="after")
    def _is_finite_in_fahrenheit(self) -> "Temperature":
        finite(self.temperature_f)
        return self

    @property
    def temperature_f(self) -> float:
        if self.temperature_unit in ("celsius", "c"):
            return self.temperature * 9 / 5 + 32
        return self.temperature


class PeakFlow(Payload):
    kind = Kind.PEAK_FLOW
    peak_expiratory_flow_l_min: Double = Field(alias="peakExpiratoryFlow")
    forced_expiratory_volume_in_one_second: Double | None = None
    forced_expiratory_volume: Double | None = None
    """The same measure as the platform's responses name it; the request's name wins."""

    @property
    def fev1_l(self) -> float | None:
        requested = self.forced_expiratory_volume_in_one_second
        return self.forced_expiratory_volume if requested is None else requested


class SleepMatActivity(Payload):
    kind = Kind.SLEEP_MAT_ACTIVITY
    bed_times: list[str] = Field(alias="bedTime")
    get_up_times: list[str] = Field(alias="getUpTime")
    sleep_duration: str = Field(alias="duration")
    body_turn_over: Int32
    heart_rate_bpm: Int32 = Field(alias="heartRate")
    respiration: Int32


class SleepMatDuration(Payload):
    kind = Kind.SLEEP_MAT_DURATION
    deep_sleep_min: Int32 = Field(alias="deepSleep")
    light_sleep_min: Int32 = Field(alias="lightSleep")
    rem_min: Int32 = Field(alias="rem")
    sleep_duration: str = Field(alias="duration")
    body_turn_over: Int32
    heart_rate_bpm: Int32 = Field(alias="heartRate")
    respiration: Int32


PAYLOADS: Final[dict[str, type[Payload]]] = {
    f"reading.{model.kind}": model
    for model in (
        HeartRate,
        HeartRateVariability,
        BloodPressure,
        BloodGlucose,
        BloodOxygen,
        Weight,
        Temperature,
        PeakFlow,
        SleepMatActivity,
        SleepMatDuration,
    )
}
"""From an envelope's `type` to the payload it announces: the known kinds."""
