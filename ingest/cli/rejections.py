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
from sinks.readings import load_rejections

rejections_app: Final = typer.Typer(
    name="rejections", help="Refused records.", no_args_is_help=True, rich_markup_mode="markdown"
)
_PAGE: Final = 1_000


@rejections_app.callback()
def rejections() -> None:
    """Refused records: to look at, to mend and to give again."""


@rejections_app.command()
def export(  # noqa: PLR0917 - the command line names them
    reason: Annotated[list[Reason] | None, typer.Option("--reason", help="Only these; may be given again.")] = None,
    device: Annotated[int | None, typer.Option("--device", metavar="ID", min=1, help="Only this device's.")] = None,
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

    What the database itself refused (unstorable), and would take by now, needs no mending: --as-new.
    """
    settings = _settings()
    try:
        opened = nullcontext(sys.stdout) if output is None else output.open("x", encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"cannot be written: {error.strerror}", param_hint="--output") from None
    with opened as file:
        reasons = None if reason is None else [str(one) for one in reason]
        asked = (reasons, device, since, until)

        async def run() -> int:
            written = 0
            async with (
                ready_database(settings, "rejections") as database,
                database.transaction(isolation="repeatable_read", readonly=True) as connection,
            ):
                async for entry in _refused(connection, asked):
                    file.write(json.dumps(line_of(entry, as_new=as_new)) + "\n")
                    written += 1
            return written

        written = asyncio.run(run())
    typer.echo(f"{written} refused records written", err=True)


rejections_app.command("replay")(backfill_paths)


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
