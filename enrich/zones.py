"""From a patient's zip code to what the clocks there say: the door to zones, zip table and offsets.

    zones = table_zones()
    answer = zones.of("19137-1234")
    offset = offset_s(answer.zone, at) if answer.zone else None

Pure: no clock, no network; the only files read are the packaged zip table and the packaged tzdata.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from enrich.countries import uses_us_zips
from enrich.offsets import UnknownZoneError, is_zone, next_change, offset_s, tzdb_version
from enrich.zip_answer import Quality, ZipAnswer, no_zone
from enrich.zip_code import NoZone, ZipCode, is_military, read_zip
from enrich.zip_table import load_table

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "NoZone",
    "Quality",
    "StrictZones",
    "UnknownZoneError",
    "ZipAnswer",
    "Zones",
    "is_zone",
    "next_change",
    "offset_s",
    "table_zones",
    "tzdb_version",
]

_REMEMBERED: Final = 65_536  # more than there are zip codes; each writing of one counts
_LONGEST_REMEMBERED: Final = 16


class Zones(Protocol):
    """What judging a reading asks of zip codes."""

    version: str
    """Identifies every answer this source gives: a parameter of the law."""

    def of(self, zip_code: object, country: object = None) -> ZipAnswer:
        """The zone of a zip code as it was sent, or none and why. Never raises, whatever the objects."""
        ...


class StrictZones:
    """Zones of any source that knows zip codes by their five digits: it is asked for nothing that is not one."""

    def __init__(self, version: str, look_up: Callable[[str], ZipAnswer | None]) -> None:
        self.version = version
        self._look_up = look_up
        self._remembered = lru_cache(maxsize=_REMEMBERED)(self._answer)

    def of(self, zip_code: object, country: object = None) -> ZipAnswer:
        """See Zones. A country other than the US and its territories has no zone, whatever the zip."""
        if country is not None and not uses_us_zips(country):
            return no_zone(NoZone.FOREIGN)
        if type(zip_code) is str and len(zip_code) <= _LONGEST_REMEMBERED:
            return self._remembered(zip_code)
        return self._answer(zip_code)

    def _answer(self, zip_code: object) -> ZipAnswer:
        match read_zip(zip_code):
            case NoZone() as reason:
                return no_zone(reason)
            case ZipCode(digits, lost_zero):
                if is_military(digits):
                    answer = no_zone(NoZone.MILITARY_MAIL)
                else:
                    answer = self._look_up(digits) or no_zone(NoZone.UNKNOWN_ZIP)
                return replace(answer, lost_zero=True) if lost_zero else answer


@cache
def table_zones() -> Zones:
    """The zones of the packaged zip table, loaded at the first call."""
    table = load_table()
    return StrictZones(table.version, table.look_up)
