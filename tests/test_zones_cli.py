"""`readings zone` and `readings uszipcode`: what support staff and programs are told."""

import io
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich.uszipcode_zones import UszipcodeError, uszipcode_zones
from enrich.zip_table import load_table
from enrich.zones import NoZone, table_zones
from ingest.cli.zone import NO_ZONE_WORDS, answer_stream, answers, in_words, show_zone, write_uszipcode

ZONES = table_zones()
SUMMER = datetime(2024, 7, 4, tzinfo=UTC)


def words(zip_code: str, at: datetime = SUMMER) -> str:
    return "\n".join(in_words(zip_code, ZONES.of(zip_code), at=at))


def answered(*lines: bytes) -> list[dict]:
    return list(answers(lines, zones=ZONES))


def test_a_zip_is_told_in_words():
    assert words("19137") == (
        "zip code     19137\n"
        "time zone    America/New_York\n"
        "offset       UTC-04:00 (-14400 s) at 2024-07-04T00:00:00Z: clocks there say Wed 03 Jul 2024 20:00:00\n"
        "how sure     exact: all of it keeps this time\n"
        "next change  2024-11-03T06:00:00Z: clocks go back from Sun 03 Nov 2024 02:00:00 to Sun 03 Nov 2024 01:00:00, UTC-05:00"
    )


def test_doubt_is_told_in_words():
    assert "about 22% of its homes are in America/Chicago" in words("32456")
    assert "a part of it may be in America/Denver" in words("86040")
    assert "this is what clocks there say; the law says America/Chicago" in words("36867")
    assert "(read as 01801)" in words("1801")
    assert "next change  none" in words("85001")


@pytest.mark.parametrize("reason", NoZone)
def test_every_reason_has_its_sentence(reason):
    assert NO_ZONE_WORDS[reason]


def test_no_zone_is_told_with_its_reason():
    assert "none: military and diplomatic mail" in words("09012")
    assert "none: no such zip code is known" in words("00000")


def test_one_zip_for_a_program(capsys):
    assert show_zone("36867", at="2024-07-04T00:00:00Z", country=None, as_json=True, zones=ZONES) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["zip_table"] == load_table().version
    assert said | {"zip_table": "", "tzdb": ""} == {
        "zip": "36867",
        "zone": "America/New_York",
        "offset_s": -14400,
        "quality": "contested",
        "at": "2024-07-04T00:00:00Z",
        "lost_zero": False,
        "other_zone": "America/Chicago",
        "other_share": None,
        "next_change": {"at": "2024-11-03T06:00:00Z", "offset_s": -18000},
        "zip_table": "",
        "tzdb": "",
    }


@pytest.mark.parametrize("at", [None, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_now_and_the_ends_of_the_calendar_can_be_asked_for(at, capsys):
    assert show_zone("19137", at=at, country="US", as_json=False, zones=ZONES) == 0
    assert "America/New_York" in capsys.readouterr().out


def test_a_wrong_instant_is_wrong_usage(capsys):
    assert show_zone("19137", at="2024-07-04", country=None, as_json=False, zones=ZONES) == 2
    told = capsys.readouterr()
    assert (told.out, "RFC 3339" in told.err) == ("", True)


def test_each_line_gets_one_object():
    assert answered(
        b"19137,2024-07-04T00:00:00Z\n", b" 01801 ,2024-01-15T00:00:00-05:00\r\n", b"09012,2024-01-15T00:00:00Z"
    ) == [
        {"zip": "19137", "zone": "America/New_York", "offset_s": -14400, "quality": "exact"},
        {"zip": " 01801 ", "zone": "America/New_York", "offset_s": -18000, "quality": "exact"},
        {"zip": "09012", "zone": None, "offset_s": None, "quality": "none", "reason": "military_mail"},
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"19137\n",
        b"19137,2024-07-04T00:00:00Z,Doe\n",
        b"Doe,2024-07-04\n",
        b"Doe,2024-07-04T00:00:00\n",
        b"Doe,2024-07-04T24:00:00Z\n",
        b"Doe,\n",
        b'"Doe,2024-07-04T00:00:00Z\n',
        b"Doe\xff,2024-07-04T00:00:00Z\n",
        b"Doe\0,Doe\n",
    ],
)
def test_a_bad_line_is_an_error_that_quotes_nothing_and_the_stream_goes_on(line):
    bad, good = answered(line, b"19137,2024-07-04T00:00:00Z\n")
    assert set(bad) == {"error", "line"}
    assert bad["line"] == 1
    assert "Doe" not in json.dumps(bad)
    assert good["offset_s"] == -14400


@pytest.mark.parametrize("header", [b"zip,instant\n", b"\xef\xbb\xbfzip,instant\r\n"])
def test_a_header_is_no_line(header):
    assert len(answered(header, b"19137,2024-07-04T00:00:00Z\n")) == 1


@given(st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"") + b"\n")))
def test_any_bytes_are_answered_line_by_line(lines):
    out = io.StringIO()
    assert answer_stream(lines, out, zones=ZONES) == 0
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(said) == len(lines)
    assert all(("error" in answer) != ("quality" in answer) for answer in said)


def test_the_table_is_written_for_uszipcode_and_no_file_is_touched_twice(tmp_path, capsys):
    path = tmp_path / "zips.sqlite"
    assert write_uszipcode(path) == 0
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT timezone FROM simple_zipcode WHERE zipcode = '19137'").fetchone() == (
            "America/New_York",
        )
        assert database.execute("SELECT count(*) FROM simple_zipcode").fetchone() == (len(load_table().zips()),)
    before = path.read_bytes()
    assert write_uszipcode(path) == 1
    assert path.read_bytes() == before
    assert write_uszipcode(tmp_path / "no" / "folder") == 1
    assert "No such file" in capsys.readouterr().err


def test_without_the_extra_the_resolver_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    with pytest.raises(UszipcodeError, match=r"device-readings\[uszipcode\]"):
        uszipcode_zones(tmp_path / "zips.sqlite")
