"""What an event of the platform tells the registry, in the words of our registry messages.

Source: the platform's webhook guide for the types; it publishes no samples of these payloads, so a device, a patient or
a site is taken from where it stands nested, as in its models, or flat. A message holds nothing but fields that the
registry keeps: names, birth dates and contacts end here. What a field has to be is not asked: a message that breaks
a rule is set aside in the ledger like any other.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from ingest.registry_platform import device_in_our_words, patient_in_our_words
from schemas.envelope import NotUnderstood
from schemas.states import About
from schemas.wire import Instant

_OTHERS: Final = frozenset(
    {
        "device.healthcheck", "device.lowBattery", "device.weakSignal", "order.status", "procurement.status",
        "procurement.statusFull", "return.status", "return.statusFull", "supportTicket.event",
        "transferRequest.status", "transferRequest.statusFull",
    }
)  # fmt: skip
"""Types that the platform names and that tell the registry nothing: no webhook tells of a device's status."""

_TIMES: Final[Mapping[str, tuple[str, ...]]] = {
    "patient.created": ("createTimestamp", "createdAt"),
    "patient.updated": ("updateTimestamp", "updatedAt"),
    "device.associationCreated": ("createTimestamp", "createdAt"),
    "device.associationRemoved": (),
    "order.statusFull": (),
}
"""The types that tell the registry something, with the fields that besides these tell when an event of it happened."""
_TIMES_OF_ANY: Final = ("effectiveAt", "eventTimestamp", "timestamp")
KNOWN: Final = _OTHERS | _TIMES.keys()

_INSTANT: Final = TypeAdapter[datetime](Instant)


class Message(NamedTuple):
    """What is told of one device or patient; its `effectiveAt` is still to be said."""

    about: About
    subject_id: Any
    document: dict[str, Any]
    order_id: Any = None
    """The order that assigns a device: it does so once, however many events of its way tell of it."""


_NOBODY: Final = Message(About.DEVICE, None, {})


def happened_at(event: Mapping[str, Any]) -> datetime | None:
    """The event's own time; None where it tells none."""
    names = (*_TIMES_OF_ANY, *_TIMES.get(str(event.get("type")), ()))
    for said in (event, _object(event.get("payload"))):
        for name in names:
            try:
                return _INSTANT.validate_python(said.get(name))
            except ValidationError:
                continue
    return None


def messages(event: Mapping[str, Any]) -> list[Message]:
    """What it tells; nothing, if it is of another type. What cannot be told from it at all, is told as nobody's."""
    payload = _object(event.get("payload"))
    match event.get("type"):
        case "patient.created" | "patient.updated":
            return [_patient(_object(payload.get("patient")) or payload)]
        case "device.associationCreated":
            patient_id = _id_of(payload, "patient")
            return [_NOBODY if patient_id is None else _device(_device_in(payload), {"patientId": patient_id})]
        case "device.associationRemoved":
            return [_device(_device_in(payload), {"patientId": None})]
        case "order.statusFull":
            return list(_order(payload))
        case _:
            return []


def _order(order: Mapping[str, Any]) -> Iterator[Message]:
    """The devices of an order go to its patient, or to its site, which is the customer's: it has one of the two."""
    patient_id, site_id = _id_of(order, "patient"), _id_of(order, "site")
    if patient_id is not None:
        assigned = {"patientId": patient_id}
    elif site_id is not None:
        assigned = {"siteId": site_id, "platformSite": False}
    else:
        return
    holders = [order, *(_object(item) for item in _list(order.get("orderItems")))]
    for device in (device for holder in holders for device in _list(holder.get("devices"))):
        yield _device(_object(device), assigned)._replace(order_id=order.get("id"))


def _device(device: Mapping[str, Any], says: Mapping[str, Any]) -> Message:
    document = _in_our_words(device, About.DEVICE)
    kept = {name: document[name] for name in ("deviceId", "deviceIdentifiers") if document.get(name) is not None}
    return Message(About.DEVICE, kept.get("deviceId"), {**kept, **says})


def _patient(patient: Mapping[str, Any]) -> Message:
    document = _in_our_words(patient, About.PATIENT)
    names = ("patientId", "externalIdentifier", "zipCode", "country", "customerId")
    kept = {name: document[name] for name in names if name in document}
    return Message(About.PATIENT, kept.get("patientId"), kept)


def _in_our_words(said: Mapping[str, Any], about: About) -> Mapping[str, Any]:
    own = f"{about}Id"
    if "id" not in said:
        return said
    translate = device_in_our_words if about is About.DEVICE else patient_in_our_words
    worded = translate(dict(said))
    return {own: said["id"]} if isinstance(worded, NotUnderstood) else worded.document


def _device_in(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = _object(payload.get("device"))
    flat = {name: payload[name] for name in ("deviceId", "deviceIdentifiers") if name in payload}
    return nested or flat


def _id_of(said: Mapping[str, Any], name: str) -> Any:
    nested = _object(said.get(name)).get("id")
    return said.get(f"{name}Id") if nested is None else nested


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
