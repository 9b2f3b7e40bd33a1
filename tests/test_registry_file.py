"""Registry files: told apart, read whatever is in them, stored exactly once."""

import asyncio
import csv
import io
import json
import os
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ingest.registry_file
from enrich.law import Law
from ingest.content import Content, NoRecord, UnreadableFileError
from ingest.registry_file import Loaded, file_state, format_of, load_file
from ingest.settings import Settings
from schemas.envelope import NotUnderstood
from schemas.record import Place, Record
from schemas.states import State
from sinks.database import Database
from sinks.errors import AwayError
from sinks.ledger import Source
from tests.knowing import learned

LAW = Law()
OPENED = datetime(2026, 7, 1, 12, tzinfo=UTC)
SOURCE = Source(1, "archive:x", OPENED)


def ndjson(*documents: object) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


@contextmanager
def content_of(given: bytes) -> Iterator[Content]:
    with TemporaryFile() as stream:
        stream.write(given)
        stream.flush()
        yield Content(stream, opened_at=OPENED)


def records(given: bytes) -> list[bytes]:
    """The records of a file with this content."""
    with content_of(given) as content:
        return list(chain.from_iterable(format_of(content, max_bytes=LAW.max_bytes).records()))


def documents(content: bytes) -> list[object]:
    """What the records say; a fault is told as text."""
    return [one.fault if isinstance(one, NoRecord) else json.loads(one) for one in records(content)]


def understood(value: object) -> State | NotUnderstood:
    given = value if isinstance(value, bytes) else json.dumps(value).encode()
    return file_state(Record(Place(SOURCE.name, 0, 0), None, given), source=SOURCE, law=LAW)


# --- told apart -----------------------------------------------------------------------------------------------------


STATES = [{"deviceId": 599, "currentStatus": "withPatient"}, {"patientId": 7, "zipCode": "19137"}]


@pytest.mark.parametrize(
    "content",
    [
        ndjson(*STATES),
        ndjson(*STATES).rstrip(),
        ndjson(*STATES).replace(b"\n", b"\r\n"),
        b"\n\n  " + ndjson(*STATES).replace(b"\n", b"\n \t\n"),
        json.dumps(STATES).encode(),
        b" \n" + json.dumps(STATES, indent=2).encode() + b"\n\n",
        json.dumps(STATES, separators=(",", ":")).encode(),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_ndjson_and_an_array_say_the_same_however_they_are_spaced(content, mark):
    assert documents(mark + content) == STATES


def test_a_single_object_over_many_lines_is_one_record():
    """What `curl …/device/599 | jq .` gives."""
    assert documents(json.dumps(STATES[0], indent=2).encode()) == STATES[:1]


def test_csv_is_told_by_its_header():
    assert documents(b"deviceId,currentStatus\n599,withPatient\n") == STATES[:1]
    assert documents(b"patientId,zipCode\n7,19137\n") == STATES[1:]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"\xef\xbb\xbf \n", "it is empty"),
        (b"\x1f\x8b\x08\x00" + bytes(100), "cut off or damaged"),
        (b"PK\x03\x04" + bytes(100), "not UTF-8 text"),
        ('{"deviceId":1}\n'.encode("utf-16"), "not UTF-8 text"),
        (b"id;status\n1;available\n", "neither NDJSON"),
        (b"599,withPatient\n", "neither NDJSON"),
        (b"deviceId,note\r599,x\r600,y", "neither NDJSON"),
        (b"deviceId,deviceId\n1,2\n", "names a column twice"),
        (b"deviceId,serial,deviceIdentifiers\n1,A,\n", "columns of single identifiers"),
        (b'[{"deviceId":1},\n{"deviceId":2}', "line 2"),
        (b'[{"deviceId":1},\n{"deviceId":2},]', "line 2"),
        (b'[{"deviceId":1}\n{"deviceId":2}]', "line 2"),
        (b'[{"deviceId":1}]\n\n[]', "broken JSON array"),
        (b'[{"deviceId":1', "broken JSON array"),
        (b'[{"deviceId":"\xff"}]', "not UTF-8"),
        (b"[" * 100_000, "nested too deep"),
    ],
)
def test_what_cannot_be_read_is_said_and_nothing_of_it_is_quoted(content, said):
    with pytest.raises(UnreadableFileError, match=said) as error:
        records(content)
    assert "withPatient" not in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_array_and_a_lone_header_hold_no_records():
    assert records(b"[]") == records(b" [ ]\n") == records(b"deviceId,note\n") == []


def test_a_line_that_is_no_json_does_not_take_the_others_with_it():
    content = b'{"deviceId":1}\nwithout sense\n{"deviceId":2\n\xff\xfe\n' + ndjson(STATES[1])
    assert records(content) == [
        b'{"deviceId":1}',
        b"without sense",
        b'{"deviceId":2',
        b"\xff\xfe",
        b'{"patientId": 7, "zipCode": "19137"}',
    ]
    assert len(records(b"without sense\n" + content)) == 6


@pytest.mark.parametrize(
    "element",
    [b"5", b'"x"', b"null", b"[]", b'{"deviceId":NaN}', b'{"deviceId":1,"note":"\\ud800"}', b'{"note":"a\tb"}', b"[" * 90 + b"]" * 90,
     b'{"deviceId":' + b"9" * 5_000 + b"}"],
)  # fmt: skip
def test_an_element_is_given_as_it_stands_in_the_file_however_wrong(element):
    given = records(b'[{"deviceId": 1.0},' + element + b"]")
    assert given == [b'{"deviceId": 1.0}', element]
    assert isinstance(understood(element), NotUnderstood)


@given(
    st.lists(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_array_is_taken_apart_where_its_elements_end(elements, indented):
    content = json.dumps(elements, indent=1 if indented else None, ensure_ascii=indented).encode(errors="surrogatepass")
    try:
        content.decode()
    except UnicodeDecodeError:
        return
    said = [json.dumps(json.loads(one)) for one in records(content)]
    assert said == [json.dumps(element) for element in json.loads(content)]


# --- CSV ------------------------------------------------------------------------------------------------------------


def test_every_column_is_read_as_what_it_is():
    header = "deviceId,currentStatus,disabledReadings,patientId,siteId,platformSite,customerId,note,effectiveAt,recordedAt,serial,imei"
    row = "599,withPatient,TRUE,7,3,false,1,hello,2026-01-05T14:00:00Z,2026-01-06T00:00:00Z,ABC123,3569"
    assert documents(f"{header}\n{row}\n".encode()) == [
        {
            "deviceId": 599, "currentStatus": "withPatient", "disabledReadings": True, "patientId": 7, "siteId": 3,
            "platformSite": False, "customerId": 1, "note": "hello",
            "effectiveAt": "2026-01-05T14:00:00Z", "recordedAt": "2026-01-06T00:00:00Z",
            "deviceIdentifiers": [{"type": "serial", "value": "ABC123"}, {"type": "imei", "value": "3569"}],
        }
    ]  # fmt: skip
    assert documents(b"patientId,externalIdentifier,zipCode,country,customerId\n7,mrn-7,01801,USA,1\n") == [
        {"patientId": 7, "externalIdentifier": "mrn-7", "zipCode": "01801", "country": "USA", "customerId": 1}
    ]


def test_an_empty_cell_says_none_but_an_empty_time_says_nothing():
    assert documents(b"deviceId,patientId,disabledReadings,note,serial,imei,effectiveAt,recordedAt\n1,,,,,,,\n") == [
        {"deviceId": 1, "patientId": None, "disabledReadings": None, "note": None, "deviceIdentifiers": None}
    ]
    assert documents(b"deviceId,deviceIdentifiers\n1,\n") == [{"deviceId": 1, "deviceIdentifiers": None}]


def test_identifiers_may_be_a_cell_of_json():
    rows = csv_of(["deviceId", "deviceIdentifiers"], [["1", '[{"type":"serial","value":"A"}]'], ["2", "A"]])
    assert documents(rows) == [
        {"deviceId": 1, "deviceIdentifiers": [{"type": "serial", "value": "A"}]},
        {"deviceId": 2, "deviceIdentifiers": "A"},
    ]
    assert understood(documents(rows)[1]).detail == "deviceIdentifiers: Input should be a valid list"


@pytest.mark.parametrize(
    "cell", ["0", "-1", "+1", "1.0", "1e3", "007", "0x1", "1_000", "٣", "x", "9" * 19, "9" * 30, "1 2"]
)
def test_an_id_is_plain_digits_and_no_cell_is_guessed_at(cell):
    (said,) = documents(f"deviceId,note\n{cell},x\n".encode())
    refused = understood(said)
    assert isinstance(refused, NotUnderstood)
    assert refused.detail == "deviceId: must be a whole number from 1 to 9223372036854775807"


@pytest.mark.parametrize("cell", ["1", "0", "yes", "t", "wahr"])
def test_a_boolean_is_true_or_false(cell):
    refused = understood(documents(f"deviceId,disabledReadings\n1,{cell}\n".encode())[0])
    assert refused.detail == "disabledReadings: Input should be a valid boolean"


def test_blanks_around_a_cell_do_not_count():
    """A blank before `decommissioned` would be another status, one that blocks nothing."""
    assert documents(b"deviceId , currentStatus\n 1, decommissioned\t\n") == [
        {"deviceId": 1, "currentStatus": "decommissioned"}
    ]


def test_columns_of_other_names_are_ignored_and_told():
    given = b"deviceId,Notes,currentStatus\n1,x,available\n"
    with content_of(given) as content:
        assert format_of(content, max_bytes=LAW.max_bytes).ignored_columns == ["Notes"]
    assert documents(given) == [{"deviceId": 1, "currentStatus": "available"}]


def test_a_file_with_a_device_column_is_about_devices_whatever_its_rows_leave_out():
    (said,) = documents(b"deviceId,patientId,zipCode\n,7,19137\n")
    assert understood(said).detail == "deviceId: must be a whole number from 1 to 9223372036854775807"


def test_quotes_newlines_and_commas_within_a_cell_are_its_own():
    content = b'deviceId,note\r\n1,"a ""b"", c\r\nd\ne"\r\n2,it\'s 5" wide\r\n'
    assert documents(b"\xef\xbb\xbf" + content) == [
        {"deviceId": 1, "note": 'a "b", c\r\nd\ne'},
        {"deviceId": 2, "note": "it's 5\" wide"},
    ]


def test_a_ragged_row_is_set_aside_as_it_stands_and_the_others_are_taken():
    content = b'deviceId,note\n1,a\n2\n3,b,c\n4,"x\ny",z\n5,e\n'
    assert [(one, one.fault) for one in records(content)[1:4]] == [
        (b"2", "a row of 1 cells under a header of 2"),
        (b"3,b,c", "a row of 3 cells under a header of 2"),
        (b'4,"x\ny",z', "a row of 3 cells under a header of 2"),
    ]
    assert [documents(content)[n]["deviceId"] for n in (0, 4)] == [1, 5]


def test_a_row_without_anything_in_it_is_no_record():
    assert [one["deviceId"] for one in documents(b"deviceId,note\n\n1,a\n,\n \t, \n\r\n2,b\n,,,\n")] == [1, 2]


@pytest.mark.parametrize("broken", [b'2,"never closed', b'2,"closed"too early', b'2,"x"y"z"'])
def test_a_broken_quote_takes_no_other_row_with_it(broken):
    content = b"deviceId,note\n1,a\n" + broken + b'\n3,"b"\n4,c\n'
    given = records(content)
    assert given[1] == broken
    assert given[1].fault.startswith("not a row of CSV: ")
    assert [json.loads(given[n])["deviceId"] for n in (0, 2, 3)] == [1, 3, 4]


def test_a_row_that_is_not_utf_8_is_set_aside_as_it_stands():
    content = b"deviceId,note\n1,caf\xe9\n2,caf\xc3\xa9\n"
    assert (records(content)[0], records(content)[0].fault) == (b"1,caf\xe9", "not UTF-8")
    assert documents(content)[1] == {"deviceId": 2, "note": "café"}


def test_a_nul_in_a_cell_is_malformed():
    (given,) = records(b"deviceId,note\n1,a\x00b\n")
    assert understood(given).detail == "a string holds NUL"


def csv_of(header: list[str], rows: list[list[str]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows([header, *rows])
    return out.getvalue().encode()


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=2, max_size=2), max_size=10
    )
)
@settings(max_examples=100, deadline=None)
def test_whatever_a_csv_writer_wrote_is_read_back(cells):
    rows = [[str(n), *row] for n, row in enumerate(cells, 1)]
    said = documents(csv_of(["deviceId", "currentStatus", "note"], rows))
    expected = [{"deviceId": n, **{name: cell.strip(" \t") or None for name, cell in zip(("currentStatus", "note"), row, strict=True)}}
                for n, row in enumerate(cells, 1)]  # fmt: skip
    assert said == expected


@given(st.binary(max_size=300), st.sampled_from([b"", b"{", b"[", b"deviceId,note\n", b'deviceId,note\n1,"']))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_records_or_an_unreadable_file(content, beginning):
    try:
        given = records(beginning + content)
    except UnreadableFileError:
        return
    for one in given:
        if not isinstance(one, NoRecord):
            assert isinstance(understood(one), State | NotUnderstood)


# --- the platform's own JSON ----------------------------------------------------------------------------------------


PATIENT = {
    "id": 456, "externalIdentifier": "mrn-456", "firstName": "Jane", "lastName": "Roe", "dateOfBirth": "01-01-2000",
    "archived": False, "enrolled": True, "site": {"id": 1},
    "address": {"lineOne": "1 Main Street", "city": "Philadelphia", "state": "PA", "zipCode": "19137", "country": "USA"},
}  # fmt: skip
DEVICE = {
    "id": 3, "item": {"id": 1, "name": "Monitor"}, "currentStatus": "withPatient", "used": True,
    "currentPatient": PATIENT, "site": {"id": 9, "name": "a clinic"}, "lastHealthCheck": "x",
    "deviceIdentifiers": [{"type": "serial", "value": "abc"}], "deviceEvents": [{}], "externalIdentifier": "ours-3",
}  # fmt: skip


def test_the_platforms_device_is_a_device_state():
    told = understood(DEVICE)
    assert (told.about, told.subject_id) == ("device", 3)
    assert told.says == {
        "deviceIdentifiers": [{"type": "serial", "value": "abc"}],
        "currentStatus": "withPatient",
        "patientId": 456,
        "siteId": 9,
    }


def test_the_platforms_patient_is_a_patient_state_without_names():
    told = understood(PATIENT)
    assert (told.about, told.subject_id) == ("patient", 456)
    assert told.says == {"externalIdentifier": "mrn-456", "zipCode": "19137", "country": "USA"}


def test_a_platform_field_that_is_null_says_none_and_one_that_is_absent_nothing():
    assert understood({"id": 3, "currentStatus": "available", "currentPatient": None, "site": None}).says == {
        "currentStatus": "available", "patientId": None, "siteId": None,
    }  # fmt: skip
    assert understood({"id": 3, "currentStatus": "available"}).says == {"currentStatus": "available"}
    assert understood({"id": 7, "archived": False, "address": None}).says == {"zipCode": None, "country": None}
    assert understood({"id": 7, "archived": False, "address": {"city": "x"}}).says == {}


@pytest.mark.parametrize(
    ("document", "detail"),
    [
        ({"id": 3, "currentPatient": 5}, "currentPatient: must be an object"),
        ({"id": 3, "currentStatus": "x", "site": {}}, "site.id: Field required"),
        ({"id": 3, "currentStatus": "x", "site": {"id": "9"}}, "siteId: must be a whole number from 1 to 9223372036854775807"),
        ({"id": 7, "archived": True, "address": "19137"}, "address: must be an object"),
        ({"id": 7}, "names neither deviceId nor patientId, and is no Device or Patient"),
        ({"zipCode": "19137"}, "names neither deviceId nor patientId, and is no Device or Patient"),
    ],
)  # fmt: skip
def test_what_is_neither_is_invalid_and_no_value_is_quoted(document, detail):
    assert understood(document).detail == detail


def test_our_own_words_win_and_a_device_before_a_patient():
    assert understood({"deviceId": 1, "patientId": 2, "id": 3, "address": {}}).subject_id == 1
    assert understood({"patientId": 2, "id": 3, "currentStatus": "x"}).about == "patient"


# --- stored ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def database(migrated):
    database = Database(migrated, timeout_s=30)
    yield database
    await database.close()


@pytest.fixture
def settings_(migrated):
    return Settings(database_url=migrated, connect_timeout_s=5)


async def rows(database: Database, statement: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await database.fetch(statement)]


def outcome(loaded: Loaded) -> tuple[int, int, int]:
    return loaded.states, loaded.rejected.total(), loaded.already_there


def file(folder: Path, content: bytes, name: str = "registry") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


async def test_a_second_load_of_the_same_content_stores_nothing(database, settings_, tmp_path):
    content = ndjson(*STATES, {"deviceId": 0})
    first = await load_file(file(tmp_path, content), database=database, settings=settings_)
    before = await rows(database, "SELECT xmin, ctid, * FROM device_states")
    second = await load_file(file(tmp_path, content, "under-another-name"), database=database, settings=settings_)
    assert (outcome(first), outcome(second)) == ((2, 1, 0), (0, 0, 3))
    assert await rows(database, "SELECT xmin, ctid, * FROM device_states") == before
    assert await rows(database, "SELECT next_offset FROM source_positions") == [(3,)]
    assert await rows(database, "SELECT version FROM registry_version") == [(1,)]


async def test_a_plain_export_of_a_device_decommissioned_today_leaves_the_past_alone(database, settings_, tmp_path):
    """It is the patient's always, and decommissioned from the moment when the file was first opened."""
    export = [DEVICE | {"currentStatus": "decommissioned"}, PATIENT]
    before = datetime.now(UTC)
    await load_file(file(tmp_path, json.dumps(export).encode()), database=database, settings=settings_)
    registry = await learned(database)
    years_ago, after = datetime(2015, 1, 1, tzinfo=UTC), datetime.now(UTC)
    assert registry.device(3, at=years_ago).said()[:3] == (None, False, 456)
    assert registry.device(3, at=before - timedelta(microseconds=1)).status is None
    assert registry.device(3, at=after).status == "decommissioned"
    assert registry.history_of_patient(456).at(years_ago).time_zone == "America/New_York"
    (blocking, effective) = (
        await rows(database, "SELECT blocking_effective_at, effective_at::text FROM device_states")
    )[0]
    assert (before <= blocking <= after, effective) == (True, "-infinity")


async def test_the_moment_of_first_opening_stays_when_the_file_is_opened_again(
    database, settings_, tmp_path, monkeypatch
):
    """Also when the first load did not get beyond its first transaction."""
    path = file(
        tmp_path, ndjson({"deviceId": 1, "currentStatus": "decommissioned"}, {"deviceId": 2, "currentStatus": "x"})
    )
    small = settings_.model_copy(update={"batch_records": 1})
    fail_at(monkeypatch, 2)
    with pytest.raises(RuntimeError):
        await load_file(path, database=database, settings=small)
    monkeypatch.undo()
    await load_file(path, database=database, settings=small)
    ((first_seen,),) = await rows(database, "SELECT first_seen FROM sources")
    assert await rows(database, "SELECT blocking_effective_at FROM device_states") == [(first_seen,), (first_seen,)]


async def test_backdated_states_count_from_the_moment_they_name(database, settings_, tmp_path):
    states = [
        {"deviceId": 1, "patientId": 7, "currentStatus": "withPatient", "effectiveAt": "2026-01-01T00:00:00Z"},
        {"deviceId": 1, "currentStatus": "decommissioned", "effectiveAt": "2026-02-01T00:00:00Z"},
        {"deviceId": 1, "patientId": 8, "effectiveAt": "2026-01-15T00:00:00+02:00"},
    ]
    await load_file(file(tmp_path, ndjson(*states)), database=database, settings=settings_)
    registry = await learned(database)
    days = [datetime(2025, 12, 31), datetime(2026, 1, 14, 21), datetime(2026, 1, 14, 22), datetime(2026, 2, 1)]
    assert [registry.device(1, at=day.replace(tzinfo=UTC)).said()[:3] for day in days] == [
        (None, False, None),
        ("withPatient", False, 7),
        ("withPatient", False, 8),
        ("decommissioned", False, 8),
    ]


async def test_the_same_history_is_the_same_registry_in_every_format(database, settings_, tmp_path, migrated):
    rows_ = [
        ["1", "withPatient", "7", "2026-01-01T00:00:00Z", "A"],
        ["1", "available", "", "2026-02-01T00:00:00Z", "A"],
    ]
    states = [
        {"deviceId": 1, "currentStatus": status, "patientId": int(patient) if patient else None, "effectiveAt": at,
         "deviceIdentifiers": [{"type": "serial", "value": serial}]}
        for _, status, patient, at, serial in rows_
    ]  # fmt: skip
    contents = [
        csv_of(["deviceId", "currentStatus", "patientId", "effectiveAt", "serial"], rows_),
        ndjson(*states),
        json.dumps(states).encode(),
    ]
    for content in contents:
        assert outcome(await load_file(file(tmp_path, content), database=database, settings=settings_)) == (2, 0, 0)
    # Told three times, it is still one change each.
    assert await rows(database, "SELECT count(*), (SELECT count(*) FROM device_changes) FROM device_states") == [(6, 2)]
    assert await rows(database, "SELECT identifier, device_id FROM device_identifiers") == [("A", 1)]


async def test_a_bad_record_is_set_aside_with_its_own_bytes_and_the_rest_goes_on(database, settings_, tmp_path):
    bad = [b"no json", b'{"deviceId": "1"}', b'{"zipCode":"19137"}', b'{"patientId":7,"zipCode":19137}']
    content = b"".join(line + b"\r\n" + ndjson({"deviceId": n}) for n, line in enumerate(bad, 1))
    loaded = await load_file(file(tmp_path, b"{}\n" + content), database=database, settings=settings_)
    assert (outcome(loaded), dict(loaded.rejected)) == ((4, 5, 0), {"malformed": 1, "invalid": 4})
    stored = await rows(database, "SELECT source_offset, received_at, reason::text, payload FROM rejections ORDER BY 1")
    assert stored == [
        (0, None, "invalid", b"{}"),
        *((2 * n + 1, None, "malformed" if n == 0 else "invalid", line) for n, line in enumerate(bad)),
    ]
    assert await rows(database, "SELECT source_offset FROM device_states ORDER BY 1") == [(2,), (4,), (6,), (8,)]
    assert loaded.examples[1:3] == [
        (1, "malformed", "not one UTF-8 JSON object"),
        (3, "invalid", "deviceId: must be a whole number from 1 to 9223372036854775807"),
    ]


async def test_a_bad_row_of_csv_is_kept_as_an_object_where_it_is_one_and_else_as_it_stands(
    database, settings_, tmp_path
):
    loaded = await load_file(file(tmp_path, b"deviceId,note\nx,a\n1,b,c\n2,d\n"), database=database, settings=settings_)
    assert outcome(loaded) == (1, 2, 0)
    assert await rows(database, "SELECT reason::text, detail, payload FROM rejections ORDER BY source_offset") == [
        ("invalid", "deviceId: must be a whole number from 1 to 9223372036854775807", b'{"deviceId":"x","note":"a"}'),
        ("malformed", "a row of 3 cells under a header of 2", b"1,b,c"),
    ]


def fail_at(monkeypatch, call: int) -> None:
    """The transaction of that number never begins."""
    store, calls = ingest.registry_file.store_states, 0

    async def failing(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls == call:
            raise RuntimeError("killed")
        return await store(*arguments, **named)

    monkeypatch.setattr(ingest.registry_file, "store_states", failing)


@pytest.mark.parametrize("content", [b"ndjson", b"array", b"csv"])
async def test_killed_between_two_transactions_and_loaded_again_is_the_same_as_loaded_once(
    database, settings_, tmp_path, monkeypatch, content
):
    devices = [{"deviceId": n, "note": f"a\n{n}"} for n in range(1, 26)]
    content = {
        b"ndjson": ndjson(*devices) + b"junk\n",
        b"array": json.dumps([*devices, "junk"]).encode(),
        b"csv": csv_of(["deviceId", "note"], [[str(d["deviceId"]), d["note"]] for d in devices]) + b"junk\n",
    }[content]
    path = file(tmp_path, content)
    small = settings_.model_copy(update={"batch_records": 4})
    for call in (2, 1, 3):
        fail_at(monkeypatch, call)
        with pytest.raises(RuntimeError):
            await load_file(path, database=database, settings=small)
        monkeypatch.undo()
    assert await rows(database, "SELECT next_offset FROM source_positions") == [(12,)]
    loaded = await load_file(path, database=database, settings=small)
    assert outcome(loaded) == (13, 1, 12)
    assert await rows(database, "SELECT source_offset, device_id FROM device_states ORDER BY 1") == [
        (n, n + 1) for n in range(25)
    ]
    assert await rows(database, "SELECT source_offset, reason::text FROM rejections") == [(25, "malformed")]
    assert await rows(database, "SELECT next_offset FROM source_positions") == [(26,)]


async def test_a_commit_of_unknown_outcome_is_settled_by_the_position(database, settings_, tmp_path, monkeypatch):
    store, calls = ingest.registry_file.store_states, 0

    async def lost_answer(*arguments, **named):
        nonlocal calls
        calls += 1
        change = await store(*arguments, **named)
        if calls == 1:
            raise AwayError("the connection is gone")
        return change

    monkeypatch.setattr(ingest.registry_file, "store_states", lost_answer)
    path = file(tmp_path, ndjson(*({"deviceId": n} for n in range(1, 10))))
    await load_file(path, database=database, settings=settings_.model_copy(update={"batch_records": 4}))
    assert await rows(database, "SELECT count(*), count(DISTINCT device_id) FROM device_states") == [(9, 9)]


async def test_two_loads_of_one_file_at_once_store_it_once(database, settings_, tmp_path, migrated):
    path = file(tmp_path, ndjson(*({"deviceId": n} for n in range(1, 201))))
    small = settings_.model_copy(update={"batch_records": 7})
    other = Database(migrated, timeout_s=30)
    try:
        both = await asyncio.gather(*(load_file(path, database=one, settings=small) for one in (database, other)))
    finally:
        await other.close()
    assert sum(loaded.states for loaded in both) == 200
    assert [loaded.records for loaded in both] == [200, 200]
    assert await rows(database, "SELECT count(*), count(DISTINCT source_offset) FROM device_states") == [(200, 200)]


async def test_a_batch_is_bounded_by_bytes_as_well(database, settings_, tmp_path):
    path = file(tmp_path, ndjson(*({"deviceId": n, "note": "x" * 1_000} for n in range(1, 11))))
    await load_file(path, database=database, settings=settings_.model_copy(update={"batch_bytes": 2_000}))
    assert await rows(database, "SELECT version FROM registry_version") == [(5,)]


async def test_a_file_that_changes_while_it_is_read_is_left_alone_from_there_on(
    database, settings_, tmp_path, monkeypatch
):
    path = file(tmp_path, ndjson(*({"deviceId": n} for n in range(1, 10))))
    store = ingest.registry_file.store_in_pieces

    async def store_and_grow(*arguments: object, **named: object) -> None:
        await store(*arguments, **named)
        with path.open("ab") as more:
            more.write(b'{"deviceId":99}\n')

    monkeypatch.setattr(ingest.registry_file, "store_in_pieces", store_and_grow)
    with pytest.raises(UnreadableFileError, match="it changed while it was read"):
        await load_file(path, database=database, settings=settings_.model_copy(update={"batch_records": 4}))
    assert await rows(database, "SELECT count(*) FROM device_states") == [(4,)]


async def test_a_broken_array_is_not_taken_in_part(database, settings_, tmp_path):
    whole = json.dumps([{"deviceId": n} for n in range(1, 10)]).encode()
    with pytest.raises(UnreadableFileError):
        await load_file(
            file(tmp_path, whole[:-1]), database=database, settings=settings_.model_copy(update={"batch_records": 2})
        )
    assert await rows(database, "SELECT * FROM sources") == []


async def test_a_pipe_is_as_good_as_a_file(database, settings_, tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writing = threading.Thread(target=path.write_bytes, args=(ndjson(*STATES),))
    writing.start()
    try:
        assert outcome(await load_file(path, database=database, settings=settings_)) == (2, 0, 0)
    finally:
        writing.join()


@pytest.mark.parametrize(("name", "said"), [("missing", "No such file or directory"), (".", "Is a directory")])
async def test_a_file_that_cannot_be_opened_is_told_in_the_systems_words(database, settings_, tmp_path, name, said):
    with pytest.raises(UnreadableFileError, match=said):
        await load_file(tmp_path / name, database=database, settings=settings_)


async def test_twenty_thousand_records(database, settings_, tmp_path):
    columns = ["deviceId", "currentStatus", "patientId", "serial"]
    path = file(tmp_path, csv_of(columns, [[str(n), "withPatient", str(n), f"S{n}"] for n in range(1, 20_001)]))
    assert outcome(await load_file(path, database=database, settings=settings_)) == (20_000, 0, 0)
    assert await rows(database, "SELECT count(*) FROM device_identifiers") == [(20_000,)]
    assert await rows(database, "SELECT version FROM registry_version") == [(4,)]
    assert outcome(await load_file(path, database=database, settings=settings_)) == (0, 0, 20_000)


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_lines_are_read_some_at_a_time_however_large_the_file(form):
    note = "x" * 1_000
    if form == "csv":
        given = csv_of(["deviceId", "note"], [[str(n), note] for n in range(1, 20_001)])
    else:
        given = ndjson(*({"deviceId": n, "note": note} for n in range(1, 20_001)))
    with content_of(given) as content:
        assert content.size > 20_000_000
        tracemalloc.start()
        try:
            count = sum(map(len, format_of(content, max_bytes=LAW.max_bytes).records()))
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert count == 20_000
    assert most < 2_000_000


async def test_a_line_without_an_end_is_no_record(database, settings_, tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.content.LONGEST_LINE", 1_000)
    monkeypatch.setattr("ingest.content._BLOCK", 100)
    path = file(tmp_path, b'{"deviceId":1}\n{"note":"' + b"x" * 2_000)
    with pytest.raises(UnreadableFileError, match="line 2 is longer than 1000 bytes"):
        await load_file(path, database=database, settings=settings_)
