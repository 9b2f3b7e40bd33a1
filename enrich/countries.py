"""Which countries use US zip codes: what senders write for the United States and its territories."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_LONGEST: Final = 64

# ISO 3166-1 codes of two and three letters and digits, USPS and everyday names; compared without case, points, blanks.
_UNITED_STATES: Final = """
US USA 840 UnitedStates UnitedStatesOfAmerica TheUnitedStates TheUnitedStatesOfAmerica UnitedStatesUSA America
PR PRI 630 PuertoRico CommonwealthOfPuertoRico
GU GUM 316 Guam
VI VIR 850 USVI VirginIslands USVirginIslands UnitedStatesVirginIslands VirginIslandsUS VirginIslandsOfTheUnitedStates
AS ASM 016 AmericanSamoa
MP MNP 580 CNMI NorthernMarianaIslands NorthernMarianas CommonwealthOfTheNorthernMarianaIslands
UM UMI 581 UnitedStatesMinorOutlyingIslands USMinorOutlyingIslands
"""
_KEYS: Final = frozenset(name.upper() for name in _UNITED_STATES.split())
_BETWEEN_LETTERS: Final = re.compile(r"[\s.,()_-]+")


def uses_us_zips(country: object) -> bool:
    """Whether `country` names the US or a territory; nothing said is taken for the US. Never raises."""
    if country is None:
        return True
    if not issubclass(type(country), str):
        return False
    text = str.__str__(country)  # whatever a subclass may do to its methods
    return len(text) <= _LONGEST and _names_us(text)


@lru_cache(maxsize=256)
def _names_us(country: str) -> bool:
    if not country.strip(" \t\r\n"):
        return True
    return country.isascii() and _BETWEEN_LETTERS.sub("", country).upper() in _KEYS
