"""What support staff ask about a zip code, and what a program asks about many.

readings zone 19137                          zone, offset, how sure, the next change of offset, in words
readings zone 19137 --at 2024-07-04T00:00:00Z --json
readings zone - --json                       CSV lines `zip,instant` in, one JSON object a line out
readings uszipcode zips.sqlite               the zip table as a database that uszipcode reads
"""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final, TextIO

import typer
from pydantic import TypeAdapter, ValidationError

from enrich.uszipcode_zones import write_uszipcode_database
from enrich.zones import NoZone, Quality, ZipAnswer, Zones, next_change, offset_s, tzdb_version
from schemas.wire import Instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

DONE, FAILED, WRONG_USAGE = 0, 1, 2

_INSTANT: Final = TypeAdapter[datetime](Instant)
_HEADER: Final = "zip,instant"
_COLUMNS: Final = 2

NO_ZONE_WORDS: Final[dict[NoZone, str]] = {
    NoZone.BLANK: "no zip code was given",
    NoZone.NOT_TEXT: "the zip code was not sent as text",
    NoZone.PREFIX_ONLY: "three digits are only the beginning of a zip code, which covers several time zones",
    NoZone.NOT_A_ZIP: "this is not the form of a US zip code (five digits, or nine with or without a hyphen)",
    NoZone.FOREIGN: "the country is neither the US nor one of its territories",
    NoZone.MILITARY_MAIL: "military and diplomatic mail (APO, FPO, DPO): the addressee may be anywhere in the world",
    NoZone.UNKNOWN_ZIP: "no such zip code is known",
    NoZone.UNKNOWN_ZONE: "the zip code is known, but no time zone is named for it",
}
"""Why there is no time zone, for people."""


def show_zone(zip_code: str, *, at: str | None, country: str | None, as_json: bool, zones: Zones) -> int:
    """Say what is known of one zip code at an instant (RFC 3339; now, when none is given); gives the exit code."""
    try:
        instant = datetime.now(UTC).replace(microsecond=0) if at is None else _INSTANT.validate_python(at)
    except ValidationError:
        _complain("readings zone: --at must be a time of RFC 3339 with seconds and zone: 2026-03-08T07:00:00Z")
        return WRONG_USAGE
    answer = zones.of(zip_code, country)
    if as_json:
        typer.echo(json.dumps(_in_full(zip_code, answer, instant, zones)))
    else:
        typer.echo("\n".join(in_words(zip_code, answer, at=instant)))
        typer.echo(f"from         zip table {zones.version}, tzdb {tzdb_version()}")
    return DONE


def answer_stream(lines: Iterable[bytes], out: TextIO, *, zones: Zones) -> int:
    """Answer each CSV line `zip,instant` with one line of JSON; a bad line with an `error`, and go on."""
    for answer in answers(lines, zones=zones):
        out.write(json.dumps(answer) + "\n")
        out.flush()
    return DONE


def answers(lines: Iterable[bytes], *, zones: Zones) -> Iterator[dict[str, object]]:
    """One object a line: `zip` as given, `zone`, `offset_s`, `quality`, and `reason` when none; or `error` and `line`.

    An error says what rule the line broke and never what it held. A first line `zip,instant` is a header.
    """
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            if number == 1 and text == _HEADER:
                continue
            zip_code, instant = _columns(text)
            at = _INSTANT.validate_python(instant.strip(" "))
        except UnicodeDecodeError:
            yield {"error": "not UTF-8", "line": number}
        except csv.Error:
            yield {"error": "not a line of CSV", "line": number}
        except ValidationError:
            yield {"error": "the instant must be a time of RFC 3339 with seconds and zone", "line": number}
        except ValueError:
            yield {"error": "must have two columns: zip,instant", "line": number}
        else:
            yield _in_short(zip_code, zones.of(zip_code), at)


def in_words(zip_code: str, answer: ZipAnswer, *, at: datetime) -> list[str]:
    """The answer as a person would say it: a label and a sentence a line."""
    if answer.zone is None:
        why = NO_ZONE_WORDS[answer.reason] if answer.reason else ""
        return [f"zip code     {zip_code.strip()}", f"time zone    none: {why}"]
    offset = offset_s(answer.zone, at)
    lines = [
        f"zip code     {zip_code.strip()}" + (" (read as 0" + zip_code.strip() + ")" if answer.lost_zero else ""),
        f"time zone    {answer.zone}",
        f"offset       {_utc(offset)} ({offset} s) at {_rfc3339(at)}: clocks there say {_local(at, offset)}",
        f"how sure     {answer.quality.value}: {_how_sure(answer)}",
    ]
    change = next_change(answer.zone, at)
    if change is None:
        return [*lines, "next change  none: clocks there stay as they are"]
    when, then = change
    way = "forward" if then > offset else "back"
    from_to = f"from {_local(when, offset)} to {_local(when, then)}"
    return [*lines, f"next change  {_rfc3339(when)}: clocks go {way} {from_to}, {_utc(then)}"]


def write_uszipcode(path: Path) -> int:
    """Write the zip table as a new database of uszipcode's schema, and say so; gives the exit code."""
    try:
        count = write_uszipcode_database(path)
    except FileExistsError:
        _complain("readings uszipcode: the file exists; nothing was written")
        return FAILED
    except OSError as error:
        _complain(f"readings uszipcode: the file cannot be written: {error.strerror}")
        return FAILED
    typer.echo(f"{count} zip codes written to {path}")
    return DONE


def _columns(line: str) -> list[str]:
    row = next(csv.reader([line], strict=True), [])
    if len(row) != _COLUMNS:
        raise ValueError("wrong number of columns")
    return row


def _in_short(zip_code: str, answer: ZipAnswer, at: datetime) -> dict[str, object]:
    said: dict[str, object] = {
        "zip": zip_code,
        "zone": answer.zone,
        "offset_s": None if answer.zone is None else offset_s(answer.zone, at),
        "quality": answer.quality.value,
    }
    return said if answer.reason is None else said | {"reason": answer.reason.value}


def _in_full(zip_code: str, answer: ZipAnswer, at: datetime, zones: Zones) -> dict[str, object]:
    change = None if answer.zone is None else next_change(answer.zone, at)
    return _in_short(zip_code, answer, at) | {
        "at": _rfc3339(at),
        "lost_zero": answer.lost_zero,
        "other_zone": answer.other_zone,
        "other_share": answer.other_share,
        "next_change": None if change is None else {"at": _rfc3339(change[0]), "offset_s": change[1]},
        "zip_table": zones.version,
        "tzdb": tzdb_version(),
    }


def _how_sure(answer: ZipAnswer) -> str:
    match answer.quality:
        case Quality.STRADDLES if answer.other_share is not None:
            return f"a boundary runs through it; about {answer.other_share:.0%} of its homes are in {answer.other_zone}"
        case Quality.STRADDLES:
            return f"a boundary runs through it or close by; a part of it may be in {answer.other_zone}"
        case Quality.CONTESTED:
            return f"this is what clocks there say; the law says {answer.other_zone}"
        case _:
            return "all of it keeps this time"


def _utc(offset: int) -> str:
    sign = "-" if offset < 0 else "+"
    hours, minutes = divmod(abs(offset) // 60, 60)
    return f"UTC{sign}{hours:02}:{minutes:02}"


def _local(at: datetime, offset: int) -> str:
    try:
        return at.astimezone(timezone(timedelta(seconds=offset))).strftime("%a %d %b %Y %H:%M:%S")
    except OverflowError:
        return "a time beyond the calendar"


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _complain(line: str) -> None:
    typer.echo(line, err=True)
