"""The ten payloads of the platform as they come in, each field by its name on the wire.

Source: the platform's public API reference, models `readings-*`; R (required) is `Required` here.

Typed dictionaries are read by pydantic and by msgspec alike. Pydantic says what is valid, and what is wrong with the
rest. Msgspec, several times as fast, reads most records; it goes by the plain types here, narrowed by its own `Meta` to
what is valid for certain and reads the same by pydantic (`tests/test_envelope.py` holds them together).
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, NamedTuple, Required

from msgspec import Meta
from pydantic import AfterValidator, Field, TypeAdapter, with_config
from typing_extensions import TypedDict  # Python's own, up to 3.11, keeps too little for pydantic

from schemas.kinds import Kind
from schemas.payload_reading import Reader
from schemas.reading import Reading
from schemas.wire import WIRE, Double, Id, InstantText, Int32, Int64, OffsetSeconds, Word, finite

IdentifierValue = Annotated[str, Field(min_length=1, max_length=255), Meta(min_length=1, max_length=255)]
"""Compared exactly. The bound keeps it fit for an index."""


@with_config(WIRE)
class Identifier(TypedDict, total=False):
    type: Literal["serial", "imei", "macAddress", "iccid", "simCardNumber"] | None
    value: Required[IdentifierValue]


@with_config(WIRE)
class NestedDevice(TypedDict, total=False):
    id: Id | None
    deviceIdentifiers: list[Identifier] | None


@with_config(WIRE)
class NestedPatient(TypedDict, total=False):
    id: Id | None


@with_config(WIRE)
class Payload(TypedDict, total=False):
    """What every kind has: when, whose, and the device's own clock."""

    id: Id | None
    readingTimestamp: Required[InstantText]
    deviceId: Id | None
    deviceIdentifier: IdentifierValue | None
    device: NestedDevice | None
    patientId: Id | None
    patient: NestedPatient | None
    deviceTimeZoneOffset: OffsetSeconds | None
    manual: bool | None


@with_config(WIRE)
class HeartRate(Payload, total=False):
    heartRate: Int32 | None


@with_config(WIRE)
class HeartRateVariability(Payload, total=False):
    heartRateVariability: Required[Double]
    heartRate: Int32 | None
    heartRateVariabilityDuration: Int64 | None
    heartRateVariabilityAlgorithmType: Literal["sdann", "sdnn", "sdrr"] | None


@with_config(WIRE)
class BloodPressure(Payload, total=False):
    systolic: Required[Int32]
    diastolic: Required[Int32]
    heartRate: Int32 | None


@with_config(WIRE)
class BloodGlucose(Payload, total=False):
    glucose: Required[Int32]
    glucoseUnit: Annotated[Literal["mgdl", "mgdL", "MGDL"], Word("mgdl")] | None
    beforeMeal: bool | None
    afterMeal: bool | None


@with_config(WIRE)
class BloodOxygen(Payload, total=False):
    bloodOxygen: Required[Int32]
    bloodOxygenUnit: Annotated[Literal["spo2", "spO2", "SpO2", "SPO2"], Word("spo2")] | None
    heartRate: Int32 | None


@with_config(WIRE)
class Weight(Payload, total=False):
    weight: Required[Annotated[Double, Field(ge=0, json_schema_extra={"minimum": 0}), Meta(ge=0)]]
    weightUnit: Annotated[Literal["lbs", "Lbs", "LBS"], Word("lbs")] | None


@with_config(WIRE)
class Temperature(Payload, total=False):
    temperature: Required[Double]
    temperatureUnit: Required[
        Annotated[
            Literal["celsius", "Celsius", "fahrenheit", "Fahrenheit", "c", "C", "f", "F"],
            Word("celsius", "fahrenheit", "c", "f"),
        ]
    ]


@with_config(WIRE)
class PeakFlow(Payload, total=False):
    peakExpiratoryFlow: Required[Double]
    forcedExpiratoryVolumeInOneSecond: Double | None
    forcedExpiratoryVolume: Double | None
    """The same measure as the platform's responses name it; the request's name wins."""


@with_config(WIRE)
class SleepMatActivity(Payload, total=False):
    bedTime: Required[list[str]]
    getUpTime: Required[list[str]]
    duration: Required[str]
    bodyTurnOver: Required[Int32]
    heartRate: Required[Int32]
    respiration: Required[Int32]


@with_config(WIRE)
class SleepMatDuration(Payload, total=False):
    deepSleep: Required[Int32]
    lightSleep: Required[Int32]
    rem: Required[Int32]
    duration: Required[str]
    bodyTurnOver: Required[Int32]
    heartRate: Required[Int32]
    respiration: Required[Int32]


class PayloadOf(NamedTuple):
    """The payload of one kind."""

    kind: Kind
    model: type[Payload]
    reading: Callable[[object], Reading]
    """What a payload says. Raises `pydantic.ValidationError` when it is none."""
    reader: Reader
    """What makes the reading of one that was taken for the model."""


def _payload_of(kind: Kind, model: Any, convert: Callable[[Any], None] | None = None) -> PayloadOf:
    """How a payload of that kind becomes a reading.

    :param convert: makes of its measures those that are stored, where they may come in another unit or by another name.
    """
    reader = Reader(kind, convert)
    adapter: TypeAdapter[Reading] = TypeAdapter(Annotated[model, AfterValidator(reader.reading)])
    return PayloadOf(kind, model, adapter.validator.validate_python, reader)


def _fahrenheit(payload: Any) -> None:
    if payload["temperatureUnit"].lower() in ("celsius", "c"):
        payload["temperature"] = finite(payload["temperature"] * 9 / 5 + 32)


def _fev1(payload: Any) -> None:
    if payload.get("forcedExpiratoryVolumeInOneSecond") is None:
        payload["forcedExpiratoryVolumeInOneSecond"] = payload.get("forcedExpiratoryVolume")


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
