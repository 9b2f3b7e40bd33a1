"""`readings backfill`: archived readings, stored as if they had come live."""

import asyncio
import json
from collections import Counter
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from ingest.archive_paths import files_of
from ingest.backfill import Outcome
from ingest.backfill_run import Manner, Report, backfill, settle
from ingest.backfill_workers import backfill_in_processes
from ingest.change import READING
from ingest.cli.backfill_progress import shown
from ingest.cli.instant import instant
from ingest.cli.signals import stop_on_signals
from ingest.logs import set_up_logs
from ingest.settings import load
from ingest.zip_zones import zones_of

_FAILED: Final = 1


def backfill_paths(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, folders (all in them), or patterns.")],
    since: Annotated[
        datetime | None, typer.Option(parser=instant, metavar="T", help="Only readings taken at T or later.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=instant, metavar="T", help="Only readings taken before T.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N records that are not there yet.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Judge all of it, rule 9 included, and write nothing.")
    ] = False,
    to_topic: Annotated[
        bool,
        typer.Option("--to-topic", help="Publish to READINGS_BACKFILL_TOPIC, for readings consume to store it."),
    ] = False,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Processes, a file each at a time; give it your cores.")
    ] = 1,
    rate: Annotated[
        float | None, typer.Option(metavar="N", min=0.1, help="No more than N records a second, all together.")
    ] = None,
    yield_to_live: Annotated[
        bool,
        typer.Option("--yield-to-live", help="Pause while live consumers have more than a batch of records to store."),
    ] = False,
    accept_bad_input: Annotated[
        bool, typer.Option("--accept-bad-input", help="Go on however much of the input is unreadable.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object at the end, instead of a table.")] = False,
) -> None:
    """Store archived readings as if they had come live: the same judgement, the same tables, each once.

    PATH is a file, a folder, a pattern, or any of these in object storage (s3://, gs://, az://; extra `cloud`). A file
    is NDJSON, a JSON array or CSV, plain or packed with gzip or Zstandard, or Parquet (extra `parquet`), told apart by
    its content. Each record is the platform's envelope with an optional receivedAt (RFC 3339): when it was received.

    CSV and Parquet have either one column envelope (or value) and optionally receivedAt (or received_at); or flat
    columns: type, receivedAt, and the payload's fields by their names: readingTimestamp, deviceId, systolic and so on.

    An archive is known by its content. Given again, under whatever name, it stores nothing; a run that was interrupted,
    even by kill -9, goes on where it stood. What --since and --until leave out is not stored and not set aside: it is
    noted as a gap, and taken by a later run that asks for it. --dry-run and --limit use one process.

    With --to-topic what is not stored yet is published to READINGS_BACKFILL_TOPIC, and every readings consume that has
    this setting takes its share: the same rows in the end. Published again, a record is counted as repeated.

    Exit 0 when all is stored or published, 1 when a file could not be read (it is named, the others go on) or when the
    input is malformed or invalid nearly throughout, 130 when interrupted.
    """
    settings = load()
    set_up_logs(settings.log_format, settings.log_level)
    zones = zones_of(settings.uszipcode_database)
    files = files_of(paths)
    at_once = 1 if dry_run or limit is not None else min(workers, max(1, len(files)))
    share = None if rate is None else rate / at_once
    manner = Manner(since, until, limit, share, yield_to_live, accept_bad_input, dry_run, to_topic)
    publishing = to_topic and not dry_run
    if share is not None:
        settings = settings.model_copy(update={"batch_records": max(1, min(settings.batch_records, int(share)))})

    async def run() -> tuple[Report, bool, int]:
        stop = asyncio.Event()
        code = stop_on_signals(stop)
        with shown(files, publishing=publishing) as tell:
            if at_once == 1:
                report = await backfill(files, settings, zones, manner=manner, stop=stop, tell=tell)
            else:
                report = await backfill_in_processes(
                    files, settings, workers=at_once, manner=manner, stop=stop, tell=tell
                )
        settled = dry_run or publishing or (report.ended_by is None and await settle(settings, zones, stop=stop))
        return report, settled, code()

    report, settled, code = asyncio.run(run())
    for outcome in report.outcomes:
        if outcome.error is not None:
            typer.echo(f"readings: {outcome.file}: {outcome.error}", err=True)
    if as_json:
        said = _as_json(report, publishing=publishing)
        typer.echo(json.dumps(said | {"dry_run": dry_run, "settled": settled and code == 0}))
    else:
        topic = settings.backfill_topic if publishing else None
        whole = report.ended_by is None and not code
        typer.echo("\n".join(_in_words(report, dry_run=dry_run, topic=topic, whole=whole, limit=limit)))
    if report.ended_by is not None:
        raise report.ended_by
    if code:
        typer.echo("readings: interrupted; the same command goes on where it stood", err=True)
    elif any(outcome.error is not None for outcome in report.outcomes):
        code = _FAILED
    raise typer.Exit(code)


def _in_words(report: Report, *, dry_run: bool, topic: str | None, whole: bool, limit: int | None) -> list[str]:
    """A line a file, a line a reason, and what it comes to.

    :param topic: where it was published, if it was.
    :param whole: nothing ended it before its end.
    """
    outcomes = report.outcomes
    counts = _stored if topic is None else _published
    rows: list[tuple[str, ...]] = [("file", *counts(Outcome("")))]
    rows += [(str(one.file), *map(str, counts(one).values())) for one in outcomes if one.error is None]
    if len(outcomes) != 1:
        totals = zip(*(counts(one).values() for one in (Outcome(""), *outcomes)), strict=True)
        rows.append(("all", *(str(sum(numbers)) for numbers in totals)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([name.ljust(widths[0]), *(n.rjust(w) for n, w in zip(numbers, widths[1:], strict=True))])
        for name, *numbers in rows
    ]
    reasons = sum((one.set_aside for one in outcomes), Counter[str]())
    lines += [f"  {reason}  {count}" for reason, count in sorted(reasons.items(), key=lambda one: (-one[1], one[0]))]
    taken = sum(one.records for one in outcomes)
    if limit is not None and taken >= limit:
        lines.append(f"{taken} records, as many as --limit says: there may be more, which the same command takes next")
    if whole and outcomes and not taken and all(one.error is None for one in outcomes):
        there = any(one.already_there for one in outcomes)
        lines.append("nothing new" + (": all of it is there already" if there else ""))
    elif topic is not None:
        lines.append(f"it lies in {topic}; consumers store it: readings status tells how far they are")
    if dry_run:
        lines.append("nothing was written; a row that the database itself would refuse is not foreseen")
    return lines


def _stored(one: Outcome) -> dict[str, int]:
    """What is counted of a file, by the heads of the columns."""
    found = {"readings": one.readings, "set aside": one.set_aside.total()}
    return found | {"already there": one.already_there, "left out": one.left_out}


def _published(one: Outcome) -> dict[str, int]:
    return {"published": one.records, "already there": one.already_there, "left out": one.left_out}


def _as_json(report: Report, *, publishing: bool) -> dict[str, Any]:
    outcomes = report.outcomes
    became = sum((one.became for one in outcomes), Counter[str]())
    return {
        "files": [
            {"file": str(one.file), "error": one.error}
            if one.error is not None and not one.records
            else {
                "file": str(one.file),
                "source": one.source,
                **_became(one.records, one.became, publishing=publishing),
                "already_there": one.already_there,
                "left_out": one.left_out,
                "error": one.error,
            }
            for one in outcomes
        ],
        **_became(sum(one.records for one in outcomes), became, publishing=publishing),
        "already_there": sum(one.already_there for one in outcomes),
        "left_out": sum(one.left_out for one in outcomes),
        "unreadable": sum(one.error is not None for one in outcomes),
    }


def _became(records: int, became: Counter[str], *, publishing: bool) -> dict[str, Any]:
    if publishing:
        return {"published": records}
    rejected = {reason: count for reason, count in became.items() if reason != READING and count}
    return {"readings": became[READING], "rejected": rejected}
