"""The bodies of requests: read by the rules that messages are read by, so that no field's rule stands twice."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, TypeVar

from fastapi import Request
from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from ingest.http.problems import Problem, ProblemError
from ingest.http.world import TheWorld
from schemas.payloads import IdentifierValue
from schemas.wire import Id, MalformedError, WireModel, broken_rules, parse_object

Status = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        description="One that is known, to the letter: `available`, `availableAtSite`, `withPatient`, `decommissioned`,"
        " one that the operator has named, or one that topics or files told of a device of yours. Any other is 422.",
    ),
]
Note = Annotated[str, Field(max_length=4_096)]


class Asked(WireModel):
    """What a person or a program asks for: a field of no known name is refused, since `notes` would be no note.

    Readings and webhooks are messages, of which unknown fields are ignored.
    """

    model_config = ConfigDict(extra="forbid")


class DeviceNamed(Asked):
    """A device by its id, by one of its identifiers, or by both."""

    device_id: Id | None = None
    device_identifier: IdentifierValue | None = None

    @model_validator(mode="after")
    def _names_a_device(self) -> "DeviceNamed":
        if self.device_id is None and self.device_identifier is None:
            raise PydanticCustomError("names_no_device", "names no device: deviceId or deviceIdentifier is needed")
        return self


class DeviceAndPatientNamed(DeviceNamed):
    """A device, and a patient by id, by external identifier, or by both."""

    patient_id: Id | None = None
    patient_external_identifier: IdentifierValue | None = None

    @model_validator(mode="after")
    def _names_a_patient(self) -> "DeviceAndPatientNamed":
        if self.patient_id is None and self.patient_external_identifier is None:
            raise PydanticCustomError(
                "names_no_patient", "names no patient: patientId or patientExternalIdentifier is needed"
            )
        return self


class DeviceUpdate(Asked):
    """The override: another status, another note. What is absent stays; a note of null takes it away."""

    status: Status = Field(None, validate_default=False)  # type: ignore[assignment]  # absent, and never null
    note: Note | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "DeviceUpdate":
        if not self.model_fields_set & {"status", "note"}:
            raise PydanticCustomError("says_nothing", "says nothing: status or note is needed")
        return self


class Replacement(DeviceNamed):
    """A defective device, what becomes of it, and the device that the patient gets in its place."""

    replacement_device_id: Id | None = None
    replacement_device_identifier: IdentifierValue | None = None
    status: Status
    note: Note | None = None

    @model_validator(mode="after")
    def _names_a_replacement(self) -> "Replacement":
        if self.replacement_device_id is None and self.replacement_device_identifier is None:
            raise PydanticCustomError(
                "names_no_replacement",
                "names no replacement: replacementDeviceId or replacementDeviceIdentifier is needed",
            )
        return self


ALTERNATIVES: Final[dict[type[Asked], list[tuple[str, ...]]]] = {
    DeviceNamed: [("deviceId", "deviceIdentifier")],
    DeviceAndPatientNamed: [("deviceId", "deviceIdentifier"), ("patientId", "patientExternalIdentifier")],
    DeviceUpdate: [("status", "note")],
    Replacement: [("deviceId", "deviceIdentifier"), ("replacementDeviceId", "replacementDeviceIdentifier")],
}
"""Of each group of fields at least one is needed: what the validators above say, for the OpenAPI document."""

Model = TypeVar("Model", bound=Asked)


def body_of(model: type[Model]) -> Callable[..., Awaitable[Model]]:
    """A dependency: the body as that model.

    :raises ProblemError: when it is none; no value of it is told, nor a name that we do not know.
    """
    names = ", ".join(sorted(field.alias or name for name, field in model.model_fields.items()))

    async def body(request: Request, world: TheWorld) -> Model:
        try:
            return model.model_validate(object_in(await json_body(request), world.law.max_depth))
        except ValidationError as error:
            if any(fault["type"] == "extra_forbidden" for fault in error.errors(include_input=False)):
                told = f"a field of the body has no known name; there are: {names}"
            else:
                told = broken_rules(error)
            raise ProblemError(Problem.INVALID, told) from None

    return body


async def json_body(request: Request) -> bytes:
    """The bytes of a body that is said to be JSON."""
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if said != "application/json":
        raise ProblemError(Problem.NOT_JSON)
    return await request.body()


async def any_json_body(request: Request) -> bytes:
    """A dependency: the body's bytes."""
    return await json_body(request)


def object_in(value: bytes, max_depth: int) -> dict[str, Any]:
    """The one JSON object that a body holds."""
    try:
        return parse_object(value, max_bytes=len(value) + 1, max_depth=max_depth)
    except MalformedError as error:
        raise ProblemError(Problem.BODY_MALFORMED, str(error)) from None
