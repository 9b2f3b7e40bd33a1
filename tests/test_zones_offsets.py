"""Offsets: exact to the second, from the packaged tzdata, whatever the machine's own files say."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich.offsets import UnknownZoneError, clock_of, is_zone, next_change, offset_s, tzdb_version

SECOND = timedelta(seconds=1)
ALL_ZONES = resources.files("tzdata").joinpath("zones").read_text().split()
MST, PST, AKST = -7 * 3600, -8 * 3600, -9 * 3600
EST, EDT, CST, CDT, MDT, PDT, AKDT = -5 * 3600, -4 * 3600, -6 * 3600, -5 * 3600, -6 * 3600, -7 * 3600, -8 * 3600


@cache
def oracle(zone: str) -> ZoneInfo:
    with resources.files("tzdata").joinpath("zoneinfo", *zone.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file)


def true_offset_s(zone: str, at: datetime) -> int:
    return int(at.astimezone(oracle(zone)).utcoffset().total_seconds())


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize("zone", ALL_ZONES)
def test_every_change_of_every_zone_falls_on_its_second(zone):
    for change in clock_of(zone).changes:
        for at in (change - SECOND, change, change + SECOND):
            assert offset_s(zone, at) == true_offset_s(zone, at)


@given(
    st.sampled_from(ALL_ZONES),
    st.datetimes(datetime(1800, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),
    st.integers(-24 * 60 + 1, 24 * 60 - 1),
)
def test_an_offset_is_that_of_zoneinfo_at_any_instant_however_written(zone, at, written_minutes):
    expected = true_offset_s(zone, at)
    assert offset_s(zone, at) == expected
    assert offset_s(zone, at.astimezone(timezone(timedelta(minutes=written_minutes)))) == expected


@given(st.sampled_from(ALL_ZONES), st.datetimes(datetime(1800, 1, 2), datetime(9990, 1, 1), timezones=st.just(UTC)))
def test_the_next_change_is_the_first_second_at_which_clocks_differ(zone, at):
    change = next_change(zone, at)
    if change is None:
        years_on = [at + timedelta(days=days) for days in range(0, 1500, 20)]
        assert {true_offset_s(zone, later) for later in years_on} == {true_offset_s(zone, at)}
        return
    when, then = change
    assert when > at
    assert true_offset_s(zone, when - SECOND) == true_offset_s(zone, at) != then == true_offset_s(zone, when)


@pytest.mark.parametrize(
    ("zone", "change", "before", "after"),
    [
        ("America/Indiana/Indianapolis", "2006-04-02T07:00:00", EST, EDT),  # its first daylight saving time
        ("America/Indiana/Knox", "2006-04-02T07:00:00", EST, CDT),  # to Central, on the same night: no clock moved
        ("America/Indiana/Winamac", "2007-03-11T08:00:00", CST, EDT),
        ("America/Indiana/Vincennes", "2007-11-04T07:00:00", CDT, EST),
        ("America/New_York", "2007-03-11T07:00:00", EST, EDT),  # the rule of 2007: three weeks earlier
        ("America/New_York", "2006-04-02T07:00:00", EST, EDT),
        ("America/New_York", "2007-11-04T06:00:00", EDT, EST),
        ("America/North_Dakota/Beulah", "2010-11-07T08:00:00", MDT, CST),
        ("America/Metlakatla", "2015-11-01T10:00:00", PST, AKST),
        ("America/Metlakatla", "2019-01-20T10:00:00", PST, AKST),
        ("America/Denver", "2024-03-10T09:00:00", MST, MDT),
        ("Europe/Dublin", "2024-03-31T01:00:00", 0, 3600),  # daylight saving time is negative there, in winter
    ],
)
def test_the_changes_that_tables_get_wrong(zone, change, before, after):
    if before != after:
        assert utc(change) in clock_of(zone).changes
    assert (offset_s(zone, utc(change) - SECOND), offset_s(zone, utc(change))) == (before, after)


def test_arizona_stands_still_and_the_navajo_nation_does_not():
    assert next_change("America/Phoenix", utc("2001-01-01")) is None
    assert next_change("America/Denver", utc("2024-01-01")) == (utc("2024-03-10T09:00:00"), MDT)


@pytest.mark.parametrize("year", [2038, 2100, 2400, 9999])
def test_beyond_what_is_listed_the_rule_goes_on(year):
    at = datetime(year, 7, 1, tzinfo=UTC)
    assert offset_s("America/New_York", at) == EDT
    assert next_change("America/New_York", at) == (next_change("America/New_York", at - timedelta(days=60)))


@pytest.mark.parametrize("edge", [datetime.min, datetime.max])
@pytest.mark.parametrize("hours", [-23, 0, 23])
def test_the_first_and_the_last_instant_have_an_offset(edge, hours):
    at = edge.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert offset_s("America/New_York", at) in (-17762, EST)
    assert offset_s("Pacific/Honolulu", at) in (-37886, -36000)
    next_change("America/New_York", at)


@pytest.mark.parametrize("name", ["", "Napakiak", "america/new_york", "../../etc/passwd", "/etc/localtime", "America"])
def test_a_name_that_is_no_zone_is_refused(name):
    assert not is_zone(name)
    with pytest.raises(UnknownZoneError):
        offset_s(name, datetime(2024, 1, 1, tzinfo=UTC))


def test_a_naive_datetime_is_refused():
    with pytest.raises(ValueError, match="aware"):
        offset_s("America/New_York", datetime(2024, 1, 1))
    with pytest.raises(ValueError, match="aware"):
        next_change("America/New_York", datetime(2024, 1, 1))


def test_the_edition_of_tzdb_is_told():
    assert tzdb_version()[:4].isdigit()
    assert tzdb_version()[4:].isalpha()


def test_the_machines_own_files_are_never_asked(tmp_path: Path):
    """A machine whose New York is Tokyo, and whose own zone is Tokyo too, answers the same."""
    lie = tmp_path / "America" / "New_York"
    lie.parent.mkdir()
    lie.write_bytes(resources.files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes())
    program = (
        "from datetime import UTC, datetime; from zoneinfo import ZoneInfo; from enrich.offsets import offset_s;"
        "at = datetime(2024, 1, 15, tzinfo=UTC);"
        "print(at.astimezone(ZoneInfo('America/New_York')).utcoffset(), offset_s('America/New_York', at))"
    )
    environment = os.environ | {"PYTHONTZPATH": str(tmp_path), "TZ": "Asia/Tokyo"}
    root = Path(__file__).parents[1]
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment, cwd=root
    )
    assert said.stdout.split() == ["9:00:00", "-18000"]
