"""Why a record is set aside: one word each, with the sentence that explains it to a person."""

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """The word that `rejections.reason` holds. Ordered as the law asks: the first that applies wins."""

    sentence: str

    def __new__(cls, word: str, sentence: str) -> Self:
        member = str.__new__(cls, word)
        member._value_ = word
        member.sentence = sentence
        return member

    MALFORMED = "malformed", "The bytes are not one UTF-8 JSON object within the limits of size and depth."
    UNKNOWN_READING_TYPE = "unknown_reading_type", "`type` is not `reading.` and one of the ten kinds."
    INVALID = "invalid", "A field breaks a rule of its schema; `detail` names the field and the rule."
    TIMESTAMP_IMPLAUSIBLE = (
        "timestamp_implausible",
        "It claims to have been taken more than a day after it was received, or before 2001.",
    )
    DEVICE_MISMATCH = "device_mismatch", "Its device id and identifiers belong to more than one device."
    UNKNOWN_DEVICE = "unknown_device", "The device it names is not in the registry."
    DEVICE_DECOMMISSIONED = "device_decommissioned", "The device's status blocked readings when it was received."
    READINGS_DISABLED = "readings_disabled", "Readings of the device were disabled when it was received."
    CUSTOMER_MISMATCH = "customer_mismatch", "The device and the patient it names belong to different customers."
    DUPLICATE = "duplicate", "The same reading, saying the same, had been received before."
    CONFLICTING_DUPLICATE = (
        "conflicting_duplicate",
        "A reading of the same device, kind and moment, saying something else, had been received before.",
    )
    UNSTORABLE = "unstorable", "The database refused this one row."
