"""`readings registry load` and `readings registry show`, as an operator types them."""

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from hypothesis import given, settings

from enrich.registry import Registry
from enrich.zones import offset_s, table_zones
from ingest.registry_lookup import patient_as_of
from schemas.envelope import NotUnderstood
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import About
from tests.build import patient
from tests.histories import histories
from tests.service import readings

STATES = [
    {"deviceId": 1, "currentStatus": "withPatient", "patientId": 7, "effectiveAt": "2026-01-01T00:00:00Z",
     "deviceIdentifiers": [{"type": "serial", "value": "A"}, {"value": "B"}]},
    {"deviceId": 1, "currentStatus": "decommissioned", "patientId": None, "effectiveAt": "2026-02-01T00:00:00Z"},
    {"deviceId": 2, "deviceIdentifiers": [{"value": "B"}, {"value": "C"}], "disabledReadings": True, "effectiveAt": "2026-01-02T00:00:00Z"},
    {"patientId": 7, "zipCode": "19137", "customerId": 1, "effectiveAt": "2026-01-01T00:00:00Z"},
    {"patientId": 7, "zipCode": "85001", "effectiveAt": "2026-06-01T00:00:00Z"},
]  # fmt: skip


async def run(url: str, *arguments: str | Path, **more: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of `readings registry …`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("READINGS_")}
    ours = {"READINGS_DATABASE_URL": url, "READINGS_LOG_LEVEL": "error", **more}
    async with readings("registry", *map(str, arguments), env={**inherited, **ours}) as process:
        return await process.ended()


def ndjson(folder: Path, *documents: object, name: str = "states.ndjson") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path


async def fetch(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


# --- load -----------------------------------------------------------------------------------------------------------


async def test_a_file_is_loaded_and_loaded_again(migrated, tmp_path):
    path = ndjson(tmp_path, *STATES)
    assert await run(migrated, "load", path) == (
        0,
        f"{path}: 5 states, 0 rejected, 0 already there\n1 of 1 file: 5 states, 0 rejected, 0 already there\n",
        "",
    )
    assert await run(migrated, "load", path) == (
        0,
        f"{path}: nothing new, all of its 5 records are there already\n1 of 1 file: 0 states, 0 rejected, 5 already there\n",
        "",
    )


async def test_an_unreadable_file_is_named_in_a_line_and_the_others_go_on(migrated, tmp_path):
    (tmp_path / "broken.json").write_text('[{"deviceId": 1}')
    (tmp_path / "binary").write_bytes(bytes(1_000))
    files = [tmp_path / "missing", tmp_path / "broken.json", ndjson(tmp_path, *STATES), tmp_path / "binary", tmp_path]
    code, out, err = await run(migrated, "load", *files)
    assert (code, out.splitlines()[-1]) == (1, "1 of 5 files: 5 states, 0 rejected, 0 already there; 4 unreadable")
    assert err.splitlines() == [
        f"readings: {tmp_path}/missing: No such file or directory",
        f"readings: {tmp_path}/broken.json: a broken JSON array: it breaks in line 1",
        f"readings: {tmp_path}/binary: not UTF-8 text: a spreadsheet, compressed, or in another encoding",
        f"readings: {tmp_path}: Is a directory",
    ]


async def test_what_is_rejected_is_told_by_record_and_rule_and_never_by_value(migrated, tmp_path):
    secret = {"patientId": 7, "zipCode": 99999, "firstName": "Jane"}
    path = ndjson(tmp_path, secret, *({"deviceId": -n} for n in range(6)), STATES[0])
    code, out, err = await run(migrated, "load", path)
    assert code == 0
    rule = "invalid: deviceId: must be a whole number from 1 to 9223372036854775807"
    assert out.splitlines() == [
        f"{path}: 1 state, 7 rejected, 0 already there",
        "  record 0: invalid: zipCode: Input should be a valid string",
        *(f"  record {n}: {rule}" for n in range(1, 5)),
        "  and 2 more in the table rejections",
        "1 of 1 file: 1 state, 7 rejected, 0 already there",
    ]
    assert "99999" not in out + err
    assert "Jane" not in out + err


async def test_columns_that_mean_nothing_are_named(migrated, tmp_path):
    path = tmp_path / "devices.csv"
    path.write_text("deviceId,Status,note\n1,decommissioned,\n")
    _, out, _ = await run(migrated, "load", path)
    assert out.splitlines()[1] == "  columns ignored: 'Status'"


async def test_a_load_for_a_program(migrated, tmp_path):
    path = ndjson(tmp_path, *STATES, {"deviceId": 0}, "junk")
    code, out, _ = await run(migrated, "load", "--json", path, tmp_path / "missing")
    said = json.loads(out)
    assert code == 1
    assert said["files"][0].pop("source").startswith("archive:")
    assert said == {
        "files": [
            {"file": str(path), "records": 7, "states": 5, "rejected": {"invalid": 1, "malformed": 1}, "already_there": 0, "ignored_columns": []},
            {"file": str(tmp_path / "missing"), "error": "No such file or directory"},
        ],
        "states": 5, "rejected": {"invalid": 1, "malformed": 1}, "already_there": 0, "unreadable": 1,
    }  # fmt: skip


@pytest.mark.thorough
async def test_a_killed_load_goes_on_where_it_stood(migrated, tmp_path):
    """Killed for good, at whatever moment, and again: once each."""
    path = ndjson(tmp_path, *({"deviceId": n, "note": "x" * 100} for n in range(1, 20_001)))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("READINGS_")}
    environment |= {"READINGS_DATABASE_URL": migrated, "READINGS_BATCH_RECORDS": "100"}
    async with readings("registry", "load", str(path), env=environment) as process:
        while not (await fetch(migrated, "SELECT count(*) FROM source_positions WHERE next_offset > 500"))[0][0]:
            pass
        process.send(signal.SIGKILL)
        assert (await process.ended())[0] == -signal.SIGKILL
    ((stored,),) = await fetch(migrated, "SELECT next_offset FROM source_positions")
    assert 500 < stored < 20_000
    code, out, _ = await run(migrated, "load", path)
    assert (code, out.splitlines()[-1]) == (
        0,
        f"1 of 1 file: {20_000 - stored} states, 0 rejected, {stored} already there",
    )
    assert await fetch(migrated, "SELECT count(*), count(DISTINCT device_id) FROM device_states") == [(20_000, 20_000)]


# --- show -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def loaded(migrated, tmp_path):
    assert (await run(migrated, "load", ndjson(tmp_path, *STATES)))[0] == 0
    return migrated


async def shown(url: str, *arguments: str) -> dict:
    code, out, err = await run(url, "show", *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


async def test_a_device_is_shown_field_by_field_with_the_state_that_says_it(loaded):
    ((source,),) = await fetch(loaded, "SELECT source FROM sources")
    code, out, _ = await run(loaded, "show", "device", "1", "--at", "2026-01-15T00:00:00Z")
    january = f"from 2026-01-01T00:00:00Z, by {source} 0 0"
    assert (code, out.splitlines()) == (
        0,
        [
            "device 1 as of 2026-01-15T00:00:00Z",
            f"  deviceIdentifiers  serial A, B  {january}",
            f"  currentStatus      withPatient  {january}",
            "  disabledReadings   (not said)",
            f"  patientId          7            {january}",
            "  siteId             (not said)",
            "  platformSite       (not said)",
            "  customerId         (not said)",
            "  note               (not said)",
            "readings received then are taken",
            f"identifier A belongs to device 1, by {source} 0 0",
            f"identifier B belongs to device 1, by {source} 0 0",
            "told by 2 states",
        ],
    )


async def test_a_device_as_of_now_is_what_the_view_says(loaded):
    said = await shown(loaded, "device", "1")
    place = {"source": said["fields"]["patientId"]["source"], "partition": 0, "offset": 1}
    assert {name: field and field["value"] for name, field in said["fields"].items()} == {
        "deviceIdentifiers": [{"type": "serial", "value": "A"}, {"value": "B"}], "currentStatus": "decommissioned",
        "disabledReadings": None, "patientId": None, "siteId": None, "platformSite": None, "customerId": None, "note": None,
    }  # fmt: skip
    assert said["fields"]["siteId"] is None
    assert said["fields"]["patientId"].items() >= {"counts_from": "2026-02-01T00:00:00Z", **place}.items()
    assert said["refuses"] == "device_decommissioned"
    assert await fetch(loaded, "SELECT current_status, patient_id FROM devices WHERE device_id = 1") == [
        ("decommissioned", None)
    ]


async def test_an_identifier_is_shown_with_the_device_that_it_belongs_to(loaded):
    said = await shown(loaded, "device", "2")
    assert [(one["identifier"], one["device_id"]) for one in said["identifiers"]] == [("B", 1), ("C", 2)]
    assert said["refuses"] == "readings_disabled"


async def test_before_its_first_state_a_device_is_known_and_takes_readings(loaded):
    said = await shown(loaded, "device", "2", "--at", "2020-01-01T00:00:00Z")
    assert (said["refuses"], set(said["fields"].values())) == (None, {None})


@pytest.mark.parametrize(
    ("at", "zip_code", "zone", "offset"),
    [
        ("2020-07-01T00:00:00Z", "19137", "America/New_York", -14_400),
        ("2026-01-15T00:00:00Z", "19137", "America/New_York", -18_000),
        ("2026-07-01T00:00:00Z", "85001", "America/Phoenix", -25_200),
    ],
)
async def test_a_patient_is_shown_with_the_zone_and_its_offset_then(loaded, at, zip_code, zone, offset):
    """The first zip code covers the time before it, and so does the first customer."""
    said = await shown(loaded, "patient", "7", "--at", at)
    assert (said["fields"]["zipCode"]["value"], said["time_zone"], said["offset_s"]) == (zip_code, zone, offset)
    assert said["fields"]["zipCode"]["covers_the_time_before"] == at.startswith("2020")
    assert said["fields"]["customerId"]["value"] == 1


async def test_a_patient_in_words(loaded):
    _, out, _ = await run(loaded, "show", "patient", "7", "--at", "2020-07-01T02:00:00+02:00")
    ((source,),) = await fetch(loaded, "SELECT source FROM sources")
    assert out.splitlines() == [
        "patient 7 as of 2020-07-01T00:00:00Z",
        "  externalIdentifier  (not said)",
        f"  zipCode             19137       from 2026-01-01T00:00:00Z, and the time before, by {source} 0 3",
        "  country             (not said)",
        f"  customerId          1           from 2026-01-01T00:00:00Z, and the time before, by {source} 0 3",
        "time zone America/New_York (exact), offset -14400 s then",
        "told by 2 states",
    ]


@pytest.mark.thorough
async def test_a_plain_export_counts_always_and_its_status_from_its_first_opening(migrated, tmp_path):
    await run(migrated, "load", ndjson(tmp_path, {"deviceId": 5, "patientId": 7, "currentStatus": "decommissioned"}))
    now, past = (
        await shown(migrated, "device", "5"),
        await shown(migrated, "device", "5", "--at", "2020-01-01T00:00:00Z"),
    )
    ((first_seen,),) = await fetch(migrated, "SELECT first_seen FROM sources")
    assert datetime.fromisoformat(now["fields"]["currentStatus"]["counts_from"]) == first_seen
    assert datetime.now(UTC) - first_seen < timedelta(minutes=1)
    assert (now["fields"]["patientId"]["counts_from"], now["refuses"]) == (None, "device_decommissioned")
    assert (past["fields"]["patientId"]["value"], past["fields"]["currentStatus"], past["refuses"]) == (7, None, None)
    assert "patientId          7               always, by archive:" in (await run(migrated, "show", "device", "5"))[1]


async def test_nobody_by_that_id_is_a_line_and_exit_1(loaded):
    assert await run(loaded, "show", "device", "3") == (1, "", "readings: no state tells of a device 3\n")
    assert await run(loaded, "show", "patient", "1", "--json") == (1, "", "readings: no state tells of a patient 1\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "device", "x"),
        ("show", "device", "0"),
        ("show", "device", str(2**63)),
        ("show", "site", "1"),
        ("show", "device", "1", "--at", "2026-01-01"),
        ("show", "device"),
        ("load",),
    ],
)
async def test_wrong_usage_is_exit_2(migrated, arguments):
    code, out, err = await run(migrated, *arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [("load", "nothing"), ("show", "device", "1")])
async def test_without_a_schema_it_is_exit_2_and_without_a_database_exit_1(database, arguments):
    code, out, err = await run(database, *arguments)
    assert (code, out, err) == (2, "", "readings: the database has no schema yet; run: readings migrate\n")
    away = "postgresql://u:secret@127.0.0.1:1/x"
    code, out, err = await run(away, *arguments, READINGS_CONNECT_TIMEOUT_S="0.5")
    assert (code, out, err) == (1, "", "readings: the database was not reached within 0.5 s\n")


async def test_another_law_than_the_stored_one_stops_a_load(migrated, tmp_path):
    code, _, err = await run(migrated, "load", ndjson(tmp_path, *STATES), READINGS_BLOCKED_STATUSES="lost")
    assert code == 2
    assert err.startswith("readings: law parameter blocked_statuses is lost here")
    assert await fetch(migrated, "SELECT * FROM sources") == []


# --- what is shown is what judges -----------------------------------------------------------------------------------


@given(histories())
@settings(max_examples=150, deadline=None)
def test_a_patients_zone_and_customer_are_those_that_readings_are_judged_by(history):
    zones = table_zones()
    whose: dict[int, list] = {}
    for told in (r for r in history.registry if r.kind == "patient"):
        state = understand_state(
            About.PATIENT, Record(Place(*told.place), None, told.value), told_at=told.timestamp, from_file=told.from_file,
            max_bytes=2**20, max_depth=64,
        )  # fmt: skip
        if not isinstance(state, NotUnderstood):
            whose.setdefault(state.subject_id, []).append(state)
    for patient_id, states in whose.items():
        registry = Registry(zones)
        registry.learn(states, {}, version=1)
        edges = [state.effective_at for state in states]
        for at in [
            *edges,
            *(edge - timedelta(microseconds=1) for edge in edges if edge.year > 1),
            datetime(2026, 3, 10, 12, tzinfo=UTC),
        ]:
            found, judged = patient_as_of(states, at=at, zones=zones), registry.history_of_patient(patient_id).at(at)
            customer = found.fields["customerId"]
            assert (found.home.answer.zone, customer and customer.value) == (judged.time_zone, judged.customer_id)
            assert found.home.offset_s == (judged.time_zone and offset_s(judged.time_zone, at))


def test_a_blank_zip_code_says_none_and_covers_the_time_before():
    blank = patient(7, zipCode="  ", effectiveAt="2026-01-01T00:00:00Z")
    lives = patient(7, offset=1, zipCode="19137", effectiveAt="2026-02-01T00:00:00Z")
    found = patient_as_of([blank, lives], at=datetime(2025, 1, 1, tzinfo=UTC), zones=table_zones())
    assert (found.home.answer.zone, found.fields["zipCode"].state) == (None, blank)
