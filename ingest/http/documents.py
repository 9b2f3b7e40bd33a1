"""What the OpenAPI document says that the framework cannot know: our bodies, and the problems of each operation."""

import re
from collections.abc import Iterable
from typing import Any, Final

from pydantic import TypeAdapter

from ingest.http.bodies import ALTERNATIVES
from ingest.http.problems import MEDIA_TYPE, Problem
from ingest.http.world import KEY_SCHEME
from schemas.payloads import PAYLOADS, Payload
from schemas.wire import WireModel

_REFERENCE: Final = "#/components/schemas/"
_PROBLEM: Final = {
    "type": "object",
    "title": "Problem",
    "description": "What was wrong and what to do about it (RFC 9457).",
    "required": ["type", "title", "status", "code", "todo"],
    "properties": {
        "type": {"type": "string", "description": "`urn:device-readings:problem:<code>`"},
        "title": {"type": "string", "description": "What was wrong."},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": [str(problem) for problem in Problem], "description": "For programs."},
        "todo": {"type": "string", "description": "What to do about it."},
        "detail": {"type": "string", "description": "What in particular; never a value that was sent."},
        "reason": {"type": "string", "description": "Of a refused reading: why, as in `rejections.reason`."},
    },
}
_OF_EVERY_REQUEST: Final = (Problem.METHOD_NOT_ALLOWED, Problem.FAULT, Problem.AWAY, Problem.TOO_SLOW)
_OF_EVERY_CALLER: Final = (Problem.KEY_MISSING, Problem.KEY_UNKNOWN, Problem.KEY_EXPIRED, Problem.TOO_MANY_REQUESTS)
_OF_EVERY_BODY: Final = (Problem.BODY_MALFORMED, Problem.BODY_TOO_SLOW, Problem.BODY_TOO_LARGE, Problem.NOT_JSON)

# What the API's requests do not carry, though webhooks do.
_ONLY_IN_WEBHOOKS: Final = ("device", "patient")


_ONE: Final = {"deviceIdentifier": "ABC123"}
_TAKEN: Final = {"readingTimestamp": "2026-07-04T12:00:00Z", "deviceId": 599, "deviceTimeZoneOffset": -14400}
_EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "DeviceNamed": _ONE,
    "DeviceAndPatientNamed": _ONE | {"patientId": 7},
    "DeviceUpdate": {"status": "decommissioned", "note": "the cuff leaks"},
    "Replacement": _ONE | {"replacementDeviceId": 600, "status": "decommissioned", "note": "the cuff leaks"},
    "HeartRate": _TAKEN | {"heartRate": 61},
    "HeartRateVariability": _TAKEN | {"heartRateVariability": 41.5},
    "BloodPressure": _TAKEN | {"systolic": 120, "diastolic": 80, "heartRate": 61},
    "BloodGlucose": _TAKEN | {"glucose": 99, "glucoseUnit": "mgdl", "beforeMeal": True},
    "BloodOxygen": _TAKEN | {"bloodOxygen": 97},
    "Weight": _TAKEN | {"weight": 182.4, "weightUnit": "lbs"},
    "Temperature": _TAKEN | {"temperature": 98.6, "temperatureUnit": "fahrenheit"},
    "PeakFlow": _TAKEN | {"peakExpiratoryFlow": 432, "forcedExpiratoryVolumeInOneSecond": 2.9},
    "SleepMatActivity": _TAKEN
    | {
        "bedTime": ["2026-07-03/20:01"],
        "getUpTime": ["2026-07-04/06:00"],
        "duration": "09:59",
        "bodyTurnOver": 12,
        "heartRate": 55,
        "respiration": 14,
    },
    "SleepMatDuration": _TAKEN
    | {
        "deepSleep": 90,
        "lightSleep": 240,
        "rem": 80,
        "duration": "06:50",
        "bodyTurnOver": 12,
        "heartRate": 55,
        "respiration": 14,
    },
}
"""One body of each, to begin with."""


def asks(model: type[WireModel] | type[Payload]) -> dict[str, Any]:
    """The body that an operation asks for."""
    told = {"schema": {"$ref": f"{_REFERENCE}{model.__name__}"}, "example": _EXAMPLES[model.__name__]}
    return {"requestBody": {"required": True, "content": {"application/json": told}}}


def problems(*of_its_own: Problem) -> dict[int | str, dict[str, Any]]:
    """The answers that an operation has for these problems."""
    answers: dict[int | str, dict[str, Any]] = {}
    for problem in of_its_own:
        told = problem.told
        answers.setdefault(
            told.status, {"description": "", "content": {MEDIA_TYPE: {"schema": {"$ref": f"{_REFERENCE}Problem"}}}}
        )
        answers[told.status]["description"] += f"`{problem}`: {told.title} "
    return answers


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with our bodies, and with the problems that any operation may answer."""
    schemas = document["components"].setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas["Problem"] = _PROBLEM
    schemas.update(_bodies())
    for operations in document["paths"].values():
        for operation in operations.values():
            every = [*_OF_EVERY_REQUEST, Problem.INVALID]
            every += _OF_EVERY_CALLER if {KEY_SCHEME: []} in operation["security"] else []
            every += _OF_EVERY_BODY if "requestBody" in operation else []
            answers = operation["responses"]
            answers.pop("422", None)
            for status, answer in problems(*every).items():
                if str(status) in answers:
                    answers[str(status)]["description"] += answer["description"]
                else:
                    answers[str(status)] = answer
    return document


def methods_of(document: dict[str, Any]) -> list[tuple[re.Pattern[str], str]]:
    """What the header Allow says of each path, those without parameters first."""
    told = sorted(document["paths"].items(), key=lambda path: "{" in path[0])
    return [
        (
            re.compile(re.sub(r"\\{[a-z_]+\\}", "[^/]+", re.escape(path))),
            ", ".join(method.upper() for method in operations),
        )
        for path, operations in told
    ]


def _bodies() -> dict[str, Any]:
    models = [*ALTERNATIVES, *(payload.model for payload in PAYLOADS.values())]
    _, told = TypeAdapter.json_schemas(
        [(model.__name__, "validation", TypeAdapter(model)) for model in models], ref_template=f"{_REFERENCE}{{model}}"
    )
    schemas: dict[str, Any] = told["$defs"]
    for model, groups in ALTERNATIVES.items():
        schemas[model.__name__]["allOf"] = [_one_of(group, schemas[model.__name__]) for group in groups]
    for payload in PAYLOADS.values():
        schema = schemas[payload.model.__name__]
        for name in _ONLY_IN_WEBHOOKS:
            schema["properties"].pop(name)
        schema["description"] = f"A reading of the kind `{payload.kind}`."
        schema["allOf"] = [_one_of(("deviceId", "deviceIdentifier", "patientId"), schema)]
    schemas["DeviceUpdate"]["properties"]["status"].pop("default")
    return {name: schema for name, schema in schemas.items() if not name.startswith("Nested") and name != "Identifier"}


def _one_of(names: Iterable[str], schema: dict[str, Any]) -> dict[str, Any]:
    """At least one of these properties is there, and not null unless null says something of it."""
    return {"anyOf": [{"required": [name], "properties": {name: _not_null(schema, name)}} for name in names]}


def _not_null(schema: dict[str, Any], name: str) -> dict[str, Any]:
    told = schema["properties"][name]
    if name == "note" or "anyOf" not in told:
        return {key: value for key, value in told.items() if key not in ("default", "title")}
    (said,) = (one for one in told["anyOf"] if one != {"type": "null"})
    return dict(said)
