"""The ten kinds of reading that the platform documents with fields."""

from enum import StrEnum


class Kind(StrEnum):
    """A kind of reading; its value is the platform's own word, `reading.<value>` is the envelope's `type`.

    `ecg` is named by the platform without any fields: it is no member, and its readings are set aside.
    """

    HEART_RATE = "heartRate"
    HEART_RATE_VARIABILITY = "heartRateVariability"
    BLOOD_PRESSURE = "bloodPressure"
    BLOOD_GLUCOSE = "bloodGlucose"
    BLOOD_OXYGEN = "bloodOxygen"
    WEIGHT = "weight"
    TEMPERATURE = "temperature"
    PEAK_FLOW = "peakFlow"
    SLEEP_MAT_ACTIVITY = "sleepMatActivity"
    SLEEP_MAT_DURATION = "sleepMatDuration"

    __hash__ = str.__hash__  # as good as an enum's own, which is written in Python and slow


KIND_OF_TYPE = {f"reading.{kind}": kind for kind in Kind}
"""From an envelope's `type` to the kind it means."""
