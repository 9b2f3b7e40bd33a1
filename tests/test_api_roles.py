"""Who may ask: keys, their limits, and two customers whose ids look alike, one trying everything on the other's."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from ingest.http.rate import RateLimit
from schemas.kinds import Kind
from sinks.api_keys import create_key
from sinks.database import Database
from tests.api import Api, keys_of, serving, settings_of
from tests.conftest import Broker, MakeTopics
from tests.service import readings
from tests.test_api_devices import device
from tests.test_api_readings import PATH, SENT, taken

THEIRS = [
    # Customer 2 has ids that begin alike, identifiers that differ by a blank or a case, the same external identifiers.
    device(11, customer=2, deviceIdentifiers=[{"type": "serial", "value": "SN-1 "}]),
    device(12, customer=2, currentStatus="withPatient", patientId=77, deviceIdentifiers=[{"type": "serial", "value": "sn-1"}]),
    {"patientId": 77, "customerId": 2, "externalIdentifier": "mrn-7"},
]  # fmt: skip
OURS = [
    device(1),
    device(2, currentStatus="withPatient", patientId=7),
    {"patientId": 7, "customerId": 1, "externalIdentifier": "mrn-7"},
]


@pytest.fixture
async def api(migrated: str, broker: Broker, make_topics: MakeTopics) -> AsyncIterator[Api]:
    names = await make_topics(raw=1, devices=1, patients=1)
    async with serving(await settings_of(migrated, broker, names), consuming=True) as served:
        yield served


def everything(own: int, patient: int, kinds: Sequence[Kind]) -> list[tuple[str, str, Any]]:
    """Every operation on devices 11 and 12 and patient 77 of customer 2, with `own` device and patient beside them."""
    asked: list[tuple[str, str, Any]] = [
        ("GET", "device/11", None),
        ("GET", "patient/77", None),
        ("GET", "devices?patientId=77", None),
        ("PATCH", "device/11", {"status": "decommissioned"}),
        ("PATCH", "device/11", {"note": "mine"}),
        ("POST", "device/replace", {"deviceId": 12, "replacementDeviceId": own, "status": "available"}),
        ("POST", "device/replace", {"deviceId": own + 1, "replacementDeviceId": 11, "status": "available"}),
    ]
    for named in ({"deviceId": 11}, {"deviceIdentifier": "SN-1 "}):
        asked += [
            ("PATCH", "device/associate-patient", {**named, "patientId": patient}),
            ("PATCH", "device/associate-patient", {**named, "patientId": 77}),
            ("PATCH", "device/disable-readings", named),
            ("PATCH", "device/enable-readings", named),
        ]
    asked += [
        ("PATCH", "device/associate-patient", {"deviceId": own, "patientId": 77}),
        ("PATCH", "device/disassociate-patient", {"deviceId": 12, "patientId": 77}),
        ("PATCH", "device/disassociate-patient", {"deviceId": 12, "patientExternalIdentifier": "mrn-7"}),
    ]
    for kind in kinds:
        for named in (
            {"deviceId": 11},
            {"deviceIdentifier": "sn-1"},
            {"patientId": 77},
            {"deviceId": own, "patientId": 77},
        ):
            asked.append(("POST", PATH[kind], {"readingTimestamp": taken(), **named, **SENT[kind]}))
        asked += [
            ("GET", f"{PATH[kind]}/5", None),
            ("GET", f"{PATH[kind]}?deviceId=11", None),
            ("GET", f"{PATH[kind]}?deviceIdentifier=sn-1", None),
            ("GET", f"{PATH[kind]}?patientId=77", None),
        ]
    return asked


@pytest.mark.thorough
@pytest.mark.parametrize(
    "kinds", [[Kind.WEIGHT], pytest.param([*Kind], marks=pytest.mark.thorough)], ids=["one", "all"]
)
async def test_another_customer_s_is_as_if_it_were_not_there(api: Api, kinds: Sequence[Kind]) -> None:
    """404 and never 403, on every operation; nothing of it changes, nothing reaches the log, nothing is listed."""
    await api.tell(*OURS, *THEIRS, ago=timedelta(days=1))
    for kind, measures in SENT.items():
        body = {"readingTimestamp": taken(), "deviceId": 12, "id": 5, **measures}
        assert (await api.ask("POST", PATH[kind], body, customer=2))[0] == 202
    await api.becomes("SELECT count(*) FROM readings", len(SENT))
    before = await api.fetch("SELECT * FROM devices ORDER BY 1")

    for method, path, body in everything(1, 7, kinds):
        status, code = await api.problem(method, path, body)
        assert (status, code) in {(404, "device_unknown"), (404, "patient_unknown"), (404, "reading_unknown")}, (
            path,
            body,
        )
    assert await api.ask("GET", "device/validate/SN-1%20") == (200, {"valid": False, "device": None})
    assert (await api.ask("GET", "patient/identifier/mrn-7"))[1]["id"] == 7
    status, page = await api.ask("GET", "devices?size=250")
    assert [one["id"] for one in page["content"]] == [1, 2]
    for kind in Kind:
        assert (await api.ask("GET", PATH[kind]))[1]["total"] == 0

    assert await api.fetch("SELECT * FROM devices ORDER BY 1") == before
    assert await api.fetch("SELECT FROM sources WHERE source = 'api'") == []
    given = {"readingTimestamp": taken(1), "deviceId": 12, **SENT[Kind.WEIGHT]}
    assert (await api.ask("POST", PATH[Kind.WEIGHT], given, customer=2))[1]["place"]["offset"] == len(SENT)


async def test_a_device_that_changes_hands_takes_no_reading_of_the_former_customer_s_with_it(api: Api) -> None:
    """Readings are the customer's who had the device when they were received; the device is its present one's."""
    await api.tell(device(1), ago=timedelta(days=1))
    body = {"readingTimestamp": taken(), "deviceId": 1, "id": 5, **SENT[Kind.WEIGHT]}
    assert (await api.ask("POST", "weight-reading", body))[0] == 202
    await api.becomes("SELECT count(*) FROM readings", 1)
    await api.tell({"deviceId": 1, "customerId": 2}, ago=timedelta(0))
    assert await api.problem("GET", "device/1") == (404, "device_unknown")
    assert (await api.ask("GET", "device/1", customer=2))[0] == 200
    assert await api.problem("GET", "weight-reading/5", customer=2) == (404, "reading_unknown")
    assert (await api.ask("GET", "weight-reading/5"))[0] == 200


async def test_a_key_that_is_missing_unknown_expired_or_revoked_is_told_apart_and_sees_nothing(api: Api) -> None:
    await api.tell(*OURS)

    async def answered(key: str | None) -> tuple[int, str]:
        headers = {} if key is None else {"Impilo-API-Key": key}
        answer = await api.anonymous.get("/api/v3/device/1", headers=headers)
        return answer.status_code, answer.json().get("code")

    async with api.database.transaction() as connection:
        _, expired = await create_key(connection, customer_id=1, name="old", valid_for=timedelta(seconds=-1))
        made, revoked = await create_key(connection, customer_id=1, name="lost", valid_for=timedelta(days=1))
    assert await answered(None) == (401, "key_missing")
    assert await answered("") == (401, "key_missing")
    assert await answered("readings_guessed") == (401, "key_unknown")
    assert await answered(api.keys[1][:-1]) == (401, "key_unknown")
    assert await answered(expired) == (401, "key_expired")
    assert await answered(revoked) == (200, None)
    await api.fetch("UPDATE api_keys SET revoked_at = now() WHERE key_id = $1 RETURNING 1", made.key_id)
    assert await answered(revoked) == (401, "key_unknown")
    assert await answered(api.keys[1]) == (200, None)


async def test_a_key_that_asks_too_often_is_told_when_to_ask_again_and_no_other_waits(
    migrated: str, broker: Broker, make_topics: MakeTopics
) -> None:
    names = await make_topics(raw=1, devices=1, patients=1)
    async with serving(await settings_of(migrated, broker, names, api_requests_per_minute=2)) as api:
        answers = await asyncio.gather(*(api.ask("GET", "devices") for _ in range(10)))
        assert [status for status, _ in answers].count(200) in (2, 3)
        assert {told["code"] for status, told in answers if status != 200} == {"too_many_requests"}
        answer = await api.anonymous.get("/api/v3/devices", headers={"Impilo-API-Key": api.keys[1]})
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 30
        assert (await api.ask("GET", "devices", customer=2))[0] == 200


def test_a_limit_is_a_minute_s_worth_at_once_and_then_as_fast_as_it_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("ingest.http.rate.time.monotonic", lambda: now)
    limit = RateLimit(60)
    assert [limit.wait_s(1) for _ in range(61)] == [0] * 60 + [pytest.approx(1)]
    assert limit.wait_s(2) == 0, "another key"
    now += 0.4
    assert limit.wait_s(1) == pytest.approx(0.6)
    now += 0.7
    assert limit.wait_s(1) == 0
    assert limit.wait_s(1) > 0
    now += 3_600
    assert [limit.wait_s(1) for _ in range(61)].count(0) == 60, "no more than a minute's worth is saved up"


@pytest.mark.thorough  # six commands, each a process
async def test_keys_are_made_listed_and_revoked_and_stand_nowhere_but_with_whoever_made_them(migrated: str) -> None:
    env = {"READINGS_DATABASE_URL": migrated, "PATH": "/usr/bin:/bin"}

    async def run(*arguments: str) -> tuple[int, str, str]:
        async with readings("keys", *arguments, env=env) as process:
            return await process.ended()

    first, nobody_s = await asyncio.gather(
        run("create", "--customer", "1", "--name", "the portal", "--json"), run("create", "--customer", "0")
    )
    assert (first[0], nobody_s[0]) == (0, 2), first
    made = json.loads(first[1])
    code, key, err = await run("create", "--customer", "2", "--days", "7")
    assert (code, key.count("\n")) == (0, 1)
    assert key.startswith("readings_"), "alone on stdout, for $(...) and for > file"
    whose, where = err.splitlines()
    assert whose.startswith("key 2 of customer 2, holds until 20")
    assert where == "shown now and never again; it goes into the header Impilo-API-Key:"
    assert key.strip() not in err
    assert made.keys() >= {"key_id", "customer_id", "name", "key", "expires_at", "state"}
    code, out, _ = await run("list")
    assert (code, out.splitlines()[0].startswith("1  customer 1  until ")) == (0, True)
    assert out.splitlines()[0].endswith("the portal")
    assert made["key"] not in out
    assert key.strip() not in out
    revoked, (code, out, err) = await asyncio.gather(run("revoke", "1"), run("revoke", "9"))
    assert revoked[0] == 0
    assert (code, out, err) == (1, "", "readings: there is no key 9; see: readings keys list\n")
    states = {one["key_id"]: one["state"] for one in json.loads((await run("list", "--json"))[1])}
    assert states == {1: "revoked", 2: "holds"}


async def test_a_key_s_hash_is_all_that_the_database_holds(migrated: str, broker: Broker) -> None:
    settings = await settings_of(migrated, broker, ("r", "d", "p"))
    keys = await keys_of(settings, 1)
    database = Database(migrated, timeout_s=30)
    rows = await database.fetch("SELECT k::text AS told, octet_length(key_sha256) AS length FROM api_keys k")
    await database.close()
    assert [row["length"] for row in rows] == [32]
    assert keys[1] not in rows[0]["told"]
