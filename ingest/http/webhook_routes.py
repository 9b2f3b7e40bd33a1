"""The platform's webhooks: readings into the raw topic, what tells of devices and patients into the registry's."""

import hmac
import json
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Security
from fastapi.security import APIKeyHeader
from pydantic import BaseModel
from pydantic_core import to_json

from ingest.http.api_metrics import OTHER
from ingest.http.bodies import any_json_body, object_in
from ingest.http.documents import problems
from ingest.http.problems import Problem, ProblemError
from ingest.http.publisher import Outgoing
from ingest.http.webhook_events import KNOWN, Message, happened_at, messages
from ingest.http.world import TheWorld, World
from schemas.envelope import understand
from schemas.kinds import KIND_OF_TYPE
from schemas.reading import Reading
from schemas.states import About
from sinks.asked import first_receipt

router: Final = APIRouter(tags=["webhooks"])

_header = APIKeyHeader(
    name="Impilo-Webhook-Secret", scheme_name="secret", description="READINGS_WEBHOOK_SECRET.", auto_error=False
)
_EVENT: Final = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "id": {"description": "The platform's id of the event."},
        "type": {"type": "string"},
        "payload": {"description": "What happened."},
    },
}


class Acknowledged(BaseModel):
    """The event is where it is to be: it need not be sent again."""

    fate: str
    records: int


async def _authentic(world: TheWorld, secret: Annotated[str | None, Security(_header)]) -> None:
    """Raises unless the request carries our secret; how long that takes does not tell how much of it was right."""
    ours = world.settings.webhook_secret
    if ours is None:
        raise ProblemError(Problem.WEBHOOKS_OFF)
    if not hmac.compare_digest((secret or "").encode(), ours.get_secret_value().encode()):
        raise ProblemError(Problem.SECRET_WRONG)


@router.post(
    "/webhooks",
    summary="Take an event of the platform",
    dependencies=[Depends(_authentic)],
    responses=problems(Problem.SECRET_WRONG, Problem.WEBHOOKS_OFF),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _EVENT}}}},
)
async def take_event(world: TheWorld, body: Annotated[bytes, Depends(any_json_body)]) -> Acknowledged:
    """The answer is 200 when the broker has all that the event tells, and for events that tell us nothing.

    Sent again, however late, it changes nothing.
    """
    event = object_in(body, world.law.max_depth)
    event_type = event.get("type")
    if not isinstance(event_type, str):
        raise ProblemError(Problem.INVALID, "type: must be a string")
    if event_type.startswith("reading."):
        fate, records = "reading", [_reading(world, body)]
    elif event_type in KNOWN:
        records = await _states(world, event)
        fate = "state" if records else "nothing_told"
    else:
        fate, records = "unknown", []
    await world.publisher.give(records)
    world.metrics.event(event_type if event_type in KNOWN or event_type in KIND_OF_TYPE else OTHER, fate)
    return Acknowledged(fate=fate, records=len(records))


def _reading(world: World, body: bytes) -> Outgoing:
    """The event as it is: it is judged where all readings are. Its key is the device, else the patient."""
    reading = understand(body, max_bytes=world.law.max_bytes, max_depth=world.law.max_depth)
    key = None
    if isinstance(reading, Reading):
        key = str(
            reading.device_id_named or next(iter(reading.identifiers_named), None) or reading.patient_id_named
        ).encode()
    return Outgoing(world.settings.raw_topic, key, body)


async def _states(world: World, event: dict[str, Any]) -> list[Outgoing]:
    """What the event tells, true from when it happened; where it does not tell when, from its first receipt."""
    told, at = messages(event), happened_at(event)
    if at is not None:
        return [_state(world, event, message, at) for message in told]
    if not told:
        return []
    async with world.connections.transaction() as connection:
        return [
            _state(world, event, message, await first_receipt(connection, _one_form(event, message)))
            for message in told
        ]


def _one_form(event: dict[str, Any], message: Message) -> bytes:
    """What is received for the first time: the event, but of an order the assignment, which its later events repeat."""
    received = event if message.order_id is None else {"order": message.order_id, "assigns": message.document}
    return json.dumps(received, sort_keys=True, separators=(",", ":")).encode()


def _state(world: World, event: dict[str, Any], message: Message, at: datetime) -> Outgoing:
    document = message.document | {"effectiveAt": at}
    if message.subject_id is None and isinstance(event.get("id"), int):
        # Of no meaning to us: whoever finds it among the rejections can ask the platform for the event.
        document["eventId"] = event["id"]
    if world.settings.webhook_customer_id is not None:
        document.setdefault("customerId", world.settings.webhook_customer_id)
    topic = world.settings.devices_topic if message.about is About.DEVICE else world.settings.patients_topic
    key = None if message.subject_id is None else str(message.subject_id).encode()
    return Outgoing(topic, key, to_json(document))
