"""The packaged zip table: whole, right where tables are wrong, honest about doubt, and clear about where it is from."""

import ast
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib import resources

import pytest

from enrich.offsets import clock_of, is_zone, offset_s
from enrich.zip_code import is_military
from enrich.zip_table import load_table, parse_table
from enrich.zip_table.time_law import COUNTIES, NOWHERE, STATES, ZIPS
from enrich.zones import NoZone, Quality, ZipAnswer, table_zones

FOLDER = resources.files("enrich.zip_table")
PROVENANCE = json.loads(FOLDER.joinpath("PROVENANCE.json").read_text("utf-8"))
ZONES = table_zones()
TABLE = load_table()


def test_the_table_is_whole():
    assert 41_900 < len(TABLE.zips()) < 42_100
    assert len(TABLE.zones) == 41
    assert all(is_zone(zone) for zone in TABLE.zones)
    assert not any(is_military(digits) for digits in TABLE.zips())


def test_provenance_describes_this_table():
    data = FOLDER.joinpath("zip_zones.txt").read_bytes()
    assert PROVENANCE["table"] == {
        "file": "zip_zones.txt",
        "sha256": sha256(data).hexdigest(),
        "zips": len(TABLE.zips()),
    }
    assert PROVENANCE["table"]["sha256"].startswith(TABLE.version)
    assert sum(PROVENANCE["zips_by_zone"].values()) == len(TABLE.zips())
    assert sum(PROVENANCE["zips_by_rule"].values()) == len(TABLE.zips())
    assert PROVENANCE["exceptions"] == {digits: exceptional.why for digits, exceptional in ZIPS.items()}


def test_provenance_pins_what_the_script_pins():
    tree = ast.parse(FOLDER.joinpath("build.py").read_text("utf-8"))
    inputs = next(node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "INPUTS")
    pinned = {
        package: {"version": version, "sha256": digest}
        for package, (version, digest) in ast.literal_eval(inputs).items()
    }
    assert PROVENANCE["inputs"] == pinned


def test_those_whom_the_table_owes_are_named():
    attributions = FOLDER.joinpath("ATTRIBUTIONS.md").read_text("utf-8")
    for owed in ("GeoNames", "CC BY 4.0", "OpenStreetMap", "Open Database License", "HUD-USPS", *PROVENANCE["inputs"]):
        assert owed in attributions


@pytest.mark.parametrize("zone", TABLE.zones)
def test_every_change_since_2001_of_every_zone_is_computed(zone):
    """Every zip has one of these zones, so every zip has an offset on both sides of every change."""
    clock = clock_of(zone)
    for place, change in enumerate(clock.changes):
        if change >= datetime(2001, 1, 1, tzinfo=UTC):
            assert offset_s(zone, change - timedelta(seconds=1)) == clock.offsets[place]
            assert offset_s(zone, change) == clock.offsets[place + 1] != clock.offsets[place]


@pytest.mark.parametrize(
    ("zips", "zone"),
    [
        ("46402 47708 46360 47610 47978", "America/Chicago"),
        ("46534", "America/Indiana/Knox"),
        ("46996", "America/Indiana/Winamac"),
        ("47501 47542 47553", "America/Indiana/Vincennes"),
        ("47025 47040", "America/New_York"),
        ("58545 58541 58571 58580", "America/North_Dakota/Beulah"),
        ("58554", "America/North_Dakota/New_Salem"),
        ("49911 49935 49801 49858 49887", "America/Menominee"),
        ("67735 67758 67879 67878", "America/Denver"),
        ("79901 79839 79851 79837", "America/Denver"),
        ("79855 79834 79843", "America/Chicago"),
        ("32456 32457 32320 32321", "America/New_York"),
        ("32410 32465 32424 32446", "America/Chicago"),
        ("86045 86044 86510 86535 86556 86031 86035", "America/Denver"),
        ("86030 86034 86039 86042 86043 86047 86435", "America/Phoenix"),
        ("83501 83530 83554 83525", "America/Los_Angeles"),
        ("83547 83549 97910 97914", "America/Boise"),
        ("99546 99547", "America/Adak"),
        ("99926", "America/Metlakatla"),
        ("96910 96931", "Pacific/Guam"),
        ("96950 96951 96952", "Pacific/Saipan"),
        ("96799", "Pacific/Pago_Pago"),
        ("96939 96940", "Pacific/Palau"),
        ("96941", "Pacific/Pohnpei"),
        ("96942 96943", "Pacific/Chuuk"),
        ("96944", "Pacific/Kosrae"),
        ("96960", "Pacific/Majuro"),
        ("96970", "Pacific/Kwajalein"),
        ("96898", "Pacific/Wake"),
        ("37367 37397", "America/Chicago"),  # Bledsoe and Marion: the Central counties of East Tennessee
    ],
)
def test_places_that_tables_get_wrong(zips, zone):
    assert {digits: ZONES.of(digits).zone for digits in zips.split()} == dict.fromkeys(zips.split(), zone)


@pytest.mark.parametrize(
    ("digits", "clocks", "law"),
    [
        ("36867", "America/New_York", "America/Chicago"),  # Phenix City
        ("36863", "America/New_York", "America/Chicago"),  # Lanett
        ("36877", "America/New_York", "America/Chicago"),  # Smiths Station
        ("57532", "America/Chicago", "America/Denver"),  # Fort Pierre
        ("73946", "America/Denver", "America/Chicago"),  # Kenton
        ("89825", "America/Denver", "America/Los_Angeles"),  # Jackpot
    ],
)
def test_where_law_and_clocks_differ_the_clocks_are_answered(digits, clocks, law):
    answer = ZONES.of(digits)
    assert (answer.zone, answer.quality, answer.other_zone) == (clocks, Quality.CONTESTED, law)


def test_a_zip_with_homes_in_two_times_says_so_and_how_many():
    answer = ZONES.of("32456")
    assert answer == ZipAnswer("America/New_York", Quality.STRADDLES, None, "America/Chicago", 0.225)


def test_two_names_of_one_time_are_no_doubt():
    """Louisville and New York have agreed since 1974: a zip across them is exact."""
    for digits in TABLE.zips():
        answer = ZONES.of(digits)
        if answer.other_zone is not None:
            since_2001 = [
                {
                    (change, offset)
                    for change, offset in zip(clock.changes, clock.offsets[1:], strict=True)
                    if change.year >= 2001
                }
                for clock in (clock_of(answer.zone), clock_of(answer.other_zone))
            ]
            now = datetime(2001, 1, 1, tzinfo=UTC)
            same_start = offset_s(answer.zone, now) == offset_s(answer.other_zone, now)
            assert not (since_2001[0] == since_2001[1] and same_start), digits


@pytest.mark.parametrize("digits", sorted(ZIPS))
def test_every_exception_reached_the_table(digits):
    exceptional, answer = ZIPS[digits], ZONES.of(digits)
    assert (answer.zone, answer.quality, answer.other_zone) == (
        exceptional.zone,
        exceptional.quality,
        exceptional.other,
    )


def test_what_is_no_place_has_no_zone():
    assert {ZONES.of(digits).reason for digits in NOWHERE} == {NoZone.UNKNOWN_ZIP}


def test_the_law_names_each_county_once_and_only_where_it_differs_from_its_state():
    """A county in two lists would silently keep the later; `build.py --review` shows one in the wrong list."""
    text = FOLDER.joinpath("time_law.py").read_text("utf-8")
    listed = [
        call.args[1].value + number
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "_counties"
        for number in call.args[2].value.split()
    ]
    assert len(listed) == len(set(listed)) == len(COUNTIES)
    assert all(COUNTIES[county] != STATES[county[:2]] for county in COUNTIES)


def test_a_table_of_another_form_is_refused():
    with pytest.raises(ValueError, match="invalid literal"):
        parse_table(b"not a table\n")


def test_no_file_of_the_table_names_a_registry_or_a_machine():
    for file in FOLDER.iterdir():
        if file.is_file():
            text = file.read_text("utf-8")
            assert not any(trace in text for trace in ("pypi.org", "pythonhosted", "/work/", "/root/", "/home/"))
