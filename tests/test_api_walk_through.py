"""The walk-through of the device guide over real HTTP: the commands as processes, a real broker, a real database."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest

from tests.conftest import Broker, MakeTopics, Produce
from tests.service import Process, environment, readings

DEVICE = {
    "deviceId": 599,
    "customerId": 1,
    "currentStatus": "availableAtSite",
    "siteId": 3,
    "platformSite": False,
    "deviceIdentifiers": [{"type": "serial", "value": "ABC123"}, {"type": "imei", "value": "356938035643809"}],
    "effectiveAt": "2020-01-01T00:00:00Z",
}
PATIENT = {
    "patientId": 7,
    "customerId": 1,
    "externalIdentifier": "mrn-7",
    "zipCode": "19137",
    "effectiveAt": "2020-01-01T00:00:00Z",
}


class World:
    """`serve` and `consume`, started as an operator would, and a clinic's client."""

    def __init__(self, env: dict[str, str], url: str, client: httpx.AsyncClient, serve: Process) -> None:
        self.env, self.url, self.client, self.serve = env, url, client, serve

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = await self.client.request(method, f"/api/v3/{path}", json=body)
        return answer.status_code, answer.json()

    async def rows(self, statement: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.url)
        try:
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    async def becomes(self, statement: str, wanted: Any) -> None:
        async with asyncio.timeout(30):
            while (await self.rows(statement))[0][0] != wanted:
                await asyncio.sleep(0.05)

    async def stored(self, kind: str, total: int) -> list[dict[str, Any]]:
        """The kind's readings of the device, as soon as there are so many."""
        async with asyncio.timeout(30):
            while (page := (await self.ask("GET", f"{kind}-reading?deviceId=599"))[1])["total"] != total:
                await asyncio.sleep(0.05)
        return page["content"]


@pytest.fixture
async def world(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce, free_port: int
) -> AsyncIterator[World]:
    raw, devices, patients = await make_topics(raw=2, devices=1, patients=1)
    topics = {"READINGS_RAW_TOPIC": raw, "READINGS_DEVICES_TOPIC": devices, "READINGS_PATIENTS_TOPIC": patients}
    env = environment(migrated, broker, topics, API_PORT=free_port, LOG_LEVEL="debug", BATCH_AGE_MS=20)
    await produce(devices, [(b"599", json.dumps(DEVICE).encode(), None)])
    await produce(patients, [(b"7", json.dumps(PATIENT).encode(), None)])
    async with AsyncExitStack() as stack:
        async with readings("keys", "create", "--customer", "1", "--name", "the clinic", env=env) as making:
            code, key, err = await making.ended()
        assert code == 0, err
        serve = await stack.enter_async_context(readings("serve", env=env))
        await stack.enter_async_context(readings("consume", env=env))
        client = await stack.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{free_port}", headers={"Impilo-API-Key": key.strip()}, timeout=30
            )
        )
        made = World(env, migrated, client, serve)
        async with asyncio.timeout(30):
            while True:
                try:
                    if (await made.ask("GET", "device/599"))[0] == 200 and (await made.ask("GET", "patient/7"))[
                        0
                    ] == 200:
                        break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)
        yield made


def taken(**says: Any) -> dict[str, Any]:
    return {
        "readingTimestamp": datetime.now(UTC).isoformat(),
        "deviceId": 599,
        "systolic": 120,
        "diastolic": 80,
        **says,
    }


async def test_the_walk_through_of_the_device_guide(world: World) -> None:
    """Look up, associate, a reading is stored with both offsets; decommission, the next is refused; back, stored again."""
    status, device = await world.ask("GET", "device/validate/ABC123")
    assert (status, device["valid"], device["device"]["id"]) == (200, True, 599)
    assert (await world.ask("GET", "device/599"))[1]["currentStatus"] == "availableAtSite"
    assert (await world.ask("GET", "patient/identifier/mrn-7"))[1]["id"] == 7

    both = {"deviceId": 599, "patientId": 7}
    status, device = await world.ask("PATCH", "device/associate-patient", both)
    assert (status, device["currentStatus"], device["currentPatient"]) == (200, "withPatient", {"id": 7})
    status, problem = await world.ask("PATCH", "device/associate-patient", both)
    assert (status, problem["code"]) == (409, "not_available_at_site")

    status, told = await world.ask("POST", "blood-pressure-reading", taken(deviceTimeZoneOffset=-14400, id=1))
    assert status == 202, told
    place = told.pop("place")
    (stored,) = await world.stored("blood-pressure", 1)
    assert stored == told, "what was foretold is what was stored"
    assert (stored["deviceTimeZoneOffset"], stored["patientTimeZone"]) == (-14400, "America/New_York")
    assert stored["patientTimeZoneOffset"] in (-14400, -18000)
    assert (stored["device"], stored["patient"], stored["systolic"]) == ({"id": 599}, {"id": 7}, 120)
    assert await world.ask("GET", "blood-pressure-reading/1") == (200, stored)
    source = await world.rows(
        "SELECT source, source_partition, source_offset FROM readings JOIN sources USING (source_id)"
    )
    assert source == [(f"kafka:{place['topic']}", place["partition"], place["offset"])]

    override = {"status": "decommissioned", "note": "the cuff leaks"}
    status, device = await world.ask("PATCH", "device/599", override)
    assert (status, device["currentStatus"], device["note"]) == (200, "decommissioned", "the cuff leaks")
    assert await world.ask("GET", "device/599") == (200, device)

    status, problem = await world.ask("POST", "blood-pressure-reading", taken(id=2))
    assert (status, problem["code"], problem["reason"]) == (409, "reading_refused", "device_decommissioned")
    await world.becomes("SELECT count(*) FROM rejections WHERE reason = 'device_decommissioned'", 1)
    refused = await world.rows("SELECT source_partition, source_offset, device_id, customer_id FROM rejections")
    assert refused == [(problem["place"]["partition"], problem["place"]["offset"], 599, 1)]
    assert (await world.ask("GET", "blood-pressure-reading/2"))[0] == 404

    status, device = await world.ask("PATCH", "device/599", {"status": "withPatient"})
    assert (device["currentStatus"], device["note"]) == ("withPatient", "the cuff leaks")
    assert (await world.ask("POST", "blood-pressure-reading", taken(id=3)))[0] == 202
    assert [one["id"] for one in await world.stored("blood-pressure", 2)] == [3, 1]

    async with readings("verify", env=world.env) as verify:
        code, out, err = await verify.ended()
    assert code == 0, out + err
    async with readings("explain", "api", "0", "1", env=world.env) as explain:
        code, out, err = await explain.ended()
    assert code == 0, err
    assert "device 599" in out


@pytest.mark.thorough
async def test_told_to_stop_it_answers_what_is_in_hand_and_takes_nothing_more(world: World) -> None:
    """SIGTERM: exit 0, within the time, and every reading that was answered by 202 is in the log."""
    await world.ask("PATCH", "device/associate-patient", {"deviceId": 599, "patientId": 7})

    async def give(n: int) -> int | None:
        try:
            return (await world.ask("POST", "blood-pressure-reading", taken(id=n)))[0]
        except httpx.TransportError:
            return None

    asked = [asyncio.create_task(give(n)) for n in range(1, 200)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    world.serve.send(signal.SIGTERM)
    answers = await asyncio.gather(*asked)
    code, out, err = await world.serve.ended()
    assert (code, out) == (0, ""), err
    assert re.search("serving.*host", err)
    given = [n for n, status in enumerate(answers, 1) if status == 202]
    assert given
    assert set(answers) <= {202, None}
    await world.becomes(f"SELECT count(*) >= {len(given)} FROM readings", True)
    assert set(given) <= {row[0] for row in await world.rows("SELECT reading_id FROM readings")}
