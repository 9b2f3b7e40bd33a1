"""The platform's webhooks: what they tell arrives, however often, however late, and in whatever order it is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random
from typing import Any

import pytest

from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.http.webhook_events import happened_at, messages
from tests.api import Api, serving, settings_of
from tests.build import NOON, device, registry, rfc3339
from tests.canaries import CANARY
from tests.conftest import Broker, MakeTopics, fresh_database

NAMES = {"firstName": CANARY, "lastName": CANARY, "dateOfBirth": "1950-01-01", "email": f"{CANARY}@example.org"}


def event(event_type: str, payload: Any, **more: Any) -> dict[str, Any]:
    return {"id": 57638473, "type": event_type, "payload": payload, **more}


def at(hours: int) -> str:
    return rfc3339(NOON + timedelta(hours=hours))


# --- what an event tells --------------------------------------------------------------------------------------------


def told(event_type: str, payload: Any) -> list[dict[str, Any]]:
    return [message.document for message in messages(event(event_type, payload))]


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({"id": 7, "externalIdentifier": "mrn-7", "address": {"zipCode": "19137", "country": "USA", "city": "P"}, **NAMES},
         {"patientId": 7, "externalIdentifier": "mrn-7", "zipCode": "19137", "country": "USA"}),
        ({"id": 7, **NAMES}, {"patientId": 7}),
        ({"id": 7, "externalIdentifier": None}, {"patientId": 7, "externalIdentifier": None}),
        ({"id": 7, "address": None}, {"patientId": 7, "zipCode": None, "country": None}),
        ({"id": 7, "address": {"zipCode": None}}, {"patientId": 7, "zipCode": None}),
        ({"patient": {"id": 7, "address": {"zipCode": "85001"}}}, {"patientId": 7, "zipCode": "85001"}),
        ({"patientId": 7, "zipCode": "85001", **NAMES}, {"patientId": 7, "zipCode": "85001"}),
        ({"id": 7, "address": CANARY}, {"patientId": 7}),
        ({}, {}), (None, {}), (CANARY, {}), ([NAMES], {}),
    ],
)  # fmt: skip
def test_an_event_of_a_patient_says_only_what_it_says_and_no_name(payload: Any, says: dict[str, Any]) -> None:
    assert told("patient.created", payload) == [says]
    assert told("patient.updated", payload) == [says]


DEVICE = {"id": 599, "deviceIdentifiers": [{"type": "serial", "value": "ABC123"}], "currentStatus": "withPatient"}
OURS = {"deviceId": 599, "deviceIdentifiers": DEVICE["deviceIdentifiers"]}


@pytest.mark.parametrize(
    ("payload", "created", "removed"),
    [
        ({"device": DEVICE, "patient": {"id": 7, **NAMES}}, {**OURS, "patientId": 7}, {**OURS, "patientId": None}),
        ({"device": {"id": 599}, "patient": {"id": 7}}, {"deviceId": 599, "patientId": 7}, {"deviceId": 599, "patientId": None}),
        ({"deviceId": 599, "patientId": 7}, {"deviceId": 599, "patientId": 7}, {"deviceId": 599, "patientId": None}),
        ({"device": DEVICE}, {}, {**OURS, "patientId": None}),
        ({"patient": {"id": 7}}, {"patientId": 7}, {"patientId": None}),
        (CANARY, {}, {"patientId": None}),
    ],
)  # fmt: skip
def test_an_association_says_whose_the_device_is_and_nothing_of_its_status(
    payload: Any, created: dict[str, Any], removed: dict[str, Any]
) -> None:
    """No webhook tells of a change of status: what a nested device says of it may be long past."""
    assert told("device.associationCreated", payload) == [created]
    assert told("device.associationRemoved", payload) == [removed]


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({"patient": {"id": 7}, "devices": [DEVICE, {"id": 600}]}, [{**OURS, "patientId": 7}, {"deviceId": 600, "patientId": 7}]),
        ({"site": {"id": 3}, "devices": [DEVICE]}, [{**OURS, "siteId": 3, "platformSite": False}]),
        ({"patientId": 7, "orderItems": [{"devices": [{"id": 600}]}, {"count": 1}]}, [{"deviceId": 600, "patientId": 7}]),
        ({"patient": {"id": 7}}, []),
        ({"devices": [DEVICE]}, []),
        ({"patient": {"id": 7}, "devices": [CANARY]}, [{"patientId": 7}]),
        (CANARY, []),
    ],
)  # fmt: skip
def test_an_order_assigns_its_devices_to_its_patient_or_its_site(order: Any, says: list[dict[str, Any]]) -> None:
    assert told("order.statusFull", order) == says


@pytest.mark.parametrize(
    ("told_of", "moment"),
    [
        (event("patient.updated", {}, timestamp=at(0)), NOON),
        (event("patient.updated", {"timestamp": at(0)}), NOON),
        (event("patient.updated", {"eventTimestamp": at(0), "createdAt": at(-9)}), NOON),
        (event("patient.updated", {"updatedAt": at(0), "createdAt": at(-9)}), NOON),
        (event("patient.updated", {"createdAt": at(-9)}), None),
        (event("patient.created", {"createTimestamp": at(0)}), NOON),
        (event("device.associationCreated", {"createdAt": at(0)}), NOON),
        (event("device.associationRemoved", {"createdAt": at(-9)}), None),
        (event("patient.created", {"timestamp": f"2026 {CANARY}", "createdAt": at(0)}), NOON),
        (event("patient.created", {"timestamp": 5}), None),
        (event("patient.created", CANARY), None),
    ],
)
def test_an_event_s_own_time_is_when_it_happened_and_not_when_its_subject_was_made(
    told_of: dict[str, Any], moment: datetime | None
) -> None:
    assert happened_at(told_of) == moment


# --- on their way ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def api(migrated: str, broker: Broker, make_topics: MakeTopics) -> AsyncIterator[Api]:
    names = await make_topics(raw=1, devices=1, patients=1)
    settings = await settings_of(migrated, broker, names, webhook_customer_id=1)
    async with serving(settings, consuming=True) as served:
        yield served


async def test_a_wrong_secret_a_wrong_body_and_a_service_without_webhooks_are_refused(api: Api, broker: Broker) -> None:
    told_of = event("patient.created", {"id": 7})
    for secret in ("", "wrong", "a secret of the platform", "A secret of the platform's"):
        status, problem = await api.webhook(told_of, secret=secret)
        assert (status, problem["code"]) == (401, "secret_wrong")
    bare = await api.anonymous.post("/webhooks", json=told_of)
    assert bare.json()["code"] == "secret_wrong"
    for body, code in (([1], "body_malformed"), ({"id": 1}, "invalid"), ({"type": 5}, "invalid")):
        status, problem = await api.webhook(body)
        assert (status, problem["code"]) in {(400, code), (422, code)}
    without = api.settings.model_copy(update={"webhook_secret": None, "kafka_group_id": "another"})
    async with serving(without) as off:
        assert (await off.webhook(told_of))[1]["code"] == "webhooks_off"
    assert await api.fetch("SELECT FROM patient_states") == []


async def test_a_customer_that_points_its_webhooks_here_has_a_working_store(api: Api) -> None:
    """Patients, an order, an association and readings, of nothing but events; then the customer's key sees them."""
    events = [
        event("patient.created", {"id": 7, "externalIdentifier": "mrn-7", "address": {"zipCode": "19137"}, **NAMES}, timestamp=at(0)),
        event("order.statusFull", {"id": 5, "status": "shipped", "site": {"id": 3}, "devices": [DEVICE]}, timestamp=at(1)),
        event("device.associationCreated", {"device": DEVICE, "patient": {"id": 7}}, timestamp=at(2)),
    ]  # fmt: skip
    for told_of in events:
        assert await api.webhook(told_of) == (200, {"fate": "state", "records": 1})
    payload = {"id": 42, "readingTimestamp": at(3), "systolic": 120, "diastolic": 80, "deviceTimeZoneOffset": -14400,
               "device": DEVICE, "patient": {"id": 7, **NAMES}}  # fmt: skip
    assert await api.webhook(event("reading.bloodPressure", payload)) == (200, {"fate": "reading", "records": 1})
    await api.becomes("SELECT count(*) FROM readings", 1)
    await api.becomes("SELECT count(*) FROM corrections_pending", 0)
    status, stored = await api.ask("GET", "blood-pressure-reading/42")
    assert (status, stored["patient"], stored["patientTimeZoneOffset"]) == (200, {"id": 7}, -14400)
    status, found = await api.ask("GET", "device/599")
    assert (found["site"], found["currentPatient"], found["currentStatus"]) == ({"id": 3}, {"id": 7}, None)
    assert (await api.ask("GET", "patient/7", customer=2))[0] == 404
    held = await api.fetch("SELECT says::text FROM patient_states UNION ALL SELECT says::text FROM device_states")
    assert CANARY not in "".join(row[0] for row in held)


async def test_other_types_are_acknowledged_and_counted_and_change_nothing(api: Api) -> None:
    for event_type, fate in (
        ("device.lowBattery", "nothing_told"),
        ("order.status", "nothing_told"),
        ("return.statusFull", "nothing_told"),
        (f"{CANARY}.happened", "unknown"),
        ("", "unknown"),
    ):
        assert await api.webhook(event(event_type, {"id": 1, **NAMES})) == (200, {"fate": fate, "records": 0})
    assert await api.webhook(event("reading.ecg", {"deviceId": 1})) == (200, {"fate": "reading", "records": 1})
    await api.becomes("SELECT count(*) FROM rejections WHERE reason = 'unknown_reading_type'", 1)
    assert await api.fetch("SELECT FROM device_states") == await api.fetch("SELECT FROM patient_states") == []


async def test_what_cannot_be_understood_is_set_aside_with_the_event_s_id_and_without_a_name(api: Api) -> None:
    assert (await api.webhook(event("patient.created", {"uuid": 7, **NAMES})))[0] == 200
    assert (await api.webhook(event("device.associationCreated", {"patient": {"id": 7, **NAMES}})))[0] == 200
    assert (await api.webhook(event("patient.updated", {"id": "seven", "address": {"zipCode": 5}})))[0] == 200
    await api.becomes("SELECT count(*) FROM rejections WHERE reason = 'invalid'", 3)
    kept = [json.loads(row[0]) for row in await api.fetch("SELECT payload FROM rejections")]
    assert [one.get("eventId") for one in kept].count(57638473) == 2
    assert CANARY not in json.dumps(kept)


async def test_an_event_without_a_time_counts_from_its_first_receipt_however_often_it_comes(api: Api) -> None:
    told_of = event("device.associationCreated", {"device": {"id": 599}, "patient": {"id": 7}})
    began = datetime.now(UTC)
    await api.webhook(told_of)
    first = datetime.now(UTC)
    await asyncio.sleep(0.05)
    await api.webhook(dict(reversed(told_of.items())))
    await api.webhook({**told_of, "id": 2})
    await api.becomes("SELECT count(*) FROM device_states", 3)
    moments = [row[0] for row in await api.fetch("SELECT DISTINCT effective_at FROM device_states ORDER BY 1")]
    assert len(moments) == 2, "the third is another event"
    assert began - timedelta(milliseconds=1) <= moments[0] <= first < moments[1]
    changes = "SELECT count(*) FROM device_changes"
    assert (await api.fetch(changes))[0][0] == 2


async def test_an_order_assigns_a_device_once_however_many_events_of_its_way_tell_of_it(api: Api) -> None:
    """Shipped, delivered, closed: should the device have gone to somebody else meanwhile, it stays there."""
    order = {"id": 5, "patient": {"id": 7}, "devices": [DEVICE]}
    assert (await api.webhook(event("order.statusFull", {**order, "status": "shipped"})))[0] == 200
    handed_on = event("device.associationCreated", {"device": {"id": 599}, "patient": {"id": 8}})
    await asyncio.sleep(0.05)
    assert (await api.webhook(handed_on))[0] == 200
    await asyncio.sleep(0.05)
    for status in ("delivered", "closed"):
        assert (await api.webhook({**event("order.statusFull", {**order, "status": status}), "id": status}))[0] == 200
    await api.becomes("SELECT count(*) FROM device_states", 4)
    assert (await api.fetch("SELECT count(*) FROM device_changes"))[0][0] == 2
    assert (await api.fetch("SELECT patient_id FROM devices"))[0][0] == 8


# --- twice, out of order, late ---------------------------------------------------------------------------------------


def story() -> list[dict[str, Any]]:
    """Two devices go from hand to hand while they measure: the order of telling is the order of happening."""
    told_of = [
        event("patient.created", {"id": 7, "externalIdentifier": "mrn-7", "address": {"zipCode": "19137"}}, timestamp=at(0)),
        event("patient.created", {"id": 8, "address": {"zipCode": "85001"}}, timestamp=at(0)),
        event("order.statusFull", {"site": {"id": 3}, "devices": [{"id": 1, "deviceIdentifiers": [{"type": "serial", "value": "SN-1"}]}, {"id": 2}]}, timestamp=at(1)),
        event("device.associationCreated", {"device": {"id": 1}, "patient": {"id": 7}}, timestamp=at(2)),
        event("device.associationCreated", {"device": {"id": 2}, "patient": {"id": 8}}, timestamp=at(2)),
        event("device.associationRemoved", {"device": {"id": 1}, "patient": {"id": 7}}, timestamp=at(6)),
        event("device.associationCreated", {"device": {"id": 1}, "patient": {"id": 8}}, timestamp=at(8)),
        event("patient.updated", {"id": 7, "address": {"zipCode": "96813"}}, timestamp=at(4)),
        event("device.lowBattery", {"device": {"id": 1}}),
    ]  # fmt: skip
    for hour in range(12):
        for named in ({"deviceId": 1}, {"deviceIdentifier": "SN-1", "manual": True}, {"device": {"id": 2}}):
            manual = timedelta(minutes=5 if "manual" in named else 0)
            taken = rfc3339(NOON + timedelta(hours=hour, minutes=30) + manual)
            told_of.append(event("reading.heartRate", {"readingTimestamp": taken, "heartRate": 60 + hour, **named}))
    return [{**one, "id": number} for number, one in enumerate(told_of)]


READINGS = 36
STORE = {
    "readings": "SELECT subject, reading_type::text, reading_timestamp, device_id, patient_id, customer_id, heart_rate_bpm,"
    " manual, patient_time_zone, patient_time_zone_offset FROM readings ORDER BY 1, 2, 3",
    "devices": "SELECT * FROM devices ORDER BY 1",
    "patients": "SELECT * FROM patients ORDER BY 1",
    "device changes": "SELECT device_id, says, effective_at FROM device_changes ORDER BY 1, 3, 2::text",
    "patient changes": "SELECT patient_id, says, effective_at FROM patient_changes ORDER BY 1, 3, 2::text",
    "refused": "SELECT DISTINCT reason::text FROM rejections WHERE reason <> 'duplicate'",
}


async def delivered(api: Api, deliveries: list[dict[str, Any]]) -> dict[str, Any]:
    """What stands in the store after these deliveries."""
    for told_of in deliveries:
        status, answer = await api.webhook(told_of)
        assert status == 200, answer
    given = sum(one["type"].startswith("reading.") for one in deliveries)
    await api.becomes("SELECT (SELECT count(*) FROM readings) + (SELECT count(*) FROM rejections)", given)
    assigned = {"patient.created": 1, "patient.updated": 1, "device.associationCreated": 1, "device.associationRemoved": 1, "order.statusFull": 2}  # fmt: skip
    states = sum(assigned.get(one["type"], 0) for one in deliveries)
    await api.becomes("SELECT (SELECT count(*) FROM device_states) + (SELECT count(*) FROM patient_states)", states)
    await api.becomes("SELECT count(*) FROM corrections_pending", 0)
    return {name: [tuple(row) for row in await api.fetch(statement)] for name, statement in STORE.items()}


STORY = story()
DELIVERIES = {
    "twice and out of order": Random(9).sample(STORY * 2, k=2 * len(STORY)),
    "twice": STORY + STORY,
    # All readings before anything is known of their devices: corrections release and attribute them.
    "late": STORY[9:] + STORY[:9][::-1] + STORY[:4],
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "how",
    [how if how.endswith("order") else pytest.param(how, marks=pytest.mark.thorough) for how in DELIVERIES],
)
async def test_twice_out_of_order_and_late_is_the_same_store_as_once_and_in_order(
    postgres_server: EmbeddedPostgres, migrated_template: str, broker: Broker, make_topics: MakeTopics, how: str
) -> None:

    @asynccontextmanager
    async def fresh() -> AsyncIterator[Api]:
        names = await make_topics(raw=1, devices=1, patients=1)
        async with fresh_database(postgres_server, migrated_template) as url:
            settings = await settings_of(url, broker, names, webhook_customer_id=1)
            async with serving(settings, consuming=True) as served:
                yield served

    async with fresh() as api:
        once = await delivered(api, STORY)
    assert len(once["readings"]) == READINGS
    assert once["refused"] == []
    assert {row[4] for row in once["readings"]} == {None, 7, 8}

    async with fresh() as api:
        assert await delivered(api, DELIVERIES[how]) == once


def test_whatever_their_order_associations_leave_the_device_with_the_last() -> None:
    """The law's own: by their times, not by their arrival."""
    messages_of = [one for one in STORY if one["type"].startswith("device.association")]
    for order in permutations(messages_of):
        states = [
            device(
                document.pop("deviceId"),
                told=NOON + timedelta(days=1),
                offset=n,
                effectiveAt=one["timestamp"],
                **document,
            )
            for n, one in enumerate(order)
            for document in [dict(messages(one)[0].document)]
        ]
        known = registry(*states).device(1, at=NOON + timedelta(days=30))
        assert known is not None
        assert known.patient_id == 8
