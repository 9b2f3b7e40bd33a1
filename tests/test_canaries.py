"""Nothing personal reaches a log line, a metric or an error text: every personal field sings, and nobody hears it."""

import asyncio
import json
import signal
from datetime import timedelta
from pathlib import Path
from socket import socket
from typing import Any
from urllib.request import urlopen

import asyncpg
import httpx
import pytest

from tests.build import NOON, envelope
from tests.canaries import CANARY, NUMBER, ZIP, heard
from tests.conftest import Broker, MakeTopics, Produce
from tests.service import environment, readings

NAMES = {"firstName": f"A {CANARY}", "lastName": CANARY, "birthDate": "1950-01-01", "email": f"{CANARY}@example.org"}
MS = int(NOON.timestamp() * 1000)

DEVICES: list[Any] = [
    {"deviceId": 1, "patientId": 7, "note": f"lent to {CANARY}", "deviceIdentifiers": [{"type": "serial", "value": f"{CANARY}-1"}]},
    {"deviceId": 2, "deviceIdentifiers": [{"value": f"{CANARY}-2"}], "currentStatus": "decommissioned"},
    {"deviceId": 3, "deviceIdentifiers": [{"value": f"{CANARY}-1"}], "note": CANARY},  # claimed twice
    {"deviceId": 4, "currentStatus": 5, "note": CANARY},
    {"deviceId": f"{CANARY}", "note": CANARY},
    {"deviceId": NUMBER, "deviceIdentifiers": f"{CANARY}"},
    {"deviceId": 5, "deviceIdentifiers": [{"type": CANARY, "value": CANARY}]},
    {"deviceId": 6, "effectiveAt": f"2026-{CANARY}"},
    {CANARY: CANARY},
]  # fmt: skip
PATIENTS: list[Any] = [
    {"patientId": 7, "zipCode": ZIP, "externalIdentifier": f"mrn-{CANARY}", **NAMES},
    {"patientId": 8, "zipCode": f"{CANARY} {ZIP}", **NAMES},
    {"patientId": 9, "zipCode": NUMBER, "country": CANARY},
    {"patientId": 10, "zipCode": [ZIP], "country": 5},
    {"patientId": f"{CANARY}"},
    {"patientId": 11, "externalIdentifier": {CANARY: CANARY}},
]


def raw() -> list[bytes | None]:
    """A record of every fate, the canary in each field that could tell of a person."""
    measured = [
        {"deviceId": 1},
        {"deviceId": 1},  # a duplicate
        {"deviceId": 1, "heartRate": 61},  # a conflicting one
        {"deviceIdentifier": f"{CANARY}-1", "patient": {"id": 7, **NAMES}},
        {"deviceId": 2, "note": CANARY},
        {"deviceIdentifier": f"{CANARY}-nobody's"},
        {"deviceIdentifier": f"{CANARY}-1", "deviceId": 2},
        {"deviceId": 1, "heartRate": CANARY},
        {"deviceId": 1, "heartRate": NUMBER},
        {"deviceId": 1, "readingTimestamp": CANARY},
        {"deviceId": CANARY},
        {"deviceId": 1, "heartRate": 66},  # the database refuses it
        {"patientId": 7, "manual": CANARY, CANARY: CANARY},
    ]
    values: list[bytes | None] = [
        envelope(**({"taken": NOON + timedelta(seconds=n // 3)} | said)) for n, said in enumerate(measured)
    ]
    values += [
        json.dumps({"type": f"reading.{CANARY}", "payload": {CANARY: ZIP}}).encode(),
        json.dumps({"type": "reading.sleepMatActivity", "payload": {"deviceId": 1, "bedTime": [CANARY]}}).encode(),
        f"{CANARY} {ZIP}".encode(),
        f'{{"{CANARY}": "{ZIP}'.encode(),
        f'{{"type": "{CANARY}\\ud800"}}'.encode(),
        CANARY.encode() + b"\xff",
        None,
    ]
    return values


@pytest.mark.parametrize("form", ["text", "json"])
async def test_no_personal_value_reaches_a_log_line_or_a_metric(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce, free_port: int, form: str
) -> None:
    """At the most talkative level, through every fate, with a row that the database refuses and a late correction."""
    names = await make_topics(raw=1, devices=1, patients=1)
    topics = dict(zip(("READINGS_RAW_TOPIC", "READINGS_DEVICES_TOPIC", "READINGS_PATIENTS_TOPIC"), names, strict=True))
    settings = {"HTTP_PORT": free_port, "LOG_LEVEL": "debug", "LOG_FORMAT": form, "STOP_LINE_WINDOW": 0}
    env = environment(migrated, broker, topics, **settings)
    connection = await asyncpg.connect(migrated)
    try:
        await connection.execute("ALTER TABLE readings ADD CONSTRAINT not_66 CHECK (heart_rate_bpm <> 66)")
        for topic, states in zip(names[1:], (DEVICES, PATIENTS), strict=True):
            await produce(topic, [(CANARY.encode(), json.dumps(state).encode(), MS) for state in states])
        values = raw()
        await produce(names[0], [(CANARY.encode(), value, MS) for value in values])
        async with readings("consume", env=env) as consumer:
            async with asyncio.timeout(60):
                while await connection.fetchval(TAKEN, f"kafka:{names[0]}") != len(values):
                    await asyncio.sleep(0.1)
            late = {"deviceId": 1, "patientId": 8, "note": CANARY, "effectiveAt": "2026-07-01T12:00:00Z"}
            await produce(names[1], [(b"1", json.dumps(late).encode(), MS)])
            async with asyncio.timeout(30):
                while not await connection.fetchval("SELECT count(*) FROM readings WHERE patient_id = 8"):
                    await asyncio.sleep(0.1)
            with await asyncio.to_thread(urlopen, f"http://127.0.0.1:{free_port}/metrics", timeout=10) as answer:
                metrics = answer.read().decode()
            consumer.send(signal.SIGTERM)
            code, out, err = await consumer.ended()
        reasons = {row[0] for row in await connection.fetch("SELECT DISTINCT reason::text FROM rejections")}
        details = [row[0] or "" for row in await connection.fetch("SELECT detail FROM rejections")]
    finally:
        await connection.close()
    assert code == 0, err
    assert reasons >= {
        "malformed", "unknown_reading_type", "invalid", "unknown_device", "device_mismatch", "device_decommissioned",
        "duplicate", "conflicting_duplicate", "unstorable",
    }  # fmt: skip
    assert err.count("\n") > 10, "at this level it talks"
    assert heard(err) + heard(out) + heard(metrics) + heard("\n".join(details)) == []


TAKEN = "SELECT sum(next_offset) FROM source_positions JOIN sources USING (source_id) WHERE source = $1"


async def test_no_personal_value_reaches_what_loading_a_file_prints(migrated: str, tmp_path: Path) -> None:
    """Broken lines, broken files and files that are none, their errors and their examples."""
    files = {
        "devices.ndjson": "".join(json.dumps(state) + "\n" for state in DEVICES) + f'{{"{CANARY}": "{ZIP}\n',
        "patients.json": json.dumps(PATIENTS),
        "patients.csv": f"patientId,zipCode,{CANARY}\n7,{ZIP},{CANARY}\n{CANARY},{ZIP},x\n8,{ZIP}\n",
        "broken.json": f'[{{"patientId": 7, "zipCode": "{ZIP}"}}, {CANARY}',
        "text.csv": f"{CANARY} {ZIP}\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    env = {"READINGS_DATABASE_URL": migrated, "READINGS_LOG_LEVEL": "debug", "PATH": "/usr/bin:/bin"}
    async with readings("registry", "load", *(str(tmp_path / name) for name in files), env=env) as process:
        code, out, err = await process.ended()
    assert code == 1, (out, err)
    assert "rejected" in out
    ignored_columns = [line for line in heard(out) + heard(err) if "ignored" in line and ZIP not in line]
    assert [line for line in heard(out) + heard(err) if line not in ignored_columns] == []


async def test_no_personal_value_reaches_what_verify_says_differs(
    migrated: str, broker: Broker, make_topics: MakeTopics, produce: Produce
) -> None:
    """Somebody has been at the tables: the difference is told, and what was measured is not."""
    names = await make_topics(raw=1, devices=1, patients=1)
    topics = dict(zip(("READINGS_RAW_TOPIC", "READINGS_DEVICES_TOPIC", "READINGS_PATIENTS_TOPIC"), names, strict=True))
    env = environment(migrated, broker, topics)
    await produce(names[1], [(b"1", json.dumps(state).encode(), MS) for state in DEVICES[:3]])
    await produce(names[2], [(b"1", json.dumps(state).encode(), MS) for state in PATIENTS])
    await produce(names[0], [(b"1", value, MS) for value in raw()])
    async with readings("consume", "--until-caught-up", env=env) as consumer:
        code, _, err = await consumer.ended()
    assert code == 0, err
    connection = await asyncpg.connect(migrated)
    try:
        await connection.execute(
            f"UPDATE readings SET identifiers_named = ARRAY['{CANARY}-9'], patient_time_zone = '{CANARY}'"
            " WHERE identifiers_named IS NOT NULL"
        )
        await connection.execute("UPDATE rejections SET detail = 'x', customer_id = 5")
        await connection.execute("UPDATE device_identifiers SET device_id = 424242")
    finally:
        await connection.close()
    async with readings("verify", env=env) as process:
        code, out, err = await process.ended()
    assert code == 1, (out, err)
    assert heard(out) + heard(err) == []


@pytest.mark.thorough
async def test_no_personal_value_reaches_a_log_line_a_metric_or_a_problem_of_what_is_asked_over_http(
    migrated: str, broker: Broker, make_topics: MakeTopics, free_port: int
) -> None:
    """Every field, path and header sings, what is refused most of all; at the most talkative level."""
    names = await make_topics(raw=1, devices=1, patients=1)
    topics = dict(zip(("READINGS_RAW_TOPIC", "READINGS_DEVICES_TOPIC", "READINGS_PATIENTS_TOPIC"), names, strict=True))
    with socket() as taken:
        taken.bind(("127.0.0.1", 0))
        probes = taken.getsockname()[1]
    env = environment(migrated, broker, topics, LOG_LEVEL="debug", API_PORT=free_port, HTTP_PORT=probes,
                      WEBHOOK_SECRET=CANARY, API_RECEIVE_TIMEOUT_S=1)  # fmt: skip
    async with readings("keys", "create", "--customer", "1", env=env) as making:
        _, key, _ = await making.ended()
    sent: list[tuple[str, str, Any]] = [
        ("GET", f"device/validate/{CANARY}", None),
        ("GET", f"device/{CANARY}", None),
        ("GET", f"device/{NUMBER}", None),
        ("GET", f"{CANARY}", None),
        ("GET", f"patient/identifier/{CANARY}", None),
        ("GET", f"devices?deviceIdentifier={CANARY}&status={CANARY}&page={CANARY}", None),
        ("GET", f"weight-reading?externalIdentifier={CANARY}&startTimestamp={CANARY}", None),
        ("PATCH", "device/1", {"status": CANARY, "note": CANARY, CANARY: CANARY}),
        ("PATCH", "device/1", {"status": [CANARY]}),
        ("PATCH", "device/associate-patient", {"deviceIdentifier": CANARY, "patientExternalIdentifier": CANARY}),
        ("POST", "device/replace", {"deviceIdentifier": CANARY, "replacementDeviceId": CANARY, "status": CANARY}),
        ("POST", "weight-reading", {"deviceIdentifier": CANARY, "weight": CANARY, "readingTimestamp": CANARY}),
        ("POST", "weight-reading", {"deviceId": 1, "weight": NUMBER, "readingTimestamp": "2026-07-01T12:00:00Z", **NAMES}),
    ]  # fmt: skip
    events = [
        {"type": CANARY, "id": CANARY, "payload": NAMES},
        {"type": f"reading.{CANARY}", "payload": {CANARY: CANARY}},
        {
            "type": "patient.updated",
            "timestamp": CANARY,
            "payload": {"id": CANARY, "address": {"zipCode": ZIP}, **NAMES},
        },
        {"type": "device.associationCreated", "payload": {"device": {"id": CANARY}, "patient": {"id": NUMBER}}},
        [CANARY],
    ]
    async with readings("serve", env=env) as service:
        base = f"http://127.0.0.1:{free_port}"
        async with httpx.AsyncClient(base_url=base, headers={"Impilo-API-Key": key.strip()}, timeout=30) as client:
            async with asyncio.timeout(30):
                while True:
                    try:
                        if (await client.get("/api/v3/devices")).status_code == 200:
                            break
                    except httpx.TransportError:
                        pass
                    await asyncio.sleep(0.1)
            answers = [await client.request(method, f"/api/v3/{path}", json=body) for method, path, body in sent]
            answers += [
                await client.post("/webhooks", json=event, headers={"Impilo-Webhook-Secret": secret})
                for event in events
                for secret in (CANARY, f"{CANARY}?")
            ]
            answers.append(await client.get("/api/v3/devices", headers={"Impilo-API-Key": CANARY}))
            answers.append(await client.patch("/api/v3/device/1", content=f'{{"{CANARY}": "{ZIP}', headers={"Content-Type": "application/json"}))  # fmt: skip
            answers.append(await client.patch("/api/v3/device/1", content=CANARY, headers={"Content-Type": CANARY}))
            metrics = (await client.get(f"http://127.0.0.1:{probes}/metrics")).text
        service.send(signal.SIGTERM)
        code, out, err = await service.ended()
    assert (code, out) == (0, ""), err
    assert {answer.status_code for answer in answers} >= {200, 400, 401, 404, 415, 422}
    assert heard("\n".join(answer.text for answer in answers)) == []
    assert 'device_readings_webhook_events_total{fate="unknown",type="other"}' in metrics
    assert err.count("\n") > 5
    assert heard(err) + heard(metrics) == []
