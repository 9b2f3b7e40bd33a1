"""A reading once it is understood: what was measured, when, and whom it names."""

from datetime import datetime
from typing import Final

from pydantic_core import to_json

from schemas.kinds import Kind
from schemas.value import Value

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

_MAT: Final = ("sleep_duration", "body_turn_over", "heart_rate_bpm", "respiration")

MEASURES_OF: Final[dict[Kind, tuple[str, ...]]] = {
    kind: tuple(column for column in MEASURES if column in columns)
    for kind, columns in {
        Kind.HEART_RATE: ("heart_rate_bpm",),
        Kind.HEART_RATE_VARIABILITY: (
            "heart_rate_variability_ms",
            "heart_rate_bpm",
            "heart_rate_variability_duration_ms",
            "heart_rate_variability_algorithm",
        ),
        Kind.BLOOD_PRESSURE: ("systolic_mmhg", "diastolic_mmhg", "heart_rate_bpm"),
        Kind.BLOOD_GLUCOSE: ("glucose_mg_dl", "before_meal", "after_meal"),
        Kind.BLOOD_OXYGEN: ("blood_oxygen_pct", "heart_rate_bpm"),
        Kind.WEIGHT: ("weight_lb",),
        Kind.TEMPERATURE: ("temperature_f",),
        Kind.PEAK_FLOW: ("peak_expiratory_flow_l_min", "fev1_l"),
        Kind.SLEEP_MAT_ACTIVITY: ("bed_times", "get_up_times", *_MAT),
        Kind.SLEEP_MAT_DURATION: ("deep_sleep_min", "light_sleep_min", "rem_min", *_MAT),
    }.items()
}
"""The columns that the measures of each kind are kept in, in the order of `MEASURES`."""

_CANONICAL_UNITS: Final = {Kind.TEMPERATURE: {"temperatureUnit": "fahrenheit"}}


class Reading(Value):
    """What a raw record says, once rules 1 to 3 of the law are passed. Nothing in it depends on the registry."""

    __slots__ = (
        "device_id_named",
        "device_time_zone_offset",
        "identifiers_named",
        "kind",
        "manual",
        "measures",
        "patient_id_named",
        "reading_id",
        "reading_timestamp",
    )

    def __init__(
        self,
        kind: Kind,
        reading_timestamp: datetime,
        device_id_named: int | None,
        identifiers_named: tuple[str, ...],
        patient_id_named: int | None,
        device_time_zone_offset: int | None,
        manual: bool,
        reading_id: int | None,
        measures: tuple[Measure, ...],
    ) -> None:
        self.kind: Final = kind
        self.reading_timestamp: Final = reading_timestamp
        """When it was taken, UTC."""
        self.device_id_named: Final = device_id_named
        self.identifiers_named: Final = identifiers_named
        """Each once, as first named."""
        self.patient_id_named: Final = patient_id_named
        self.device_time_zone_offset: Final = device_time_zone_offset
        """Seconds east of UTC, as the device said; None when it said nothing."""
        self.manual: Final = manual
        self.reading_id: Final = reading_id
        self.measures: Final = measures
        """In the order of `MEASURES_OF` its kind; None where one was not sent."""

    def said(self) -> tuple[object, ...]:
        return (
            self.kind,
            self.reading_timestamp,
            self.device_id_named,
            self.identifiers_named,
            self.patient_id_named,
            self.device_time_zone_offset,
            self.manual,
            self.reading_id,
            self.measures,
        )

    @property
    def measured(self) -> dict[str, Measure]:
        """The measures by the column that keeps them."""
        return dict(zip(MEASURES_OF[self.kind], self.measures, strict=True))

    @property
    def names_a_device(self) -> bool:
        return self.device_id_named is not None or bool(self.identifiers_named)

    def says_the_same_as(self, other: "Reading") -> bool:
        """Rule 9, of two of one kind: the stored measures, `manual` and the device's offset; absent equals null."""
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
    measured = reading.measured
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
        **{name: measured.get(column) for column, name in MEASURES.items()},
    }
    payload = {name: value for name, value in said.items() if value is not None}
    return to_json({"type": f"reading.{reading.kind}", "payload": payload | _CANONICAL_UNITS.get(reading.kind, {})})
