"""Device and Patient as the platform's answers name them. Names, birth dates and contacts are not kept, nor told."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ingest.http.known import Device, Patient
from sinks.asked import DeviceNow


class Answer(BaseModel):
    """Wire names are camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)


class Reference(Answer):
    """Somebody, by id."""

    id: int


class IdentifierBody(Answer):
    type: str | None = None
    value: str


class DeviceBody(Answer):
    id: int
    device_identifiers: list[IdentifierBody]
    current_status: str | None
    disabled_readings: bool
    current_patient: Reference | None
    site: Reference | None
    platform_site: bool | None = Field(description="Whether the site is the platform's own warehouse.")
    note: str | None


class Validated(Answer):
    """Whether a device of the customer's has the identifier, and which."""

    valid: bool
    device: DeviceBody | None


class Replaced(Answer):
    """Both devices after a replacement."""

    device: DeviceBody
    replacement: DeviceBody


class AddressBody(Answer):
    zip_code: str | None
    country: str | None


class PatientBody(Answer):
    id: int
    external_identifier: str | None
    address: AddressBody
    time_zone: str | None = Field(description="IANA name of the zip code's zone; null where there is no single one.")


def device_body(device: Device) -> DeviceBody:
    said = device.fields
    return _device_body(
        device.device_id,
        said["deviceIdentifiers"],
        said["currentStatus"],
        bool(said["disabledReadings"]),
        said["patientId"],
        said["siteId"],
        said["platformSite"],
        said["note"],
    )


def listed_device_body(device: DeviceNow) -> DeviceBody:
    return _device_body(*device)


def patient_body(patient: Patient) -> PatientBody:
    said = patient.fields
    return PatientBody(
        id=patient.patient_id,
        external_identifier=said["externalIdentifier"],
        address=AddressBody(zip_code=said["zipCode"], country=said["country"]),
        time_zone=patient.time_zone,
    )


def _device_body(
    device_id: int,
    identifiers: list[dict[str, Any]] | None,
    current_status: str | None,
    disabled_readings: bool,
    patient_id: int | None,
    site_id: int | None,
    platform_site: bool | None,
    note: str | None,
) -> DeviceBody:
    return DeviceBody(
        id=device_id,
        device_identifiers=[IdentifierBody(type=one.get("type"), value=one["value"]) for one in identifiers or ()],
        current_status=current_status,
        disabled_readings=disabled_readings,
        current_patient=None if patient_id is None else Reference(id=patient_id),
        site=None if site_id is None else Reference(id=site_id),
        platform_site=platform_site,
        note=note,
    )
