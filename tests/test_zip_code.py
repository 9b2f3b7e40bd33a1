"""What counts as a zip code, and what never does."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from enrich.countries import uses_us_zips
from enrich.zip_code import NoZone, ZipCode, is_military, read_zip
from enrich.zones import Quality, offset_s, table_zones

ZONES = table_zones()
DIGITS = "0123456789"


def meant_zip(given: object) -> str | None:
    """The oracle: the five digits that `given` means, read by hand and not by the code under test."""
    if not isinstance(given, str):
        return None
    text = given.strip(" \t\r\n")
    digits = "".join(letter for letter in text if letter in DIGITS)
    shapes = {digits: (4, 5, 9), f"{digits[:5]}-{digits[5:]}": (9,), f"{digits[:5]} {digits[5:]}": (9,)}
    if len(digits) not in shapes.get(text, ()):
        return None
    return digits.zfill(5) if len(digits) == 4 else digits[:5]


@pytest.mark.parametrize(
    "given", ["01801", " 01801 ", "\t01801\r\n", "01801-1234", "01801 1234", "018011234", " 01801-1234 "]
)
def test_a_zip_is_read_in_the_forms_that_people_write(given):
    assert read_zip(given) == ZipCode("01801")


def test_a_lost_leading_zero_is_put_back_and_flagged():
    assert read_zip("1801") == ZipCode("01801", lost_zero=True)
    answer = ZONES.of(" 1801")
    assert (answer.zone, answer.lost_zero) == ("America/New_York", True)
    assert not ZONES.of("01801").lost_zero


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, NoZone.BLANK),
        ("", NoZone.BLANK),
        (" \t\r\n", NoZone.BLANK),
        (1801, NoZone.NOT_TEXT),
        (19137, NoZone.NOT_TEXT),
        (19137.0, NoZone.NOT_TEXT),
        (True, NoZone.NOT_TEXT),
        (b"19137", NoZone.NOT_TEXT),
        (["19137"], NoZone.NOT_TEXT),
        ("191", NoZone.PREFIX_ONLY),
        ("12", NoZone.NOT_A_ZIP),
        ("191370", NoZone.NOT_A_ZIP),
        ("18011234", NoZone.NOT_A_ZIP),
        ("1913712345", NoZone.NOT_A_ZIP),
        ("19137-", NoZone.NOT_A_ZIP),
        ("19137-123", NoZone.NOT_A_ZIP),
        ("1801-1234", NoZone.NOT_A_ZIP),
        ("19137--1234", NoZone.NOT_A_ZIP),
        ("19137\N{NON-BREAKING HYPHEN}1234", NoZone.NOT_A_ZIP),
        ("19137\N{NO-BREAK SPACE}", NoZone.NOT_A_ZIP),
        ("191\n37", NoZone.NOT_A_ZIP),
        ("1_801", NoZone.NOT_A_ZIP),
        ("-01801", NoZone.NOT_A_ZIP),
        ("+19137", NoZone.NOT_A_ZIP),
        ("1.9137e4", NoZone.NOT_A_ZIP),
        ("K1A 0B1", NoZone.NOT_A_ZIP),
        ("abcde", NoZone.NOT_A_ZIP),
        ("19l37", NoZone.NOT_A_ZIP),
        ("١٩١٣٧", NoZone.NOT_A_ZIP),
        ("１９１３７", NoZone.NOT_A_ZIP),
        ("19137\0", NoZone.NOT_A_ZIP),
        ("9" * 100_000, NoZone.NOT_A_ZIP),
    ],
)
def test_what_is_no_zip_has_no_zone_and_a_reason(given, reason):
    assert read_zip(given) is reason
    answer = ZONES.of(given)
    assert (answer.zone, answer.quality, answer.reason) == (None, Quality.NONE, reason)


anything = (
    st.text(max_size=40)
    | st.text(alphabet=DIGITS + "- \t\n", max_size=14)
    | st.from_regex(r"\s?\d{3,6}([-\s]?\d{3,5})?\s?", fullmatch=True)
    | st.integers()
    | st.floats(allow_nan=True)
    | st.none()
    | st.binary(max_size=12)
    | st.booleans()
    | st.lists(st.text())
    | st.decimals()
)


@given(anything, anything)
@example("19137", [])
@example(Decimal("NaN"), {})
def test_no_object_makes_it_raise_or_answer_for_what_is_no_zip(zip_code, country):
    """Any unicode string, any number, any object: an answer is a zone or a reason, and a zone only for a true zip."""
    for answer in (ZONES.of(zip_code), ZONES.of(zip_code, country)):
        assert (answer.zone is None) == (answer.quality is Quality.NONE) == (answer.reason is not None)
        if answer.zone is not None:
            meant = meant_zip(zip_code)
            assert meant is not None
            assert ZONES.of(meant).zone == answer.zone
            assert -43_200 <= offset_s(answer.zone, datetime(2024, 7, 4, tzinfo=UTC)) <= 50_400
    if meant_zip(zip_code) is None:
        assert ZONES.of(zip_code).zone is None


class Hostile(str):
    """A string that fights back."""

    __slots__ = ()

    def _raise(self, *_args):
        raise RuntimeError

    strip = encode = isascii = upper = __len__ = __str__ = __repr__ = __hash__ = __eq__ = __iter__ = _raise


def test_an_object_whose_methods_raise_is_still_answered():
    assert ZONES.of(Hostile("19137")).zone == "America/New_York"
    assert ZONES.of("19137", Hostile("US")).zone == "America/New_York"
    assert ZONES.of(type("Liar", (), {"__class__": property(Hostile._raise)})()).reason is NoZone.NOT_TEXT


@pytest.mark.parametrize("prefix", [*range(90, 100), 340, *range(962, 967)])
def test_military_mail_has_no_zone_not_even_where_no_office_is_known(prefix):
    assert all(is_military(f"{prefix:03}{suffix:02}") for suffix in range(100))
    assert ZONES.of(f"{prefix:03}00").reason is NoZone.MILITARY_MAIL


def test_the_neighbours_of_military_mail_are_not_military():
    assert not any(
        is_military(zip_code) for zip_code in ("08999", "10001", "33999", "34101", "96199", "96701", "90210")
    )


@pytest.mark.parametrize(
    "country",
    [None, "", "  ", "US", "us", " usa ", "U.S.A.", "United States", "UNITED  STATES OF AMERICA", "840", "PR"]
    + ["Puerto Rico", "GU", "guam", "VI", "U.S. Virgin Islands", "Virgin Islands (U.S.)", "AS", "American Samoa"]
    + ["MP", "Northern Mariana Islands", "UM", "usvi"],
)
def test_the_us_and_its_territories_use_us_zips(country):
    assert uses_us_zips(country)
    assert ZONES.of("96910", country).zone == "Pacific/Guam"


@pytest.mark.parametrize(
    "country",
    [
        "DE",
        "Germany",
        "Mexico",
        "CA",
        "Canada",
        "MX",
        "British Virgin Islands",
        "VG",
        "Untied States",
        "uſa",
        "ＵＳ",
        "x",
    ]
    + ["United States Virgin", 840, True, b"US", [], "US" * 1000, "FM", "Palau"],
)
def test_a_zip_of_another_country_has_no_zone(country):
    """12345 is a postal code of Germany and Mexico too."""
    assert ZONES.of("12345", country).reason is NoZone.FOREIGN
    assert ZONES.of("12345", country).zone is None
