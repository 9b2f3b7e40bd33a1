"""What a zone's clocks say at an instant, from the packaged tzdata and nothing else.

`zoneinfo` prefers the machine's own files to the `tzdata` package, so two machines may answer differently. Here the
packaged TZif files are read directly, and `tzdb_version()` names the edition that every answer comes from. A zone
becomes a sorted list of the instants at which its offset changes; an answer is one bisection.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta
from functools import cache
from importlib import import_module, resources
from typing import Final

from enrich.tzif import PosixRule, read_tzif

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_YEAR: Final = 2037  # to its end a rule's changes are listed; later ones are worked out when asked for


class UnknownZoneError(LookupError):
    """The packaged tzdata has no zone of that name."""


@dataclass(frozen=True, slots=True)
class Clock:
    """The offsets of one zone: `offsets[i]` holds from `changes[i - 1]` until `changes[i]`.

    `rule` goes on for ever after the last of `changes`; where it is None, the last offset stays.
    """

    changes: tuple[datetime, ...]
    offsets: tuple[int, ...]
    rule: PosixRule | None


def offset_s(zone: str, at: datetime) -> int:
    """Seconds east of UTC that clocks in `zone` say at the instant `at`, exact for every aware datetime.

    Raises UnknownZoneError for a name that the packaged tzdata does not know, ValueError for a naive datetime.
    """
    if at.tzinfo is not UTC:
        at = _in_utc(at)
    asked = _ASKED.get(zone)
    if asked is not None and asked[0] <= at < asked[1]:
        return asked[2]
    clock = _CLOCKS[zone]
    following = bisect_right(clock.changes, at)
    if following == len(clock.changes):
        return clock.offsets[following] if clock.rule is None else _ruled_offset_s(clock.rule, at)
    offset = clock.offsets[following]
    if following > 0:
        _ASKED[zone] = clock.changes[following - 1], clock.changes[following], offset
    return offset


def next_change(zone: str, at: datetime) -> tuple[datetime, int] | None:
    """The first instant after `at` (UTC) at which the offset of `zone` changes, with the new offset; None if never."""
    at = _in_utc(at)
    clock = _CLOCKS[zone]
    following = bisect_right(clock.changes, at)
    if following < len(clock.changes):
        return clock.changes[following], clock.offsets[following + 1]
    if clock.rule is None:
        return None
    ruled = [change for year in (at.year, at.year + 1) if year <= MAXYEAR for change in _ruled(clock.rule, year)]
    return min([change for change in ruled if change[0] > at], default=None)


def is_zone(name: object) -> bool:
    """Whether the packaged tzdata knows a zone of exactly that name."""
    return isinstance(name, str) and name in _zone_names()


def tzdb_version() -> str:
    """The edition of the tz database that answers come from, such as `2026f`: a parameter of the law."""
    return str(import_module("tzdata").IANA_VERSION)


def clock_of(zone: str) -> Clock:
    """All changes of one zone, read from its file at the first call; UnknownZoneError for a name that is none."""
    return _CLOCKS[zone]


class _Clocks(dict[str, Clock]):
    """Each zone asked for so far: a dict's own look-up is the quickest cache there is."""

    def __missing__(self, zone: str) -> Clock:
        if not is_zone(zone):
            raise UnknownZoneError(f"tzdata {tzdb_version()} has no zone of that name")
        self[zone] = clock = _read(zone)
        return clock


_CLOCKS: Final = _Clocks()
_ASKED: Final = dict[str, tuple[datetime, datetime, int]]()
"""Of each zone what was asked of last: two changes, and the offset between them. Most readings are of one season."""


def _read(zone: str) -> Clock:
    tzif = read_tzif(resources.files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes())
    transitions = [(_EPOCH + timedelta(seconds=instant), offset) for instant, offset in tzif.transitions]
    if tzif.rule is not None:
        last = transitions[-1][0] if transitions else _EPOCH
        ruled = [change for year in range(last.year, _LAST_YEAR + 1) for change in _ruled(tzif.rule, year)]
        transitions += [change for change in ruled if change[0] > last]
    changes: list[datetime] = []
    offsets = [tzif.first_offset_s]
    for instant, offset in transitions:
        if offset != offsets[-1]:  # a change of name or of law alone moves no clock
            changes.append(instant)
            offsets.append(offset)
    return Clock(tuple(changes), tuple(offsets), tzif.rule)


def _in_utc(at: datetime) -> datetime:
    """The same instant in UTC, which compares ten times as fast with the changes."""
    if at.tzinfo is None:
        raise ValueError("an offset holds at an instant: the datetime must be aware")
    try:
        return at.astimezone(UTC)
    except OverflowError:  # the first or last day that there is: it compares as it stands
        return at


def _ruled(rule: PosixRule, year: int) -> list[tuple[datetime, int]]:
    return [(_EPOCH + timedelta(seconds=instant), offset) for instant, offset in rule.changes(year)]


def _ruled_offset_s(rule: PosixRule, at: datetime) -> int:
    """The offset after the last change at or before `at`: one of its own year or the one before."""
    return max(change for year in (at.year - 1, at.year) for change in _ruled(rule, year) if change[0] <= at)[1]


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(resources.files("tzdata").joinpath("zones").read_text("ascii").split())
