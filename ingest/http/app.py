"""The application: its operations, its document, and one form for whatever is wrong."""

from importlib.metadata import version
from typing import Any, Final

import yaml
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ingest.http.device_routes import router as devices
from ingest.http.documents import completed, methods_of
from ingest.http.door import problem_of
from ingest.http.problems import Problem, ProblemError, answer
from ingest.http.reading_routes import router as readings
from ingest.http.webhook_routes import router as webhooks
from ingest.http.world import World, no_other_parameters

_ABOUT: Final = """
Devices, patients and readings of one customer, by the platform's names.

A change counts from now on, and is seen at once; readings that it touches are judged again. What is wrong with a
request is told as `application/problem+json`: `code` for programs, `title` and `todo` for people. What belongs to
another customer is as if it were not there: 404.
"""
_NO_ID: Final = (
    "an id is a whole number from 1 to 9223372036854775807; what has another identifier is looked up by"
    " GET device/validate/{deviceIdentifier} or GET patient/identifier/{identifier}"
)
_PROBLEM_OF: Final = {404: Problem.NO_SUCH_PATH, 405: Problem.METHOD_NOT_ALLOWED}


_document: Final[dict[str, Any]] = {}


def application(world: World) -> FastAPI:
    """The application of one process. Its pages need nothing from elsewhere."""
    app = FastAPIOffline(
        title="Device readings",
        version=version("device-readings"),
        description=_ABOUT,
        redirect_slashes=False,
        openapi_url="/openapi.json",
        swagger_ui_parameters={"validatorUrl": None},
        # A trace would hold paths and the texts of errors.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.state.world = world
    for router in (devices, readings):
        app.include_router(router, dependencies=[Depends(no_other_parameters)])
    app.include_router(webhooks)
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _error)

    of_the_framework = app.openapi

    def openapi() -> dict[str, Any]:
        if not _document:  # it takes a second, and is the same for every application of a process
            _document.update(completed(of_the_framework()))
        return _document

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it
    app.state.methods = methods_of(app.openapi())  # made now: nobody is to wait for it

    @app.get("/openapi.yaml", include_in_schema=False)
    async def openapi_yaml() -> Response:
        return Response(
            yaml.safe_dump(app.openapi(), sort_keys=False, allow_unicode=True), media_type="application/yaml"
        )

    return app


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return answer(error)


async def _error(_: Request, error: Exception) -> Response:
    return answer(problem_of(error))


async def _invalid(_: Request, error: Exception) -> Response:
    """Parameters of the path and the query: which, and the rule; never the value."""
    assert isinstance(error, RequestValidationError)
    faults = [f"{'.'.join(str(step) for step in fault['loc'][1:])}: {fault['msg']}" for fault in error.errors()[:5]]
    return answer(ProblemError(Problem.INVALID, "; ".join(faults)))


async def _http(request: Request, error: Exception) -> Response:
    """What the framework answers by itself."""
    assert isinstance(error, HTTPException)
    problem = _PROBLEM_OF.get(error.status_code, Problem.FAULT)
    headers = dict(error.headers or {})
    allowed = next((allowed for path, allowed in request.app.state.methods if path.fullmatch(request.url.path)), "")
    detail = _NO_ID if problem is Problem.NO_SUCH_PATH and allowed else None  # such paths there are, but for the id
    if problem is Problem.METHOD_NOT_ALLOWED:  # the framework tells those of one operation, and a path may have several
        headers["Allow"] = allowed or headers.get("Allow", "")
    return answer(ProblemError(problem, detail, headers=headers))
