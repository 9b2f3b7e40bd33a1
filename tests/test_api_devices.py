"""Devices over HTTP: looked up, changed, and every precondition's failure told apart."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.api import Api, serving, settings_of
from tests.conftest import Broker, MakeTopics

PATIENTS = [
    {"patientId": 7, "customerId": 1, "zipCode": "19137", "country": "USA", "externalIdentifier": "mrn-7"},
    {"patientId": 8, "customerId": 1, "zipCode": None, "externalIdentifier": "mrn-8"},
    {"patientId": 70, "customerId": 2, "zipCode": "85001", "externalIdentifier": "mrn-7"},
]


PAIR = {"deviceId": 1, "patientId": 7}
ONE = {"deviceId": 1}
REPLACE = {"deviceId": 1, "replacementDeviceId": 2, "status": "decommissioned"}
HELD = {"currentStatus": "withPatient", "patientId": 7}


def device(device_id: int, *, customer: int = 1, **says: Any) -> dict[str, Any]:
    """A device in stock at a site of its customer, unless said otherwise."""
    return {
        "deviceId": device_id,
        "customerId": customer,
        "currentStatus": "availableAtSite",
        "siteId": 3,
        "platformSite": False,
        "deviceIdentifiers": [{"type": "serial", "value": f"SN-{device_id}"}],
        **says,
    }


@pytest.fixture
async def api(migrated: str, broker: Broker, make_topics: MakeTopics) -> AsyncIterator[Api]:
    names = await make_topics(raw=1, devices=1, patients=1)
    async with serving(await settings_of(migrated, broker, names)) as served:
        yield served


async def test_a_device_is_found_by_its_id_and_by_any_identifier(api: Api) -> None:
    await api.tell(device(1, note="new battery"), device(2, currentStatus="withPatient", patientId=7), *PATIENTS)
    found = {
        "id": 1,
        "deviceIdentifiers": [{"type": "serial", "value": "SN-1"}],
        "currentStatus": "availableAtSite",
        "disabledReadings": False,
        "currentPatient": None,
        "site": {"id": 3},
        "platformSite": False,
        "note": "new battery",
    }
    assert await api.ask("GET", "device/1") == (200, found)
    assert await api.ask("GET", "device/validate/SN-1") == (200, {"valid": True, "device": found})
    assert await api.ask("GET", "device/validate/SN-9") == (200, {"valid": False, "device": None})
    assert (await api.ask("GET", "device/2"))[1]["currentPatient"] == {"id": 7}
    assert await api.problem("GET", "device/9") == (404, "device_unknown")


async def test_devices_are_listed_by_status_patient_and_identifier_a_page_at_a_time(api: Api) -> None:
    await api.tell(
        *(device(n) for n in range(1, 21)),
        *(device(n, currentStatus="withPatient", patientId=7) for n in (21, 22)),
        device(23, customer=2),
        *PATIENTS,
    )

    async def listed(query: str) -> tuple[list[int], int, int, int, bool, bool]:
        status, page = await api.ask("GET", f"devices{query}")
        assert status == 200, page
        return [d["id"] for d in page["content"]], *(page[name] for name in ("page", "size", "total", "first", "last"))

    assert await listed("") == (list(range(1, 16)), 1, 15, 22, True, False)
    assert await listed("?page=2") == (list(range(16, 23)), 2, 15, 22, False, True)
    assert await listed("?page=9&size=10") == ([], 9, 10, 22, False, True)
    assert await listed("?status=withPatient") == ([21, 22], 1, 15, 2, True, True)
    assert await listed("?patientId=7&size=1") == ([21], 1, 1, 2, True, False)
    assert await listed("?patientExternalIdentifier=mrn-7") == ([21, 22], 1, 15, 2, True, True)
    assert await listed("?deviceIdentifier=SN-5") == ([5], 1, 15, 1, True, True)
    assert await listed("?deviceIdentifier=SN-5&status=withPatient") == ([], 1, 15, 0, True, True)
    assert await listed("?deviceIdentifier=SN-23") == ([], 1, 15, 0, True, True)
    assert await api.problem("GET", "devices?patientId=70") == (404, "patient_unknown")
    assert await api.problem("GET", "devices?size=251") == (422, "invalid")
    assert await api.problem("GET", "devices?page=0") == (422, "invalid")


MISSPELT = {
    "weight-reading?patientID=7": "deviceId, deviceIdentifier, endTimestamp, externalIdentifier, page, patientId, size,",
    "devices?status=withPatient&foo=1": "deviceIdentifier, page, patientExternalIdentifier, patientId, size, status",
    "device/1?at=now": "none here",
}


async def test_a_misspelt_parameter_does_not_ask_for_everybody(api: Api) -> None:
    """It is told which there are, and not what was sent."""
    await api.tell(device(1))
    for path, there_are in MISSPELT.items():
        status, problem = await api.ask("GET", path)
        assert (status, problem["code"]) == (422, "invalid")
        assert there_are in problem["detail"]
        assert "patientID" not in problem["detail"]
        assert "foo" not in problem["detail"]


async def test_a_patient_is_found_by_id_and_by_external_identifier_with_the_zone_and_without_a_name(api: Api) -> None:
    await api.tell(*PATIENTS)
    found = {
        "id": 7,
        "externalIdentifier": "mrn-7",
        "address": {"zipCode": "19137", "country": "USA"},
        "timeZone": "America/New_York",
    }
    assert await api.ask("GET", "patient/7") == (200, found)
    assert await api.ask("GET", "patient/identifier/mrn-7") == (200, found)
    assert (await api.ask("GET", "patient/identifier/mrn-7", customer=2))[1]["id"] == 70
    assert await api.problem("GET", "patient/9") == (404, "patient_unknown")
    assert await api.problem("GET", "patient/identifier/mrn-9") == (404, "patient_unknown")


async def test_an_external_identifier_of_any_length_is_kept(api: Api) -> None:
    """It is nobody's to bound: longer than an index of the usual kind takes, it must not stop the registry."""
    await api.tell({"patientId": 7, "customerId": 1, "externalIdentifier": "".join(map(str, range(20_000)))})
    assert (await api.ask("GET", "patient/7"))[1]["externalIdentifier"].endswith("19999")


async def test_identifiers_may_hold_what_paths_are_made_of(api: Api) -> None:
    await api.tell(
        device(1, deviceIdentifiers=[{"type": "serial", "value": "A/1 #?%"}]),
        {"patientId": 7, "customerId": 1, "externalIdentifier": "ward 3/bed/2"},
    )
    status, told = await api.ask("GET", f"device/validate/{quote('A/1 #?%', safe='')}")
    assert (status, told["valid"]) == (200, True)
    assert (await api.ask("GET", "patient/identifier/ward%203%2Fbed%2F2"))[1]["id"] == 7


NOT_A_FIELD: list[tuple[str, str, dict[str, Any], str]] = [
    ("PATCH", "associate-patient", {**PAIR, "patientID": 8}, "deviceId, deviceIdentifier, patientExternalIdentifier, patientId"),
    ("PATCH", "disable-readings", {"deviceId": 1, "reason": "?"}, "deviceId, deviceIdentifier"),
    ("PATCH", "1", {"note": "x", "disabledReadings": True}, "note, status"),
    ("POST", "replace", {**REPLACE, "notes": "x"}, "deviceId, deviceIdentifier, note, replacementDeviceId, replacementDeviceIdentifier, status"),
]  # fmt: skip


async def test_a_field_of_no_known_name_is_not_left_out_in_silence(api: Api) -> None:
    """It is told which there are, and not what was sent; nothing is done."""
    await api.tell(device(1), device(2), *PATIENTS)
    for method, operation, body, there_are in NOT_A_FIELD:
        status, problem = await api.ask(method, f"device/{operation}", body)
        assert (status, problem["code"]) == (422, "invalid")
        assert problem["detail"] == f"a field of the body has no known name; there are: {there_are}"
    assert await api.fetch("SELECT FROM sources WHERE source = 'api'") == []


async def test_a_change_is_seen_at_once_and_stands_in_the_ledger_as_a_state_of_the_source_api(api: Api) -> None:
    await api.tell(device(1), *PATIENTS)
    status, told = await api.ask("PATCH", "device/associate-patient", {"deviceId": 1, "patientId": 7})
    assert (status, told["currentStatus"], told["currentPatient"]) == (200, "withPatient", {"id": 7})
    assert await api.ask("GET", "device/1") == (200, told)
    both = {"deviceIdentifier": "SN-1", "patientExternalIdentifier": "mrn-7"}
    status, told = await api.ask("PATCH", "device/disassociate-patient", both)
    assert (status, told["currentStatus"], told["currentPatient"]) == (200, "availableAtSite", None)
    assert (await api.ask("PATCH", "device/disable-readings", {"deviceId": 1}))[1]["disabledReadings"] is True
    assert (await api.ask("PATCH", "device/enable-readings", {"deviceIdentifier": "SN-1"}))[1][
        "disabledReadings"
    ] is False
    status, told = await api.ask("PATCH", "device/1", {"status": "decommissioned", "note": "fell into the sea"})
    assert (status, told["currentStatus"], told["note"]) == (200, "decommissioned", "fell into the sea")
    assert (await api.ask("PATCH", "device/1", {"note": None}))[1] == told | {"note": None}

    rows = await api.fetch(
        "SELECT source_offset, says::text, effective_at = blocking_effective_at AND effective_at <= recorded_at"
        " AND recorded_at < effective_at + interval '1 ms' FROM device_states JOIN sources USING (source_id)"
        " WHERE source = 'api' ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [
        (0, '{"patientId": 7, "currentStatus": "withPatient"}', True),
        (1, '{"patientId": null, "currentStatus": "availableAtSite"}', True),
        (2, '{"disabledReadings": true}', True),
        (3, '{"disabledReadings": false}', True),
        (4, '{"note": "fell into the sea", "currentStatus": "decommissioned"}', True),
        (5, '{"note": null}', True),
    ]
    position = await api.fetch(
        "SELECT next_offset - first_offset FROM source_positions JOIN sources USING (source_id) WHERE source = 'api'"
    )
    assert [row[0] for row in position] == [6]
    assert (await api.fetch("SELECT current_status, note FROM devices WHERE device_id = 1"))[0][:] == (
        "decommissioned",
        None,
    )


CASES: list[tuple[dict[str, Any], str, dict[str, Any], tuple[int, str]]] = [
    ({}, "associate-patient", {"deviceId": 9, "patientId": 7}, (404, "device_unknown")),
    ({}, "associate-patient", {"deviceIdentifier": "SN-9", "patientId": 7}, (404, "device_unknown")),
    ({"customerId": 2}, "associate-patient", PAIR, (404, "device_unknown")),
    ({"customerId": None}, "associate-patient", PAIR, (404, "device_unknown")),
    ({}, "associate-patient", {"deviceId": 1, "patientId": 9}, (404, "patient_unknown")),
    ({}, "associate-patient", {"deviceId": 1, "patientId": 70}, (404, "patient_unknown")),
    ({}, "associate-patient", {"deviceId": 1, "patientExternalIdentifier": "mrn-9"}, (404, "patient_unknown")),
    ({}, "associate-patient", {**PAIR, "deviceIdentifier": "SN-2"}, (409, "device_ambiguous")),
    ({}, "associate-patient", {**PAIR, "patientExternalIdentifier": "mrn-8"}, (409, "patient_ambiguous")),
    ({"platformSite": True}, "associate-patient", PAIR, (409, "not_at_customer_site")),
    ({"siteId": None, "platformSite": None}, "associate-patient", PAIR, (409, "not_at_customer_site")),
    ({"currentStatus": "available"}, "associate-patient", PAIR, (409, "not_available_at_site")),
    ({"currentStatus": "decommissioned"}, "associate-patient", PAIR, (409, "not_available_at_site")),
    (HELD, "associate-patient", {"deviceId": 1, "patientId": 8}, (409, "not_available_at_site")),
    ({}, "associate-patient", {"deviceId": 1}, (422, "invalid")),
    ({}, "associate-patient", {"patientId": 7}, (422, "invalid")),
    ({}, "associate-patient", {"deviceId": "1", "patientId": 7}, (422, "invalid")),
    (HELD | {"platformSite": True}, "disassociate-patient", PAIR, (409, "not_at_customer_site")),
    (HELD, "disassociate-patient", {"deviceId": 1, "patientId": 8}, (409, "with_another_patient")),
    ({}, "disassociate-patient", PAIR, (409, "with_another_patient")),
    (HELD | {"currentStatus": "decommissioned"}, "disassociate-patient", PAIR, (409, "not_with_patient")),
    ({"disabledReadings": True}, "disable-readings", ONE, (409, "readings_disabled_already")),
    ({}, "enable-readings", ONE, (409, "readings_not_disabled")),
    ({"currentStatus": "decommissioned"}, "enable-readings", ONE, (409, "readings_not_disabled")),
    ({"customerId": 2}, "disable-readings", ONE, (404, "device_unknown")),
    ({}, "1", {}, (422, "invalid")),
    ({}, "1", {"status": None}, (422, "invalid")),
    ({}, "1", {"status": ""}, (422, "invalid")),
    ({}, "1", {"status": "Decommisioned"}, (422, "invalid")),
    (HELD, "replace", REPLACE | {"status": "decomissioned"}, (422, "invalid")),
    ({"customerId": 2}, "1", {"status": "available"}, (404, "device_unknown")),
    ({}, "replace", REPLACE, (409, "not_with_patient")),
    (HELD, "replace", REPLACE | {"replacementDeviceId": 1}, (409, "replaced_by_itself")),
    (HELD, "replace", REPLACE | {"replacementDeviceId": 9}, (404, "device_unknown")),
    (HELD, "replace", REPLACE | {"replacementDeviceId": 4}, (404, "device_unknown")),
    (HELD, "replace", REPLACE | {"replacementDeviceId": 3}, (409, "not_available_at_site")),
    (HELD, "replace", REPLACE | {"replacementDeviceId": 5}, (409, "not_at_customer_site")),
    (HELD, "replace", {"deviceId": 1, "replacementDeviceId": 2}, (422, "invalid")),
    (HELD, "replace", {"deviceId": 1, "status": "defective"}, (422, "invalid")),
]


def of_case(number: int, body: dict[str, Any]) -> dict[str, Any]:
    """The body, its devices being those of a case by that number."""
    return {
        name: value + 10 * number
        if name in ("deviceId", "replacementDeviceId") and isinstance(value, int)
        else f"SN-{10 * number + int(value[-1])}"
        if name == "deviceIdentifier"
        else value
        for name, value in body.items()
    }


async def test_each_precondition_s_failure_is_told_apart_and_changes_nothing(api: Api) -> None:
    """Of each case devices 1 to 5 of its own: what it says of 1, and others that fit or do not."""
    others: list[dict[str, Any]] = [{}, {"currentStatus": "available"}, {"customer": 2}, {"platformSite": True}]
    await api.tell(
        *(device(10 * number + 1, **says) for number, (says, *_) in enumerate(CASES)),
        *(device(10 * number + n, **says) for number in range(len(CASES)) for n, says in enumerate(others, 2)),
        *PATIENTS,
    )
    before = await api.fetch("SELECT * FROM devices ORDER BY 1")
    for number, (says, operation, body, problem) in enumerate(CASES):
        method = "POST" if operation == "replace" else "PATCH"
        path = f"device/{10 * number + 1 if operation == '1' else operation}"
        assert await api.problem(method, path, of_case(number, body)) == problem, (says, operation, body)
    assert await api.fetch("SELECT * FROM devices ORDER BY 1") == before
    assert await api.fetch("SELECT FROM sources WHERE source = 'api'") == []


async def test_what_a_webhook_did_to_an_association_can_be_brought_to_an_end(api: Api) -> None:
    """It says whose a device is and nothing of its status, which is left behind."""
    removed = {"deviceId": 1, "patientId": None}
    await api.tell(device(1, currentStatus="withPatient", patientId=7), device(2), *PATIENTS)
    await api.tell(removed, {"deviceId": 2, "patientId": 7}, ago=timedelta(minutes=1))
    assert await api.problem("PATCH", "device/associate-patient", PAIR) == (409, "not_available_at_site")
    status, told = await api.ask("PATCH", "device/disassociate-patient", PAIR)
    assert (status, told["currentStatus"], told["currentPatient"]) == (200, "availableAtSite", None)
    assert (await api.ask("PATCH", "device/associate-patient", {**PAIR, "patientId": 8}))[0] == 200

    another = {"deviceId": 2, "patientId": 8}
    assert await api.problem("PATCH", "device/associate-patient", another) == (409, "with_another_patient")
    assert await api.problem("PATCH", "device/disassociate-patient", {**PAIR, "deviceId": 2}) == (409, "not_with_patient")  # fmt: skip
    status, told = await api.ask("PATCH", "device/associate-patient", {**PAIR, "deviceId": 2})
    assert (status, told["currentStatus"], told["currentPatient"]) == (200, "withPatient", {"id": 7})
    assert (await api.ask("PATCH", "device/disassociate-patient", {**PAIR, "deviceId": 2}))[0] == 200


async def test_enabling_readings_never_puts_a_decommissioned_device_back_into_use(api: Api) -> None:
    await api.tell(device(1, currentStatus="decommissioned", disabledReadings=True), *PATIENTS)
    status, told = await api.ask("PATCH", "device/enable-readings", {"deviceId": 1})
    assert (status, told["disabledReadings"], told["currentStatus"]) == (200, False, "decommissioned")


async def test_a_replacement_takes_and_gives_at_one_instant(api: Api) -> None:
    await api.tell(device(1, **HELD), device(2), *PATIENTS)
    asked = {
        "deviceIdentifier": "SN-1",
        "replacementDeviceIdentifier": "SN-2",
        "status": "decommissioned",
        "note": "cracked",
    }
    status, told = await api.ask("POST", "device/replace", asked)
    assert status == 200
    out, into = told["device"], told["replacement"]
    assert (out["currentStatus"], out["note"], out["disabledReadings"], out["currentPatient"]) == ("decommissioned", "cracked", True, None)  # fmt: skip
    assert (into["currentStatus"], into["disabledReadings"], into["currentPatient"]) == ("withPatient", False, {"id": 7})  # fmt: skip
    assert (await api.ask("GET", "device/1"), await api.ask("GET", "device/2")) == ((200, out), (200, into))
    instants = await api.fetch(
        "SELECT DISTINCT effective_at, registry_version FROM device_states JOIN sources USING (source_id) WHERE source = 'api'"
    )
    assert len(instants) == 1
    assert await api.problem("POST", "device/replace", asked) == (409, "not_with_patient")


async def test_a_misspelt_status_never_opens_a_decommissioned_device(api: Api) -> None:
    """Not even one that differs in case or by a blank, and that the registry's own topics misspelt before."""
    await api.tell(device(1, currentStatus="decommissioned"), device(2, currentStatus="Decommissioned"))
    for misspelt in ("Decommisioned", "Decommissioned", "DECOMMISSIONED", " decommissioned", "withpatient", "\u200b"):
        status, problem = await api.ask("PATCH", "device/1", {"status": misspelt, "note": "?"})
        assert (status, problem["code"]) == (422, "invalid"), misspelt
        assert "available, availableAtSite, decommissioned, withPatient" in problem["detail"]
        assert "READINGS_API_STATUSES" in problem["detail"]
        assert misspelt.strip() == "decommissioned" or misspelt not in problem["detail"]
    _, told = await api.ask("GET", "device/1")
    assert (told["currentStatus"], told["note"]) == ("decommissioned", None)


async def test_an_override_may_say_what_topics_and_files_told_of_the_customer_s_devices(api: Api) -> None:
    """So that it can be taken back. Neither another customer's word counts, nor one that came over HTTP."""
    await api.tell(device(1, currentStatus="inTransit"), device(2, customer=2, currentStatus="inRepair"))
    assert (await api.ask("PATCH", "device/1", {"status": "decommissioned"}))[0] == 200
    assert await api.problem("PATCH", "device/1", {"status": "inRepair"}) == (422, "invalid")
    assert (await api.ask("PATCH", "device/1", {"status": "inTransit"}))[1]["currentStatus"] == "inTransit"
    assert await api.problem("PATCH", "device/2", {"status": "inTransit"}, customer=2) == (422, "invalid")

    others = {"api_statuses": frozenset({"defective"})}
    async with serving(api.settings.model_copy(update=others)) as another:
        assert (await another.ask("PATCH", "device/1", {"status": "defective"}))[1]["currentStatus"] == "defective"
    assert await api.problem("PATCH", "device/1", {"status": "defective"}) == (422, "invalid"), "here it is not named"


@pytest.mark.thorough
async def test_of_two_hundred_at_once_exactly_one_gets_the_device(api: Api) -> None:
    """Of two processes, each with connections of its own: it is the database that decides."""
    patients = [{"patientId": n, "customerId": 1} for n in range(1_000, 1_200)]
    await api.tell(device(1), *patients)
    async with serving(api.settings) as another:
        answers = await asyncio.gather(
            *(
                served.ask("PATCH", "device/associate-patient", {"deviceId": 1, "patientId": one["patientId"]})
                for one, served in zip(patients, [api, another] * 100, strict=True)
            )
        )
    assert Counter(status for status, _ in answers) == {200: 1, 409: 199}
    assert {told["code"] for status, told in answers if status == 409} == {"not_available_at_site"}
    (winner,) = (told["currentPatient"]["id"] for status, told in answers if status == 200)
    assert (await api.fetch("SELECT patient_id FROM devices WHERE device_id = 1"))[0][0] == winner
    states = "SELECT count(*) FROM device_states JOIN sources USING (source_id) WHERE source = 'api'"
    assert (await api.fetch(states))[0][0] == 1


async def test_many_changes_of_many_devices_at_once_each_have_a_place_of_their_own(api: Api) -> None:
    await api.tell(*(device(n) for n in range(1, 41)), *PATIENTS)
    answers = await asyncio.gather(*(api.ask("PATCH", f"device/{n}", {"note": f"n{n}"}) for n in range(1, 41)))
    assert Counter(status for status, _ in answers) == {200: 40}
    rows = await api.fetch(
        "SELECT count(DISTINCT source_offset), min(source_offset), max(source_offset) FROM device_states JOIN sources USING (source_id) WHERE source = 'api'"
    )
    assert tuple(rows[0]) == (40, 0, 39)
