"""`readings verify` and `readings explain`: whether what is stored is right, and why one record became what it is."""

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ingest.check import Check
from ingest.cli.explained import explanation_as_json, explanation_in_words
from ingest.cli.progress import progress
from ingest.content import UnreadableFileError, opened
from ingest.explain import explain
from ingest.explanation import Fate
from ingest.logs import set_up_logs
from ingest.settings import Settings, load
from ingest.verify import UnsettledError, verify
from ingest.zip_zones import zones_of
from schemas.record import ARCHIVE
from sinks.errors import OperatorError

_FAILED: Final = 1
_LARGEST: Final = 2**63 - 1
_LARGEST_PARTITION: Final = 2**31 - 1


def verify_all(
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", min=1, help="Judge N readings and N rejections a partition, not all."),
    ] = None,
    wait_s: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for pending corrections.")
    ] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check that what is stored is what was given, and right by all that is known now.

    In one snapshot, while others go on writing: every offset taken stands once, as a reading, a rejection, a state or a
    gap; every reading and every rejection, judged again by the registry's histories, gives itself; rule 9's winners
    stand; each identifier is its earliest claimant's. A line a check; of what differs the first twenty, with place and
    column.

    Exit 0 when all holds, 1 when it does not or corrections stay pending, 2 when there is no schema.
    """
    settings = _settings()
    try:
        with progress("judged again", "rows") as tell:
            zones = zones_of(settings.uszipcode_database)
            found = asyncio.run(verify(settings, zones, sample=sample, wait_s=wait_s, tell=tell))
    except UnsettledError as unsettled:
        if as_json:
            typer.echo(json.dumps({"holds": False, "pending_corrections": unsettled.pending, "checks": []}))
        typer.echo(f"readings: not settled: {unsettled}", err=True)
        raise typer.Exit(_FAILED) from None
    if as_json:
        checks = [_check_as_json(check) for check in found.checks]
        typer.echo(json.dumps({"holds": found.holds, "pending_corrections": 0, "checks": checks}))
    else:
        typer.echo("\n".join(line for check in found.checks for line in _check_in_words(check)))
        typer.echo("all of it holds" if found.holds else "it does not hold")
    if not found.holds:
        raise typer.Exit(_FAILED)


def explain_one(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="As in the table sources; or a topic's name, the beginning of an archive's, or an archive's file.",
        ),
    ],
    partition: Annotated[int, typer.Argument(metavar="PARTITION", min=0, max=_LARGEST_PARTITION)],
    offset: Annotated[int, typer.Argument(metavar="OFFSET", min=0, max=_LARGEST)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """What became of one record, rule by rule, with the registry records that decided it.

    A reading, a rejection, a state, a gap, or not taken yet. Times are UTC; a registry record is told as source,
    partition and offset, with the moment from which it counts and that at which it was recorded. No measure and no zip
    code is shown.

    Exit 1 when there is no such source, or the record should stand somewhere and does not.
    """
    settings = _settings()
    zones = zones_of(settings.uszipcode_database)
    asked = partial(explain, settings, zones, partition=partition, offset=offset)
    found = asyncio.run(asked(source=source))
    if found is None and Path(source).is_file():
        found = asyncio.run(asked(source=_archive_of(Path(source))))
    if found is None:
        typer.echo(f"readings: there is no source {source}; see: readings status", err=True)
        raise typer.Exit(_FAILED)
    typer.echo(json.dumps(explanation_as_json(found)) if as_json else "\n".join(explanation_in_words(found)))
    if found.fate is Fate.MISSING:
        raise typer.Exit(_FAILED)


def _archive_of(file: Path) -> str:
    """The source that the content of a file is known as."""
    try:
        with opened(file) as content:
            return ARCHIVE + content.sha256
    except UnreadableFileError as error:
        raise OperatorError(f"{file}: {error}") from None


def _settings() -> Settings:
    settings = load()
    set_up_logs(settings.log_format, settings.log_level)
    return settings


def _check_in_words(check: Check) -> list[str]:
    verdict, differ = ("differs", f", {check.differ} differ") if check.differ else ("holds", "")
    lines = [f"{verdict:<8} {check.name:<12} {check.looked_at} {check.unit}{differ}: {check.promise}"]
    lines += [f"           {where}{f' {column}' if column else ''}: {says}" for where, column, says in check.first]
    more = check.differ - len({difference.where for difference in check.first})
    return [*lines, f"           and {more} more"] if more > 0 else lines


def _check_as_json(check: Check) -> dict[str, Any]:
    return {
        "check": check.name,
        "promise": check.promise,
        "looked_at": check.looked_at,
        "of": check.unit,
        "differ": check.differ,
        "first": [difference._asdict() for difference in check.first],
    }
