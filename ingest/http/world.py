"""What every request has at hand, and whose request it is."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from enrich.law import Law
from enrich.zones import Zones
from ingest.http.api_metrics import ApiMetrics
from ingest.http.connections import Connections
from ingest.http.problems import Problem, ProblemError
from ingest.http.publisher import Publisher
from ingest.http.rate import RateLimit
from ingest.settings import Settings
from sinks.api_keys import Caller, caller_of


@dataclass(frozen=True, slots=True)
class World:
    """One process of `readings serve`."""

    settings: Settings
    law: Law
    zones: Zones
    connections: Connections
    publisher: Publisher
    rate: RateLimit
    metrics: ApiMetrics


def world_of(request: Request) -> World:
    world: World = request.app.state.world
    return world


TheWorld = Annotated[World, Depends(world_of)]

KEY_SCHEME: Final = "key"
"""What the OpenAPI document calls the header that carries a customer's key."""
_header: Final = APIKeyHeader(
    name="Impilo-API-Key",
    scheme_name=KEY_SCHEME,
    description="A key of one customer: readings keys create.",
    auto_error=False,
)


async def _caller(world: TheWorld, key: Annotated[str | None, Security(_header)]) -> Caller:
    """Whose key the request carries; what it asks is counted against the key's limit."""
    if not key:
        raise ProblemError(Problem.KEY_MISSING)
    async with world.connections.looking() as connection:
        caller = await caller_of(connection, key)
    if caller is None or caller.revoked:
        raise ProblemError(Problem.KEY_UNKNOWN)
    if caller.expired:
        raise ProblemError(Problem.KEY_EXPIRED)
    if wait_s := world.rate.wait_s(caller.key_id):
        raise ProblemError(Problem.TOO_MANY_REQUESTS, headers={"Retry-After": str(math.ceil(wait_s))})
    return caller


TheCaller = Annotated[Caller, Depends(_caller)]


async def no_other_parameters(request: Request, _: TheCaller) -> None:
    """A misspelt parameter would be none, and the answer everybody's: it is refused instead.

    :raises ProblemError: naming those that there are, and not what was sent.
    """
    known = parameters_of(request.app.openapi(), request.scope["route"].path_format, request.method)
    if not known.issuperset(request.query_params):
        there_are = f"there are: {', '.join(sorted(known))}" if known else "there are none here"
        raise ProblemError(Problem.INVALID, f"a parameter of the query has no known name; {there_are}")


def parameters_of(document: dict[str, Any], path: str, method: str) -> set[str]:
    """What the OpenAPI document lets one ask in the query."""
    told = document["paths"][path][method.lower()].get("parameters", ())
    return {parameter["name"] for parameter in told if parameter["in"] == "query"}
