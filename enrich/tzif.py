"""Reading one TZif file (RFC 8536): the offsets it lists, and the rule it ends with for every year to come."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Self

_HEADER: Final = struct.Struct(">4sc15x6I")
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_DAY_S: Final = 86_400
_NAME = r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]+>)"
_TIME = r"[+-]?\d{1,3}(?::\d\d){0,2}"
_DAY = rf"M(\d+)\.(\d)\.(\d)(?:/({_TIME}))?"
_RULE: Final = re.compile(rf"{_NAME}({_TIME}){_NAME}({_TIME})?,{_DAY},{_DAY}")


@dataclass(frozen=True, slots=True)
class TZif:
    """`transitions` are (POSIX seconds, seconds east of UTC from then on), in order; `first_offset_s` holds before."""

    first_offset_s: int
    transitions: tuple[tuple[int, int], ...]
    rule: PosixRule | None


@dataclass(frozen=True, slots=True)
class PosixRule:
    """Two changes a year: to `summer_s` on the day `begins`, back to `standard_s` on the day `ends`.

    Seconds east of UTC. "Summer" is whatever the rule names second: in Europe/Dublin it is winter, an hour behind.
    """

    standard_s: int
    summer_s: int
    begins: _ChangeDay
    ends: _ChangeDay

    @classmethod
    def parse(cls, footer: str) -> Self:
        """Read such as `EST5EDT,M3.2.0,M11.1.0`; ValueError for the forms that no zone of the tz database uses."""
        found = _RULE.fullmatch(footer)
        if found is None:
            raise ValueError("a TZif footer of a form that is not read here")
        standard, summer, *days = found.groups()
        standard_s = -_seconds(standard)
        summer_s = -_seconds(summer) if summer else standard_s + 3600
        return cls(standard_s, summer_s, _ChangeDay.of(*days[:4]), _ChangeDay.of(*days[4:]))

    def changes(self, year: int) -> list[tuple[int, int]]:
        """The year's two changes, in order: POSIX seconds and the offset from then on."""
        begins = self.begins.wall_clock_s(year) - self.standard_s, self.summer_s
        ends = self.ends.wall_clock_s(year) - self.summer_s, self.standard_s
        return sorted([begins, ends])


@dataclass(frozen=True, slots=True)
class _ChangeDay:
    """A weekday of a month (0 is Sunday; week 5 is the last), and the seconds after its midnight on the wall clock."""

    month: int
    week: int
    weekday: int
    after_midnight_s: int

    @classmethod
    def of(cls, month: str, week: str, weekday: str, time: str | None) -> Self:
        return cls(int(month), int(week), int(weekday), _seconds(time or "2"))

    def wall_clock_s(self, year: int) -> int:
        """Seconds from 1970-01-01T00:00 to the change, both on the wall clock."""
        first = date(year, self.month, 1)
        day = first + timedelta(days=(self.weekday - first.isoweekday()) % 7, weeks=self.week - 1)
        if day.month != self.month:
            day -= timedelta(weeks=1)
        return (day.toordinal() - _EPOCH_DAY) * _DAY_S + self.after_midnight_s


def read_tzif(data: bytes) -> TZif:
    """The 64-bit part of a file of version 2 or later; ValueError for anything else."""
    magic, version, *first_counts = _HEADER.unpack_from(data)
    if magic != b"TZif" or version < b"2":
        raise ValueError("not a TZif file of version 2 or later")
    at = _HEADER.size + _body_size(first_counts, time_size=4)  # the 32-bit part, kept for readers of old
    _, _, *counts = _HEADER.unpack_from(data, at)
    at += _HEADER.size
    _, _, _, time_count, type_count, _ = counts
    instants = struct.unpack_from(f">{time_count}q", data, at)
    type_indices = data[at + 8 * time_count :][:time_count]
    types_at = at + 9 * time_count
    offsets = [offset for (offset,) in struct.iter_unpack(">i2x", data[types_at : types_at + 6 * type_count])]
    footer = data[at + _body_size(counts, time_size=8) :].strip(b"\n").decode("ascii")
    transitions = tuple((instant, offsets[index]) for instant, index in zip(instants, type_indices, strict=True))
    return TZif(offsets[0], transitions, PosixRule.parse(footer) if "," in footer else None)


def _body_size(counts: list[int], *, time_size: int) -> int:
    utc_count, standard_count, leap_count, time_count, type_count, char_count = counts
    times = time_count * (time_size + 1) + leap_count * (time_size + 4)
    return times + type_count * 6 + char_count + standard_count + utc_count


def _seconds(time: str) -> int:
    sign = -1 if time.startswith("-") else 1
    return sign * sum(int(part) * unit for part, unit in zip(time.strip("+-").split(":"), (3600, 60, 1), strict=False))
