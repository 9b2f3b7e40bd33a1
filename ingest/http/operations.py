"""What the operations on a device ask for, and what they say. Source: the platform's device management guide.

Pure: from the device and the patient as of now to what the device's next state says, or to the one precondition that
does not hold. That the two belong to the caller's customer is known by then.
"""

from collections.abc import Callable
from typing import Any, Final

from ingest.http.bodies import DeviceUpdate, Replacement
from ingest.http.known import Device, Patient
from ingest.http.problems import Problem, ProblemError

AVAILABLE_AT_SITE: Final = "availableAtSite"
WITH_PATIENT: Final = "withPatient"

Says = dict[str, Any]
"""Fields of a device state."""
OfDevice = Callable[[Device], Says]
OfDeviceAndPatient = Callable[[Device, Patient], Says]


def associate(device: Device, patient: Patient) -> Says:
    """The patient gets the device; one that a webhook has given a patient already is not taken from them."""
    _at_a_site_of_the_customer(device)
    if device.fields["currentStatus"] != AVAILABLE_AT_SITE:
        raise ProblemError(Problem.NOT_AVAILABLE_AT_SITE)
    if device.fields["patientId"] not in (None, patient.patient_id):
        raise ProblemError(Problem.WITH_ANOTHER_PATIENT, "its status says that it is available, but it has a patient")
    return {"currentStatus": WITH_PATIENT, "patientId": patient.patient_id}


def disassociate(device: Device, patient: Patient) -> Says:
    """The patient gives the device back.

    Webhooks tell of an association and never of a status: a device that one has taken from its patient is `withPatient`
    and has none. Whoever is named, this brings its status after.
    """
    _at_a_site_of_the_customer(device)
    nobody_s = device.fields["patientId"] is None and device.fields["currentStatus"] == WITH_PATIENT
    if device.fields["patientId"] != patient.patient_id and not nobody_s:
        raise ProblemError(Problem.WITH_ANOTHER_PATIENT)
    if device.fields["currentStatus"] != WITH_PATIENT:
        raise ProblemError(Problem.NOT_WITH_PATIENT)
    return {"currentStatus": AVAILABLE_AT_SITE, "patientId": None}


def disable_readings(device: Device) -> Says:
    """Readings received from now on are refused."""
    if device.fields["disabledReadings"]:
        raise ProblemError(Problem.READINGS_DISABLED_ALREADY)
    return {"disabledReadings": True}


def enable_readings(device: Device) -> Says:
    """They are taken again, unless the status refuses them: that is another fact, and stays."""
    if not device.fields["disabledReadings"]:
        raise ProblemError(Problem.READINGS_NOT_DISABLED)
    return {"disabledReadings": False}


def update(asked: DeviceUpdate) -> Says:
    """The override: whatever the status was, and whatever it becomes."""
    said = {"currentStatus": asked.status} if "status" in asked.model_fields_set else {}
    return said | ({"note": asked.note} if "note" in asked.model_fields_set else {})


def replace(asked: Replacement, defective: Device, replacement: Device, patient: Patient | None) -> tuple[Says, Says]:
    """What the defective device's state says, and what the replacement's.

    :param patient: who has the defective one.
    """
    if defective.device_id == replacement.device_id:
        raise ProblemError(Problem.REPLACED_BY_ITSELF)
    if patient is None or defective.fields["currentStatus"] != WITH_PATIENT:
        raise ProblemError(Problem.NOT_WITH_PATIENT, "the device to be replaced is with no patient")
    note = {"note": asked.note} if "note" in asked.model_fields_set else {}
    return {"currentStatus": asked.status, "patientId": None, "disabledReadings": True} | note, associate(
        replacement, patient
    )


def _at_a_site_of_the_customer(device: Device) -> None:
    """A site is one of the customer's unless it is said to be the platform's; that there is one has to be said."""
    platform_site = device.fields["platformSite"]
    if platform_site or (device.fields["siteId"] is None and platform_site is None):
        raise ProblemError(Problem.NOT_AT_CUSTOMER_SITE)
