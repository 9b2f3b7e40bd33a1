"""Why a record is set aside: one word each, with the sentence that explains it to a person."""

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """The word that `rejections.reason` holds. Ordered as the law asks: the first that applies wins."""

    MALFORMED = "malformed"
    UNKNOWN_READING_TYPE = "unknown_reading_type"
    INVALID = "invalid"
    TIMESTAMP_IMPLAUSIBLE = "timestamp_implausible"
    DEVICE_MISMATCH = "device_mismatch"
    UNKNOWN_DEVICE = "unknown_device"
    DEVICE_DECOMMISSIONED = "device_decommissioned"
    READINGS_DISABLED = "readings_disabled"
    CUSTOMER_MISMATCH = "customer_mismatch"
    DUPLICATE = "duplicate"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    UNSTORABLE = "unstorable"

    @property
    def sentence(self) -> str:
        """The reason in words, for people."""
        return _SENTENCES[self]


_SENTENCES: Final = {
    Reason.MALFORMED: "The bytes are not one UTF-8 JSON object within the limits of size and depth.",
    Reason.UNKNOWN_READING_TYPE: "`type` is not `reading.` and one of the ten kinds.",
    Reason.INVALID: "A field breaks a rule of its schema; `detail` names the field and the rule.",
    Reason.TIMESTAMP_IMPLAUSIBLE: "It claims to be taken more than a day after it was received, or before 2001.",
    Reason.DEVICE_MISMATCH: "Its device id and identifiers belong to more than one device.",
    Reason.UNKNOWN_DEVICE: "The device it names is not in the registry.",
    Reason.DEVICE_DECOMMISSIONED: "The device's status blocked readings when it was received.",
    Reason.READINGS_DISABLED: "Readings of the device were disabled when it was received.",
    Reason.CUSTOMER_MISMATCH: "The device and the patient it names belong to different customers.",
    Reason.DUPLICATE: "The same reading, saying the same, had been received before.",
    Reason.CONFLICTING_DUPLICATE: "One of the same device, kind and moment, saying something else, came before.",
    Reason.UNSTORABLE: "The database refused this one row.",
}
