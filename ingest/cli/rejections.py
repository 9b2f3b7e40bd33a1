"""`readings rejections`: refused records, to look at, to mend and to give again."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ingest.cli.backfill import backfill_paths
from ingest.cli.instant import instant
from ingest.logs import set_up_logs
from ingest.ready import ready_database
from ingest.refused_record import line_of
from ingest.settings import Settings, load
from schemas.judgement import Entry, Judgement
from schemas.reasons import Reason
from sinks.database import Connection
from sinks.errors import OperatorError, SinkError
from sinks.readings import load_rejections
from sinks.whereabouts import sources_named

rejections_app: Final = typer.Typer(
    name="rejections", help="Refused records.", no_args_is_help=True, rich_markup_mode="markdown"
)
_PAGE: Final = 1_000
_REPLAY: Final = """
Give again what `readings rejections export` wrote, mended: judged and stored as by `readings backfill`, once.

Each line is one refused record. Mend its `record`, or put one in the place of `recordBase64`, and leave the rest: an
object counts as received when it was received first. A line that nobody has changed is the record that stands in the
ledger already, and changes nothing, unless it was exported with --as-new. What was refused first stays in the table
rejections, beside what the mended record becomes.

A file is known by its content: given again, it stores nothing; a run that was interrupted goes on where it stood.
--since and --until leave out what a later run may still take. With --to-topic the consumers store it.

Exit 0 when all is stored or published, however many records were refused again: they are counted. Exit 1 when a file
could not be read (it is named, the others go on) or when nearly all is still malformed or invalid; 130 when
interrupted.
"""


@rejections_app.callback()
def rejections() -> None:
    """Refused records: to look at, to mend and to give again."""


@rejections_app.command()
def export(
    reason: Annotated[list[Reason] | None, typer.Option("--reason", help="Only these; may be given again.")] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="Only what a topic, or archives whose names begin so, gave."),
    ] = None,
    device: Annotated[
        int | None,
        typer.Option("--device", metavar="ID", min=1, help="Only this device's; no record that was not understood."),
    ] = None,
    since: Annotated[
        datetime | None, typer.Option("--since", metavar="T", parser=instant, help="Received from then on (RFC 3339).")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--until", metavar="T", parser=instant, help="Received before then.")
    ] = None,
    as_new: Annotated[
        bool, typer.Option("--as-new", help="To be given again as new records, though nobody changes them.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write, not there yet; else standard output.")
    ] = None,
) -> None:
    """Write refused readings as an archive: NDJSON, a line a record, with its place, its reason and what it said.

    `record` may be mended; `readings rejections replay` takes the file. A line that nobody has changed is the record
    that stands in the ledger already, and changes nothing. Where no time of receipt is known, the reading's own counts.

    --source is a name as readings status shows it, or that of a topic alone. --device finds what is known to be the
    device's: of a record that is malformed or invalid nobody knows whose it is, even where its bytes name a device.

    What the database itself refused (unstorable), and would take by now, needs no mending: --as-new.

    Exit 1 when there is no such source.
    """
    settings = _settings()
    try:
        opened = nullcontext(sys.stdout) if output is None else output.open("x", encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"cannot be written: {error.strerror}", param_hint="--output") from None
    with opened as file:
        reasons = None if reason is None else [str(one) for one in reason]

        async def run() -> int:
            written = 0
            async with (
                ready_database(settings, "rejections") as database,
                database.transaction(isolation="repeatable_read", readonly=True) as connection,
            ):
                sources = None if source is None else await _sources(connection, source)
                async for entry in _refused(connection, (reasons, device, since, until, sources)):
                    file.write(json.dumps(line_of(entry, as_new=as_new)) + "\n")
                    written += 1
            return written

        try:
            written = asyncio.run(run())
        except SinkError:
            if output is not None:
                output.unlink()  # half an export would pass for a whole one
            raise
    typer.echo(f"{written} refused records written", err=True)


rejections_app.command("replay", help=_REPLAY)(backfill_paths)


async def _sources(connection: Connection, name: str) -> list[int]:
    found = await sources_named(connection, name.removesuffix("…"))
    if not found:
        raise OperatorError(f"there is no source {name}; see: readings status")
    return found


async def _refused(connection: Connection, asked: tuple[Any, ...]) -> AsyncIterator[Entry[Judgement]]:
    last = (-1, -1, -1)
    while True:
        page = await load_rejections(connection, "rejections_to_export", *last, _PAGE, *asked)
        for entry in page.entries:
            yield entry
        if len(page.entries) < _PAGE:
            return
        place = page.entries[-1].place
        last = (page.sources[place.source].source_id, place.partition, place.offset)


def _settings() -> Settings:
    settings = load()
    set_up_logs(settings.log_format, settings.log_level)
    return settings
