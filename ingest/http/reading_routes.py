"""Readings over HTTP: given to the raw topic, like those of any other way in, and read from where they are stored."""

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from pydantic import create_model

from ingest.http.bodies import any_json_body, object_in
from ingest.http.documents import asks, problems
from ingest.http.foresight import foreseen, key_of
from ingest.http.known import Asking, now
from ingest.http.pages import IdInPath, IdInQuery, InstantInQuery, Page, TextInQuery, ThePage
from ingest.http.problems import Problem, ProblemError
from ingest.http.publisher import Outgoing
from ingest.http.reading_bodies import BODIES, Placed, ReadingBody, reading_body
from ingest.http.world import TheCaller, TheWorld, World
from schemas.envelope import understand
from schemas.judgement import Rejected
from schemas.kinds import Kind
from schemas.payloads import PAYLOADS
from schemas.reading import Reading
from sinks.api_keys import Caller
from sinks.asked import ReadingsWanted, page_of_readings, reading_by_id

router: Final = APIRouter(prefix="/api/v3", tags=["readings"])

_NAMED: Final = problems(Problem.DEVICE_UNKNOWN, Problem.PATIENT_UNKNOWN)
Body = Annotated[bytes, Depends(any_json_body)]


def _offer(kind: Kind) -> None:
    """The three operations of a kind."""
    name = re.sub("[A-Z]", lambda capital: f"-{capital[0].lower()}", kind)
    words = name.replace("-", " ")
    body = BODIES[kind]
    given = create_model(f"Given{body.__name__}", __base__=body, place=(Placed, ...), __doc__=None)

    async def give(world: TheWorld, caller: TheCaller, body: Body) -> Any:
        return given(**await _give(world, caller, kind, body))

    async def list_readings(
        world: TheWorld,
        caller: TheCaller,
        page: ThePage,
        deviceId: IdInQuery = None,  # noqa: N803 - the platform's names
        deviceIdentifier: TextInQuery = None,  # noqa: N803 - the platform's names
        patientId: IdInQuery = None,  # noqa: N803 - the same
        externalIdentifier: TextInQuery = None,  # noqa: N803 - the same
        startTimestamp: InstantInQuery = None,  # noqa: N803 - the same
        endTimestamp: InstantInQuery = None,  # noqa: N803 - the same
    ) -> Any:
        async with world.connections.looking() as connection:
            asking = Asking(connection, caller.customer_id, await now(connection), world.law, world.zones)
            if deviceId is not None or deviceIdentifier is not None:
                deviceId = (await asking.device_by(deviceId, deviceIdentifier)).device_id  # noqa: N806 - as above
            if patientId is not None or externalIdentifier is not None:
                patientId = (await asking.patient_by(patientId, externalIdentifier)).patient_id  # noqa: N806 - as above
            wanted = ReadingsWanted(deviceId, patientId, startTimestamp, endTimestamp)
            found, total = await page_of_readings(connection, caller.customer_id, kind, wanted, page.window)
        return page.of([reading_body(entry.judgement) for entry in found], total)

    async def fetch(world: TheWorld, caller: TheCaller, reading_id: IdInPath) -> ReadingBody:
        async with world.connections.looking() as connection:
            found = await reading_by_id(connection, caller.customer_id, kind, reading_id)
        if found is None:
            raise ProblemError(Problem.READING_UNKNOWN)
        return reading_body(found.judgement)

    router.add_api_route(
        f"/{name}-reading",
        give,
        methods=["POST"],
        status_code=202,
        response_model=given,
        operation_id=f"give_{kind}",
        summary=f"Record a {words} reading",
        description="It is given to the raw topic; the answer comes when the broker has it, and says what is to be"
        " stored. 409 where it will be refused or is there already: it is in the topic all the same, and kept among the"
        " rejections.",
        responses=_NAMED | problems(Problem.READING_REFUSED),
        openapi_extra=asks(PAYLOADS[f"reading.{kind}"].model),
    )
    router.add_api_route(
        f"/{name}-reading",
        list_readings,
        methods=["GET"],
        response_model=Page[body],  # type: ignore[valid-type]
        operation_id=f"list_{kind}",
        summary=f"List {words} readings",
        description="The customer's stored readings, the latest first; `endTimestamp` is excluded.",
        responses=_NAMED | problems(Problem.DEVICE_AMBIGUOUS, Problem.PATIENT_AMBIGUOUS),
    )
    router.add_api_route(
        f"/{name}-reading/{{reading_id:int}}",
        fetch,
        methods=["GET"],
        response_model=body,
        operation_id=f"fetch_{kind}",
        summary=f"Fetch a {words} reading",
        description="By the platform's id, where one was sent in `id`.",
        responses=problems(Problem.READING_UNKNOWN),
    )


for _kind in Kind:
    _offer(_kind)


async def _give(world: World, caller: Caller, kind: Kind, body: bytes) -> dict[str, Any]:
    """What the answer says of a reading that the broker has.

    :raises ProblemError: when it is no reading, or names what is not the customer's: then the broker never had it; when
        it will be refused: then it has.
    """
    object_in(body, world.law.max_depth - 1)
    value = b'{"type":"reading.%s","payload":%s}' % (kind.encode(), body)
    reading = understand(value, max_bytes=world.law.max_bytes, max_depth=world.law.max_depth)
    if not isinstance(reading, Reading):
        detail = reading.detail and reading.detail.replace("payload.", "").replace("payload: ", "")
        raise ProblemError(Problem.INVALID, detail)
    async with world.connections.looking() as connection:
        asking = Asking(connection, caller.customer_id, await now(connection), world.law, world.zones)
        judgement = await foreseen(asking, reading, value)
    record = Outgoing(world.settings.raw_topic, key_of(judgement, reading), value)
    (given,) = await world.publisher.give([record])
    place = Placed(topic=given.topic, partition=given.partition, offset=given.offset)
    if isinstance(judgement, Rejected):
        said = {"reason": str(judgement.reason), "place": place.model_dump(by_alias=True)}
        raise ProblemError(Problem.READING_REFUSED, judgement.reason.sentence, more=said)
    return dict(reading_body(judgement)) | {"place": place}
