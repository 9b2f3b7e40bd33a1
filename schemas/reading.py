"""A reading once it is understood: what was measured, when, and whom it names."""

from dataclasses import field
from datetime import datetime
from typing import Final

from pydantic_core import to_json

from schemas.kinds import Kind
from schemas.value import value

Measure = int | float | str | bool | list[str] | None

MEASURES: Final = {
    "heart_rate_bpm": "heartRate",
    "heart_rate_variability_ms": "heartRateVariability",
    "heart_rate_variability_duration_ms": "heartRateVariabilityDuration",
    "heart_rate_variability_algorithm": "heartRateVariabilityAlgorithmType",
    "systolic_mmhg": "systolic",
    "diastolic_mmhg": "diastolic",
    "glucose_mg_dl": "glucose",
    "before_meal": "beforeMeal",
    "after_meal": "afterMeal",
    "blood_oxygen_pct": "bloodOxygen",
    "weight_lb": "weight",
    "temperature_f": "temperature",
    "peak_expiratory_flow_l_min": "peakExpiratoryFlow",
    "fev1_l": "forcedExpiratoryVolumeInOneSecond",
    "bed_times": "bedTime",
    "get_up_times": "getUpTime",
    "sleep_duration": "duration",
    "body_turn_over": "bodyTurnOver",
    "respiration": "respiration",
    "deep_sleep_min": "deepSleep",
    "light_sleep_min": "lightSleep",
    "rem_min": "rem",
}
"""The measures of every kind: column of `readings`, in order, and the platform's field."""

_CANONICAL_UNITS: Final = {Kind.TEMPERATURE: {"temperatureUnit": "fahrenheit"}}


@value
class Reading:
    """What a raw record says, once rules 1 to 3 of the law are passed. Nothing in it depends on the registry."""

    kind: Kind
    reading_timestamp: datetime
    """When it was taken, UTC."""
    device_id_named: int | None
    identifiers_named: tuple[str, ...] = field(repr=False)
    """Each once, as first named."""
    patient_id_named: int | None
    device_time_zone_offset: int | None
    """Seconds east of UTC, as the device said; None when it said nothing."""
    manual: bool
    reading_id: int | None
    measures: tuple[Measure, ...] = field(repr=False)
    """In the order of `MEASURES`; None where the kind has no such measure or it was not sent."""

    @property
    def names_a_device(self) -> bool:
        return self.device_id_named is not None or bool(self.identifiers_named)

    def says_the_same_as(self, other: "Reading") -> bool:
        """Rule 9: the stored measures, `manual` and the device's offset; absent equals null."""
        return (self.measures, self.manual, self.device_time_zone_offset) == (
            other.measures,
            other.manual,
            other.device_time_zone_offset,
        )


def canonical_envelope(reading: Reading) -> bytes:
    """The reading in the platform's envelope, in one form: what a rejection keeps under rules 5 to 9.

    The same whether it was refused when it arrived or was stored first and taken back later. It is a valid raw
    record again, and says what the first one said: UTC, canonical units, absent fields left out.
    """
    said = {
        "id": reading.reading_id,
        "readingTimestamp": reading.reading_timestamp.isoformat().replace("+00:00", "Z"),
        "deviceId": reading.device_id_named,
        "device": {"deviceIdentifiers": [{"value": value} for value in reading.identifiers_named]}
        if reading.identifiers_named
        else None,
        "patientId": reading.patient_id_named,
        "deviceTimeZoneOffset": reading.device_time_zone_offset,
        "manual": reading.manual,
        **dict(zip(MEASURES.values(), reading.measures, strict=True)),
    }
    payload = {name: value for name, value in said.items() if value is not None}
    return to_json({"type": f"reading.{reading.kind}", "payload": payload | _CANONICAL_UNITS.get(reading.kind, {})})
