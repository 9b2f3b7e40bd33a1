"""What every source of zones must do: the packaged table, and uszipcode over a database written from it.

Here the table is held to it; where uszipcode is installed (`test_zip_environments.py` sees to that) it is held too.
"""

import csv
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest

from enrich.offsets import clock_of
from enrich.uszipcode_zones import uszipcode_zones, write_uszipcode_database
from enrich.zip_table import load_table
from enrich.zones import NoZone, Quality, Zones, is_zone, offset_s, table_zones

GOLDEN = Path(__file__).parent / "golden" / "zip_time_zones.csv"
SCORED_FROM = datetime(2005, 1, 1, tzinfo=UTC)
SCORED_UNTIL = datetime(2038, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module", params=["table", *(["uszipcode"] if find_spec("uszipcode") else [])])
def zones(request, tmp_path_factory) -> Zones:
    if request.param == "table":
        return table_zones()
    path = tmp_path_factory.mktemp("uszipcode") / "zips.sqlite"
    write_uszipcode_database(path)
    return uszipcode_zones(path)


def golden_cases():
    with GOLDEN.open(encoding="utf-8", newline="") as file:
        return [
            pytest.param(row["zip"], row["iana_zone"] or None, id=f"{row['class']}-{row['zip']}")
            for row in csv.DictReader(file)
        ]


def instants_that_tell(*names: str):
    """A second before, at and after every change that any of the zones makes in the years that are scored."""
    changes = {change for name in names for change in clock_of(name).changes if SCORED_FROM <= change < SCORED_UNTIL}
    return sorted({SCORED_FROM} | {change + step for change in changes for step in (-SECOND, 0 * SECOND, SECOND)})


@pytest.mark.parametrize(("given", "expected"), golden_cases())
def test_the_acceptance_cases(zones, given, expected):
    """Scored on offsets since 2005, a second either side of every change, not on the names of zones."""
    answer = zones.of(given)
    if expected is None:
        assert (answer.zone, answer.quality) == (None, Quality.NONE)
        return
    for at in instants_that_tell(expected, answer.zone):
        assert offset_s(answer.zone, at) == offset_s(expected, at), at


def test_there_are_132_acceptance_cases():
    assert len(golden_cases()) == 132


def test_every_zip_of_the_table_is_answered_as_the_table_says(zones):
    table = load_table()
    assert [zones.of(digits) for digits in table.zips()] == [table.look_up(digits) for digits in table.zips()]


def test_no_other_number_is_answered(zones):
    known = set(load_table().zips())
    unknown = [digits for digits in map("{:05}".format, range(100_000)) if digits not in known]
    assert {zones.of(digits).reason for digits in unknown} == {NoZone.UNKNOWN_ZIP, NoZone.MILITARY_MAIL}
    assert {zones.of(digits).zone for digits in unknown} == {None}


def test_a_zone_has_no_reason_and_no_zone_has_one(zones):
    for answer in {zones.of(f"{number:05}") for number in range(100_000)}:
        assert (answer.zone is None) == (answer.quality is Quality.NONE) == (answer.reason is not None)
        assert answer.zone is None or is_zone(answer.zone)
        assert (answer.other_zone is not None) == (answer.quality in {Quality.STRADDLES, Quality.CONTESTED})
        assert answer.other_zone is None or is_zone(answer.other_zone)
        assert answer.other_share is None or 0 < answer.other_share <= 0.5


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, NoZone.BLANK),
        ("191", NoZone.PREFIX_ONLY),
        ("١٩١٣٧", NoZone.NOT_A_ZIP),
        (19137, NoZone.NOT_TEXT),
        (["19137"], NoZone.NOT_TEXT),
        ("00000", NoZone.UNKNOWN_ZIP),
        ("09012", NoZone.MILITARY_MAIL),
    ],
)
def test_what_is_no_zip_or_no_place_has_a_reason(zones, given, reason):
    assert zones.of(given).reason is reason


@pytest.mark.parametrize("given", ["01801", " 01801 ", "01801-1234", "01801 1234", "018011234", "1801"])
def test_every_form_of_a_zip_is_the_same_zip(zones, given):
    answer = zones.of(given)
    assert (answer.zone, answer.quality, answer.lost_zero) == ("America/New_York", Quality.EXACT, given == "1801")


def test_another_country_has_no_zone(zones):
    assert zones.of("12345", "DE").reason is NoZone.FOREIGN
    assert zones.of("12345", "usa").zone == "America/New_York"


def test_the_version_names_the_content(zones):
    assert zones.version
    assert "\n" not in zones.version
    assert len(zones.version) <= 32
