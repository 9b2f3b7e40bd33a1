"""The platform's own Device and Patient JSON, in the words of our registry messages.

Names, birth dates and contacts that it carries are not taken over. Source: the platform's public API reference, the
answers of `GET /api/v3/device/{id}` and `GET /api/v3/patient/{id}`.
"""

from typing import Any, Final, NamedTuple

from schemas.envelope import NotUnderstood
from schemas.reasons import Reason
from schemas.states import About

_ONLY_A_DEVICE_HAS: Final = frozenset(
    {"currentStatus", "deviceIdentifiers", "disabledReadings", "currentPatient", "item", "used"}
)
_ONLY_A_PATIENT_HAS: Final = frozenset({"address", "archived", "enrolled", "firstName", "lastName", "dateOfBirth"})


class Worded(NamedTuple):
    """A document in our own words, and whom it is about."""

    about: About
    document: dict[str, Any]


def in_our_words(document: dict[str, Any]) -> Worded | NotUnderstood:
    """A document of a registry file as a registry message: as it is, if it names `deviceId` or `patientId`."""
    if "deviceId" in document:
        return Worded(About.DEVICE, document)
    if "patientId" in document:
        return Worded(About.PATIENT, document)
    if "id" in document and not _ONLY_A_DEVICE_HAS.isdisjoint(document):
        return device_in_our_words(document)
    if "id" in document and not _ONLY_A_PATIENT_HAS.isdisjoint(document):
        return patient_in_our_words(document)
    return NotUnderstood(Reason.INVALID, "names neither deviceId nor patientId, and is no Device or Patient")


def device_in_our_words(document: dict[str, Any]) -> Worded | NotUnderstood:
    """The platform's Device, its `id` known to be there."""
    said = document | {"deviceId": document["id"]}
    for name, ours in (("currentPatient", "patientId"), ("site", "siteId")):
        match document.get(name, ...):
            case None:
                said[ours] = None
            case {"id": number}:
                said[ours] = number
            case dict():
                return NotUnderstood(Reason.INVALID, f"{name}.id: Field required")
            case value if value is not ...:
                return NotUnderstood(Reason.INVALID, f"{name}: must be an object")
    return Worded(About.DEVICE, said)


def patient_in_our_words(document: dict[str, Any]) -> Worded | NotUnderstood:
    """The platform's Patient, its `id` known to be there."""
    said = document | {"patientId": document["id"]}
    match document.get("address", {}):
        case None:
            said |= {"zipCode": None, "country": None}
        case dict() as address:
            said |= {name: address[name] for name in ("zipCode", "country") if name in address}
        case _:
            return NotUnderstood(Reason.INVALID, "address: must be an object")
    return Worded(About.PATIENT, said)
