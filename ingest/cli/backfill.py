"""`readings backfill`: archived readings, stored as if they had come live."""

import asyncio
import json
from collections import Counter
from datetime import datetime
from typing import Annotated, Any, Final

import typer
from pydantic import TypeAdapter, ValidationError

from ingest.archive_choice import Choice
from ingest.archive_paths import files_of
from ingest.backfill import Outcome, Step
from ingest.backfill_run import Report, backfill
from ingest.change import READING
from ingest.cli.signals import stop_on_signals
from ingest.logs import set_up_logs
from ingest.settings import load
from ingest.zip_zones import zones_of
from schemas.wire import Instant

_FAILED: Final = 1
_INSTANT: Final = TypeAdapter[datetime](Instant)


def _instant(text: str) -> datetime:
    try:
        return _INSTANT.validate_python(text)
    except ValidationError:
        raise typer.BadParameter("must be RFC 3339, with seconds and zone, as 2026-07-01T12:00:00Z") from None


def backfill_paths(  # noqa: PLR0917 - the command line names them
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders (all in them), or patterns.")],
    since: Annotated[
        datetime | None, typer.Option(parser=_instant, metavar="T", help="Only readings taken at T or later.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=_instant, metavar="T", help="Only readings taken before T.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N records that are not there yet.")
    ] = None,
    accept_bad_input: Annotated[
        bool, typer.Option("--accept-bad-input", help="Go on however much of the input is unreadable.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object at the end, instead of a table.")] = False,
) -> None:
    """Store archived readings as if they had come live: the same judgement, the same tables, each once.

    An archive is known by its content: given again, under whatever name, it stores nothing, and a run that was
    interrupted goes on where it stood. Files are NDJSON, a JSON array or CSV, plain or packed with gzip or Zstandard,
    or Parquet, told apart by content. A line is the platform's envelope with an optional `receivedAt` (RFC 3339).

    Exit 0 when all is stored, 1 when a file could not be read (it is named, the others go on) or the line stops for
    input that is malformed or invalid nearly throughout, 130 when interrupted.
    """
    settings = load()
    set_up_logs(settings.log_format, settings.log_level)
    zones = zones_of(settings.uszipcode_database)

    def tell(_step: Step) -> None:
        pass

    async def pace(_records: int) -> None:
        pass

    async def run() -> tuple[Report, int]:
        stop = asyncio.Event()
        code = stop_on_signals(stop)
        choice = Choice(since=since, until=until, limit=limit)
        report = await backfill(
            files_of(paths),
            settings,
            zones,
            choice=choice,
            stop=stop,
            tell=tell,
            pace=pace,
            accept_bad_input=accept_bad_input,
        )
        return report, code()

    report, code = asyncio.run(run())
    for outcome in report.outcomes:
        if outcome.error is not None:
            typer.echo(f"readings: {outcome.path}: {outcome.error}", err=True)
    typer.echo(json.dumps(_as_json(report)) if as_json else "\n".join(_in_words(report)))
    if report.ended_by is not None:
        raise report.ended_by
    if code == 0 and any(outcome.error is not None for outcome in report.outcomes):
        code = _FAILED
    raise typer.Exit(code)


def _in_words(report: Report) -> list[str]:
    """A line a file, a line a reason, and what it comes to."""
    outcomes = report.outcomes
    rows: list[tuple[str, ...]] = [("file", "readings", "set aside", "already there", "left out")]
    rows += [(str(one.path), *map(str, _counts(one))) for one in outcomes if one.error is None]
    totals = [sum(numbers) for numbers in zip(*map(_counts, outcomes), strict=True)] or [0, 0, 0, 0]
    if len(outcomes) != 1:
        rows.append(("all", *map(str, totals)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([name.ljust(widths[0]), *(n.rjust(w) for n, w in zip(numbers, widths[1:], strict=True))])
        for name, *numbers in rows
    ]
    reasons = sum((one.set_aside for one in outcomes), Counter[str]())
    lines += [f"  {reason}  {count}" for reason, count in reasons.most_common()]
    if outcomes and not any(one.records for one in outcomes) and all(one.error is None for one in outcomes):
        lines.append("nothing new" + (": all of it is there already" if totals[2] else ""))
    if report.ended_by is None and not report.corrected:
        lines.append("interrupted: the same command goes on where it stood")
    return lines


def _counts(one: Outcome) -> tuple[int, int, int, int]:
    return one.readings, one.set_aside.total(), one.already_there, one.left_out


def _as_json(report: Report) -> dict[str, Any]:
    outcomes = report.outcomes
    became = sum((one.became for one in outcomes), Counter[str]())
    return {
        "files": [
            {"file": str(one.path), "error": one.error}
            if one.error is not None and not one.records
            else {
                "file": str(one.path),
                "source": one.source,
                "readings": one.readings,
                "rejected": dict(one.set_aside),
                "already_there": one.already_there,
                "left_out": one.left_out,
                "error": one.error,
            }
            for one in outcomes
        ],
        "readings": became[READING],
        "rejected": {reason: count for reason, count in became.items() if reason != READING and count},
        "already_there": sum(one.already_there for one in outcomes),
        "left_out": sum(one.left_out for one in outcomes),
        "unreadable": sum(one.error is not None for one in outcomes),
        "corrections_pending": not report.corrected,
    }
