"""Readings over HTTP: of every kind given and read, foretold by the law, and told as the platform tells them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from schemas.kinds import Kind
from tests.api import Api, serving, settings_of
from tests.conftest import Broker, MakeTopics
from tests.test_api_devices import PATIENTS, device

SENT: dict[Kind, dict[str, Any]] = {
    Kind.HEART_RATE: {"heartRate": 61},
    Kind.HEART_RATE_VARIABILITY: {
        "heartRateVariability": 41.5,
        "heartRate": 61,
        "heartRateVariabilityDuration": 300_000,
        "heartRateVariabilityAlgorithmType": "sdnn",
    },
    Kind.BLOOD_PRESSURE: {"systolic": 120, "diastolic": 80, "heartRate": 61},
    Kind.BLOOD_GLUCOSE: {"glucose": 99, "glucoseUnit": "mgdl", "beforeMeal": True, "afterMeal": False},
    Kind.BLOOD_OXYGEN: {"bloodOxygen": 97, "bloodOxygenUnit": "spO2", "heartRate": 61},
    Kind.WEIGHT: {"weight": 182.4, "weightUnit": "lbs"},
    Kind.TEMPERATURE: {"temperature": 98.6, "temperatureUnit": "fahrenheit"},
    Kind.PEAK_FLOW: {"peakExpiratoryFlow": 432.0, "forcedExpiratoryVolume": 2.9},
    Kind.SLEEP_MAT_ACTIVITY: {
        "bedTime": ["2026-06-30/20:01"],
        "getUpTime": ["2026-07-01/06:00"],
        "duration": "09:59",
        "bodyTurnOver": 12,
        "heartRate": 55,
        "respiration": 14,
    },
    Kind.SLEEP_MAT_DURATION: {
        "deepSleep": 90,
        "lightSleep": 240,
        "rem": 80,
        "duration": "06:50",
        "bodyTurnOver": 12,
        "heartRate": 55,
        "respiration": 14,
    },
}
PATH = {
    Kind.HEART_RATE: "heart-rate-reading",
    Kind.HEART_RATE_VARIABILITY: "heart-rate-variability-reading",
    Kind.BLOOD_PRESSURE: "blood-pressure-reading",
    Kind.BLOOD_GLUCOSE: "blood-glucose-reading",
    Kind.BLOOD_OXYGEN: "blood-oxygen-reading",
    Kind.WEIGHT: "weight-reading",
    Kind.TEMPERATURE: "temperature-reading",
    Kind.PEAK_FLOW: "peak-flow-reading",
    Kind.SLEEP_MAT_ACTIVITY: "sleep-mat-activity-reading",
    Kind.SLEEP_MAT_DURATION: "sleep-mat-duration-reading",
}
HOUR_AGO = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def taken(minutes: int = 0) -> str:
    return (HOUR_AGO + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


@pytest.fixture
async def api(migrated: str, broker: Broker, make_topics: MakeTopics) -> AsyncIterator[Api]:
    """With a consumer beside it."""
    names = await make_topics(raw=1, devices=1, patients=1)
    async with serving(await settings_of(migrated, broker, names), consuming=True) as served:
        yield served


async def test_what_was_sent_of_every_kind_is_answered_stored_and_read_again(api: Api) -> None:
    await api.tell(device(1, currentStatus="withPatient", patientId=7), *PATIENTS, ago=timedelta(days=1))
    told = {}
    for kind, measures in SENT.items():
        body = {"readingTimestamp": taken(), "deviceId": 1, "deviceTimeZoneOffset": -14400, "id": 5, **measures}
        status, told[kind] = await api.ask("POST", PATH[kind], body)
        assert status == 202, told[kind]
        assert told[kind].pop("place")["offset"] == len(told) - 1
    await api.becomes("SELECT count(*) FROM readings", len(SENT))
    for kind, measures in SENT.items():
        status, read = await api.ask("GET", f"{PATH[kind]}/5")
        assert (status, read) == (200, told[kind])
        offset = read.pop("patientTimeZoneOffset")
        assert offset in (-14400, -18000)
        assert read == {
            "id": 5,
            "readingTimestamp": taken(),
            "deviceTimeZoneOffset": -14400,
            "patientTimeZone": "America/New_York",
            "manual": False,
            "device": {"id": 1},
            "patient": {"id": 7},
            **measures,
        }
        status, page = await api.ask("GET", PATH[kind])
        assert (status, page["total"], page["content"]) == (200, 1, [told[kind]])


async def test_readings_are_listed_latest_first_by_whom_and_when(api: Api) -> None:
    others = (device(2), device(3, customer=2))
    await api.tell(device(1, currentStatus="withPatient", patientId=7), *others, *PATIENTS, ago=timedelta(days=1))
    for n in range(20):
        body = {"readingTimestamp": taken(n), "deviceId": 1 + n % 2, "heartRate": 60 + n}
        assert (await api.ask("POST", "heart-rate-reading", body))[0] == 202
    alone = {"readingTimestamp": taken(30), "patientId": 8, "heartRate": 99, "manual": True}
    assert (await api.ask("POST", "heart-rate-reading", alone))[0] == 202
    theirs = {"readingTimestamp": taken(5), "deviceId": 3, "heartRate": 1}
    assert (await api.ask("POST", "heart-rate-reading", theirs, customer=2))[0] == 202
    await api.becomes("SELECT count(*) FROM readings", 22)

    async def listed(query: str) -> tuple[list[int], int]:
        status, page = await api.ask("GET", f"heart-rate-reading{query}")
        assert status == 200, page
        return [one["heartRate"] for one in page["content"]], page["total"]

    assert await listed("?size=250") == ([99, *range(79, 59, -1)], 21)
    assert await listed("") == ([99, *range(79, 65, -1)], 21)
    assert await listed("?page=2") == (list(range(65, 59, -1)), 21)
    assert await listed("?page=3") == ([], 21)
    assert await listed("?deviceId=2&size=3") == ([79, 77, 75], 10)
    assert await listed("?deviceIdentifier=SN-2&size=1") == ([79], 10)
    assert await listed("?patientId=8") == ([99], 1)
    assert await listed("?externalIdentifier=mrn-7&size=1") == ([78], 10)
    assert await listed(f"?startTimestamp={taken(3)}&endTimestamp={taken(5)}") == ([64, 63], 2)
    east = (HOUR_AGO + timedelta(minutes=3)).astimezone(timezone(timedelta(hours=5))).isoformat()
    assert east.endswith("+05:00"), "not written %2B, it arrives as a blank"
    assert await listed(f"?startTimestamp={east}&endTimestamp={taken(5)}") == ([64, 63], 2)
    assert await api.problem("GET", "heart-rate-reading?deviceId=3") == (404, "device_unknown")
    assert await api.problem("GET", "heart-rate-reading?startTimestamp=yesterday") == (422, "invalid")


async def test_what_will_be_refused_is_answered_with_the_reason_and_kept_under_it(api: Api) -> None:
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        ({"currentStatus": "decommissioned"}, {}, "device_decommissioned"),
        ({"disabledReadings": True}, {}, "readings_disabled"),
        ({}, {"readingTimestamp": "2000-01-01T00:00:00Z"}, "timestamp_implausible"),
        ({}, {"deviceIdentifier": "SN-9"}, "device_mismatch"),
    ]
    devices = [device(n, **says) for n, (says, *_) in enumerate(cases) if n]
    await api.tell(device(9), device(10, **cases[0][0]), *devices, *PATIENTS, ago=timedelta(days=1))
    foretold = []
    for n, (_, body, reason) in enumerate(cases):
        given = {"readingTimestamp": taken(), "deviceId": n or 10, "heartRate": 61, **body}
        status, problem = await api.ask("POST", "heart-rate-reading", given)
        assert (status, problem["code"], problem["reason"]) == (409, "reading_refused", reason)
        foretold.append((reason, problem["place"]["partition"], problem["place"]["offset"]))
    await api.becomes("SELECT count(*) FROM rejections", len(cases))
    rows = await api.fetch("SELECT reason::text, source_partition, source_offset FROM rejections ORDER BY 3")
    assert [tuple(row) for row in rows] == foretold


async def test_of_a_reading_unknown_fields_are_ignored_as_in_any_message(api: Api) -> None:
    await api.tell(device(1), *PATIENTS, ago=timedelta(days=1))
    given = {"readingTimestamp": taken(), "heartRate": 61, "deviceId": 1, "firmware": "1.2"}
    assert (await api.ask("POST", "heart-rate-reading", given))[0] == 202


async def test_what_rule_9_will_set_aside_is_answered_so_and_not_by_202(api: Api) -> None:
    """By a device and without one; a reading whose receipt is unknown gives way, and that is foretold as well."""
    await api.tell(device(1), device(2), *PATIENTS, ago=timedelta(days=1))
    foretold = []
    for named in ({"deviceId": 1}, {"patientId": 7}):
        given = {"readingTimestamp": taken(), "heartRate": 61, **named}
        assert (await api.ask("POST", "heart-rate-reading", given))[0] == 202
        await api.becomes("SELECT count(*) FROM readings", len(foretold) // 2 + 1)
        for says, reason in (({"id": 9}, "duplicate"), ({"heartRate": 62}, "conflicting_duplicate")):
            status, problem = await api.ask("POST", "heart-rate-reading", given | says)
            assert (status, problem["code"], problem.get("reason")) == (409, "reading_refused", reason)
            foretold.append((reason, problem["place"]["offset"]))
    await api.becomes("SELECT count(*) FROM rejections", len(foretold))
    rows = await api.fetch("SELECT reason::text, source_offset FROM rejections ORDER BY 2")
    assert [tuple(row) for row in rows] == foretold

    await api.fetch("UPDATE readings SET received_at = NULL WHERE device_id = 1 RETURNING 1")
    status, told = await api.ask(
        "POST", "heart-rate-reading", {"readingTimestamp": taken(), "heartRate": 62, "deviceId": 1}
    )
    assert (status, told["heartRate"]) == (202, 62)
    await api.becomes("SELECT heart_rate_bpm FROM readings WHERE device_id = 1", 62)
    other_kind = {"readingTimestamp": taken(), "weight": 180.5, "deviceId": 1}
    assert (await api.ask("POST", "weight-reading", other_kind))[0] == 202


async def test_what_a_former_customer_s_device_measured_is_not_told_the_next(api: Api) -> None:
    """Not even whether it measured at that moment."""
    await api.tell(device(1), ago=timedelta(days=1))
    given = {"readingTimestamp": taken(), "heartRate": 61, "deviceId": 1}
    assert (await api.ask("POST", "heart-rate-reading", given))[0] == 202
    await api.becomes("SELECT count(*) FROM readings", 1)
    await api.tell({"deviceId": 1, "customerId": 2}, ago=timedelta(0))
    assert (await api.ask("POST", "heart-rate-reading", given, customer=2))[0] == 202


async def test_what_is_no_reading_of_the_customer_s_never_reaches_the_log(api: Api) -> None:
    await api.tell(device(1), *PATIENTS, ago=timedelta(days=1))
    bodies: list[tuple[dict[str, Any], tuple[int, str]]] = [
        ({"deviceId": 9}, (404, "device_unknown")),
        ({"deviceIdentifier": "SN-9"}, (404, "device_unknown")),
        ({"patientId": 9}, (404, "patient_unknown")),
        ({"deviceId": 1, "patientId": 9}, (404, "patient_unknown")),
        ({}, (422, "invalid")),
        ({"deviceId": 1, "heartRate": "61"}, (422, "invalid")),
        ({"deviceId": 1, "readingTimestamp": "2026-07-01 12:00"}, (422, "invalid")),
        ({"deviceId": 1, "device": {"id": 2}}, (422, "invalid")),
    ]
    for body, problem in bodies:
        given = {"readingTimestamp": taken(), "heartRate": 61, **body}
        assert await api.problem("POST", "heart-rate-reading", given) == problem
    good = {"readingTimestamp": taken(), "heartRate": 61, "deviceId": 1}
    assert (await api.ask("POST", "heart-rate-reading", good))[1]["place"]["offset"] == 0
