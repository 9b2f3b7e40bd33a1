"""Which five digits a patient's zip code means: strict ASCII in, five digits or a reason out, never an exception."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_FORMS: Final = re.compile(r"(?P<zip>[0-9]{5})(?:[- ]?[0-9]{4})?|(?P<lost_zero>[0-9]{4})")
_BLANKS: Final = " \t\r\n"
_LONGEST: Final = 64  # room for blanks; what is longer is no zip and is not searched


class NoZone(StrEnum):
    """Why a zip code has no time zone: one sentence a reason."""

    BLANK = "blank"
    """No zip code was given."""
    NOT_TEXT = "not_text"
    """The zip code is not a string: a number has lost its leading zeros, and what else it lost nobody knows."""
    PREFIX_ONLY = "prefix_only"
    """Three digits: a prefix, such as de-identified records keep, covers several zones."""
    NOT_A_ZIP = "not_a_zip"
    """Not the form of a US zip code: letters, another length, other digits than ASCII."""
    FOREIGN = "foreign_country"
    """The country is neither the US nor one of its territories."""
    MILITARY_MAIL = "military_mail"
    """APO, FPO or DPO: the addressee may be anywhere in the world."""
    UNKNOWN_ZIP = "unknown_zip"
    """Well formed, but the source knows no such zip code."""
    UNKNOWN_ZONE = "unknown_zone"
    """The source knows the zip code, but names no time zone for it that exists."""


@dataclass(frozen=True, slots=True, repr=False)
class ZipCode:
    """Five ASCII digits, and whether the leading one was lost on the way and put back."""

    digits: str
    lost_zero: bool = False


def read_zip(given: object) -> ZipCode | NoZone:
    """The zip code meant by `19137`, `19137-1234`, `19137 1234`, `191371234` or `1801` (01801), with blanks around.

    Nothing is guessed: `int` and `zfill` would make zip codes of Arabic digits, `1_801` and `-01801`.
    """
    if given is None:
        return NoZone.BLANK
    if not issubclass(type(given), str):
        return NoZone.NOT_TEXT
    text = str.strip(given, _BLANKS)  # type: ignore[arg-type]
    if not text:
        return NoZone.BLANK
    if len(text) > _LONGEST or not (form := _FORMS.fullmatch(text)):
        return NoZone.PREFIX_ONLY if re.fullmatch("[0-9]{3}", text) else NoZone.NOT_A_ZIP
    if lost_zero := form["lost_zero"]:
        return ZipCode("0" + lost_zero, lost_zero=True)
    return ZipCode(form["zip"])


def is_military(digits: str) -> bool:
    """Whether the zip is military or diplomatic mail: Europe 090 to 099, the Americas 340, the Pacific 962 to 966."""
    prefix = digits[:3]
    return prefix.startswith("09") or prefix == "340" or "962" <= prefix <= "966"
