"""Devices and patients over HTTP: looked up, and changed. Paths and names are the platform's; replace is our own."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends

from ingest.http import operations
from ingest.http.bodies import DeviceAndPatientNamed, DeviceNamed, DeviceUpdate, Replacement, body_of
from ingest.http.changes import Change, change_devices
from ingest.http.documents import asks, problems
from ingest.http.known import Asking, now
from ingest.http.pages import IdInPath, IdInQuery, Page, TextInPath, TextInQuery, ThePage
from ingest.http.problems import Problem, ProblemError
from ingest.http.registry_bodies import (
    DeviceBody,
    PatientBody,
    Replaced,
    Validated,
    device_body,
    listed_device_body,
    patient_body,
)
from ingest.http.statuses import check_status
from ingest.http.world import TheCaller, TheWorld, World
from sinks.api_keys import Caller
from sinks.asked import DevicesWanted, devices_now
from sinks.database import Connection

router: Final = APIRouter(prefix="/api/v3")

_OF_A_DEVICE: Final = problems(Problem.DEVICE_UNKNOWN)
_OF_A_PATIENT: Final = problems(Problem.PATIENT_UNKNOWN, Problem.PATIENT_AMBIGUOUS)


async def _asking(world: World, caller: Caller, connection: Connection) -> Asking:
    return Asking(connection, caller.customer_id, await now(connection), world.law, world.zones)


# --- looking up -----------------------------------------------------------------------------------------------------


@router.get("/device/{device_id:int}", tags=["devices"], summary="Fetch a device", responses=_OF_A_DEVICE)
async def fetch_device(world: TheWorld, caller: TheCaller, device_id: IdInPath) -> DeviceBody:
    """The device as it is now."""
    async with world.connections.looking() as connection:
        return device_body(await (await _asking(world, caller, connection)).device(device_id))


@router.get("/device/validate/{device_identifier:path}", tags=["devices"], summary="Validate an identifier")
async def validate_device(world: TheWorld, caller: TheCaller, device_identifier: TextInPath) -> Validated:
    """Whether a device of the customer's has this serial number, IMEI or other identifier."""
    async with world.connections.looking() as connection:
        try:
            device = await (await _asking(world, caller, connection)).device_called(device_identifier)
        except ProblemError:
            return Validated(valid=False, device=None)
    return Validated(valid=True, device=device_body(device))


@router.get("/devices", tags=["devices"], summary="List devices", responses=_OF_A_PATIENT)
async def list_devices(
    world: TheWorld,
    caller: TheCaller,
    page: ThePage,
    status: TextInQuery = None,
    patientId: IdInQuery = None,  # noqa: N803 - the platform's names
    patientExternalIdentifier: TextInQuery = None,  # noqa: N803 - the same
    deviceIdentifier: TextInQuery = None,  # noqa: N803 - the same
) -> Page[DeviceBody]:
    """The customer's devices, by id: all, or those of a status, of a patient, with an identifier."""
    async with world.connections.looking() as connection:
        asking = await _asking(world, caller, connection)
        if patientId is not None or patientExternalIdentifier is not None:
            patientId = (await asking.patient_by(patientId, patientExternalIdentifier)).patient_id  # noqa: N806 - as above
        device_id = None
        if deviceIdentifier is not None:
            try:
                device_id = (await asking.device_called(deviceIdentifier)).device_id
            except ProblemError:
                return page.of([], 0)
        wanted = DevicesWanted(status, patientId, device_id)
        devices, total = await devices_now(connection, caller.customer_id, wanted, page.window)
    return page.of([listed_device_body(device) for device in devices], total)


@router.get("/patient/{patient_id:int}", tags=["patients"], summary="Fetch a patient", responses=_OF_A_PATIENT)
async def fetch_patient(world: TheWorld, caller: TheCaller, patient_id: IdInPath) -> PatientBody:
    """The patient as they are now: what is kept of them."""
    async with world.connections.looking() as connection:
        return patient_body(await (await _asking(world, caller, connection)).patient(patient_id))


@router.get(
    "/patient/identifier/{identifier:path}",
    tags=["patients"],
    summary="Fetch a patient by external identifier",
    responses=_OF_A_PATIENT,
)
async def fetch_patient_by_identifier(world: TheWorld, caller: TheCaller, identifier: TextInPath) -> PatientBody:
    """The customer's patient with this external identifier."""
    async with world.connections.looking() as connection:
        return patient_body(await (await _asking(world, caller, connection)).patient_called(identifier))


# --- changing -------------------------------------------------------------------------------------------------------

_OF_AN_ASSOCIATION: Final = problems(
    Problem.DEVICE_UNKNOWN,
    Problem.PATIENT_UNKNOWN,
    Problem.DEVICE_AMBIGUOUS,
    Problem.PATIENT_AMBIGUOUS,
    Problem.NOT_AT_CUSTOMER_SITE,
)


async def _change_one(world: World, caller: Caller, named: DeviceNamed, says: operations.OfDevice) -> DeviceBody:
    async def decide(asking: Asking) -> list[Change]:
        device = await asking.device_named(named)
        return [Change(device, says(device))]

    (device,) = await change_devices(world, caller, decide)
    return device_body(device)


async def _change_with_patient(
    world: World, caller: Caller, named: DeviceAndPatientNamed, says: operations.OfDeviceAndPatient
) -> DeviceBody:
    async def decide(asking: Asking) -> list[Change]:
        device, patient = await asking.device_named(named), await asking.patient_named(named)
        return [Change(device, says(device, patient))]

    (device,) = await change_devices(world, caller, decide)
    return device_body(device)


@router.patch(
    "/device/associate-patient",
    tags=["devices"],
    summary="Associate a device with a patient",
    responses=_OF_AN_ASSOCIATION | problems(Problem.NOT_AVAILABLE_AT_SITE, Problem.WITH_ANOTHER_PATIENT),
    openapi_extra=asks(DeviceAndPatientNamed),
)
async def associate_patient(
    world: TheWorld, caller: TheCaller, named: Annotated[DeviceAndPatientNamed, Depends(body_of(DeviceAndPatientNamed))]
) -> DeviceBody:
    """The patient gets a device that is available at a site of the customer's. Of two at once one succeeds."""
    return await _change_with_patient(world, caller, named, operations.associate)


@router.patch(
    "/device/disassociate-patient",
    tags=["devices"],
    summary="Take a device back from a patient",
    responses=_OF_AN_ASSOCIATION | problems(Problem.WITH_ANOTHER_PATIENT, Problem.NOT_WITH_PATIENT),
    openapi_extra=asks(DeviceAndPatientNamed),
)
async def disassociate_patient(
    world: TheWorld, caller: TheCaller, named: Annotated[DeviceAndPatientNamed, Depends(body_of(DeviceAndPatientNamed))]
) -> DeviceBody:
    """The device is available at its site again. Readings taken before stay the patient's."""
    return await _change_with_patient(world, caller, named, operations.disassociate)


@router.patch(
    "/device/disable-readings",
    tags=["devices"],
    summary="Refuse a device's readings",
    responses=_OF_A_DEVICE | problems(Problem.DEVICE_AMBIGUOUS, Problem.READINGS_DISABLED_ALREADY),
    openapi_extra=asks(DeviceNamed),
)
async def disable_readings(
    world: TheWorld, caller: TheCaller, named: Annotated[DeviceNamed, Depends(body_of(DeviceNamed))]
) -> DeviceBody:
    """Readings received from now on are refused, whatever the device's status."""
    return await _change_one(world, caller, named, operations.disable_readings)


@router.patch(
    "/device/enable-readings",
    tags=["devices"],
    summary="Take a device's readings again",
    responses=_OF_A_DEVICE | problems(Problem.DEVICE_AMBIGUOUS, Problem.READINGS_NOT_DISABLED),
    openapi_extra=asks(DeviceNamed),
)
async def enable_readings(
    world: TheWorld, caller: TheCaller, named: Annotated[DeviceNamed, Depends(body_of(DeviceNamed))]
) -> DeviceBody:
    """Readings received from now on are taken, unless the device's status refuses them."""
    return await _change_one(world, caller, named, operations.enable_readings)


@router.patch(
    "/device/{device_id:int}",
    tags=["devices"],
    summary="Override a device's status",
    responses=_OF_A_DEVICE,
    openapi_extra=asks(DeviceUpdate),
)
async def update_device(
    world: TheWorld,
    caller: TheCaller,
    device_id: IdInPath,
    asked: Annotated[DeviceUpdate, Depends(body_of(DeviceUpdate))],
) -> DeviceBody:
    """Another status, whatever it was, and a note: `decommissioned` refuses readings received from now on.

    A status that is not known is refused: misspelt it would block nothing.
    """
    if "status" in asked.model_fields_set:
        await check_status(world, caller, asked.status)
    named = DeviceNamed.model_validate({"deviceId": device_id})
    return await _change_one(world, caller, named, lambda _: operations.update(asked))


@router.post(
    "/device/replace",
    tags=["devices"],
    summary="Replace a defective device",
    responses=_OF_A_DEVICE
    | problems(
        Problem.DEVICE_AMBIGUOUS,
        Problem.REPLACED_BY_ITSELF,
        Problem.NOT_WITH_PATIENT,
        Problem.NOT_AT_CUSTOMER_SITE,
        Problem.NOT_AVAILABLE_AT_SITE,
        Problem.WITH_ANOTHER_PATIENT,
    ),
    openapi_extra=asks(Replacement),
)
async def replace_device(
    world: TheWorld, caller: TheCaller, asked: Annotated[Replacement, Depends(body_of(Replacement))]
) -> Replaced:
    """A defective device is taken from its patient, and another one given, at one instant: both or neither.

    The defective one gets the status and the note that are sent, and its readings are disabled.
    """
    await check_status(world, caller, asked.status)

    async def decide(asking: Asking) -> list[Change]:
        defective = await asking.device_named(asked)
        replacement = await asking.device_by(asked.replacement_device_id, asked.replacement_device_identifier)
        patient_id = defective.fields["patientId"]
        patient = None if patient_id is None else await asking.patient(patient_id)
        out, into = operations.replace(asked, defective, replacement, patient)
        return [Change(defective, out), Change(replacement, into)]

    device, replacement = await change_devices(world, caller, decide)
    return Replaced(device=device_body(device), replacement=device_body(replacement))
