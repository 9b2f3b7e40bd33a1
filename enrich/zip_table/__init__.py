"""The packaged table from zip code to time zone: what `build.py` wrote, made ready to ask.

`zip_zones.txt` is text, so that a change of the table can be reviewed line by line; PROVENANCE.json says what it was
made from, ATTRIBUTIONS.md whom it owes. Lines, in order:

    zone 21 America/New_York             the zones, numbered from 1
    010 7dffedfcffdfff97ffbbff800 21     zips 01000 to 01099: which exist (a bit each, the first leftmost), their zone
    479 00...ff 21 7@22 21@23            the same, zone 7 from 47922 on, zone 21 again from 47923 on
    doubt 37347 straddles 21 0.052       a zip that is not exact: quality, other zone, share of homes there (- unknown)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib import resources
from itertools import pairwise
from typing import Final

from enrich.zip_answer import Quality, ZipAnswer

_FILE: Final = "zip_zones.txt"
_ZIPS: Final = 100_000
_ZIPS_A_LINE: Final = 100
_HEX_DIGITS: Final = _ZIPS_A_LINE // 4
_VERSION_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class ZipTable:
    """For each five-digit number the number of its zone (0: no such zip), and the doubtful zips apart."""

    version: str
    """The first 12 hex digits of the SHA-256 of the data file."""
    zones: tuple[str, ...]
    _exact: tuple[ZipAnswer | None, ...] = field(repr=False)
    _numbers: bytes = field(repr=False)
    _doubtful: dict[str, ZipAnswer] = field(repr=False)

    def look_up(self, digits: str) -> ZipAnswer | None:
        """The answer for five ASCII digits, None where no such zip is known."""
        return self._doubtful.get(digits) or self._exact[self._numbers[int(digits)]]

    def zips(self) -> list[str]:
        """Every zip the table knows, in order."""
        return [f"{zip_code:05}" for zip_code, number in enumerate(self._numbers) if number]


@cache
def load_table() -> ZipTable:
    """Read the packaged table, once."""
    return parse_table(resources.files(__name__).joinpath(_FILE).read_bytes())


def parse_table(data: bytes) -> ZipTable:
    """Read a table from the bytes of its file: the form is that of the module's docstring."""
    zones = [""]
    existing = ["0" * _HEX_DIGITS] * (_ZIPS // _ZIPS_A_LINE)
    runs = [(0, 0)]  # from which zip on, the number of the zone
    doubts: list[list[str]] = []
    for line in data.decode("ascii").splitlines():
        first, *words = line.split(" ")
        if first == "zone":
            zones.append(words[1])
        elif first == "doubt":
            doubts.append(words)
        else:
            prefix = int(first)
            existing[prefix] = words[0]
            for run in words[1:]:
                number, _, place = run.partition("@")
                runs.append((prefix * _ZIPS_A_LINE + int(place or 0), int(number)))
    numbers = _numbers("".join(existing), runs, len(zones))
    doubtful = {
        digits: ZipAnswer(
            zone=zones[numbers[int(digits)]],
            quality=Quality(quality),
            other_zone=zones[int(other)],
            other_share=None if share == "-" else float(share),
        )
        for digits, quality, other, share in doubts
    }
    exact = (None, *(ZipAnswer(zone, Quality.EXACT) for zone in zones[1:]))
    return ZipTable(sha256(data).hexdigest()[:_VERSION_DIGITS], tuple(zones[1:]), exact, numbers, doubtful)


def _numbers(existing: str, runs: list[tuple[int, int]], zone_count: int) -> bytes:
    """A byte a zip: the number of its run's zone where its bit is set, else 0."""
    bits = f"{int(existing, 16):0{_ZIPS}b}".encode()
    tables = [bytes.maketrans(b"01", bytes([0, number])) for number in range(zone_count)]
    ends = pairwise([*runs, (_ZIPS, 0)])
    return b"".join(bits[start:end].translate(tables[number]) for (start, number), (end, _) in ends)
