"""`readings registry …`: device and patient states out of files, and what the registry holds of somebody."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, Final

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from enrich.as_of import Said
from ingest.content import UnreadableFileError, Watch
from ingest.law_parameters import check_parameters, parameters
from ingest.logs import set_up_logs
from ingest.ready import ready_database
from ingest.registry_file import Loaded, load_file
from ingest.registry_lookup import DeviceFound, PatientFound, find_device, find_patient
from ingest.settings import Settings, load
from ingest.zip_zones import zones_of
from schemas.states import About
from schemas.wire import EARLIEST_INSTANT, Instant

registry_app = typer.Typer(
    help="Load device and patient states from files; show what is known of one.",
    no_args_is_help=True,
)

_FAILED: Final = 1
_TELL_EVERY_S: Final = 5.0
_LARGEST_ID: Final = 2**63 - 1
_INSTANT: Final = TypeAdapter[datetime](Instant)
_Outcomes = list[tuple[Path, Loaded | UnreadableFileError]]


@registry_app.command("load")
def load_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Registry files; a pipe will do.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object at the end, instead of lines.")] = False,
) -> None:
    """Put the device and patient states of files into the registry. Running consumers follow.

    A file is NDJSON (an object a line), one JSON array, or CSV, told apart by its content; UTF-8, a byte order mark
    allowed. A record with deviceId is a device's state, one with patientId alone a patient's; the platform's own Device
    and Patient JSON will do. A record that cannot be understood is set aside, as a row of the table rejections, and the
    rest goes on. A file that cannot be read is named, the others go on, and the exit is 1.

    Without an effectiveAt a record holds always, but for currentStatus and disabledReadings: these count from its
    recordedAt on, or else from the moment when the content was first opened.

    CSV has a header of those names: deviceId, currentStatus, disabledReadings, patientId, siteId, platformSite,
    customerId, note, effectiveAt, recordedAt; zipCode, country, externalIdentifier; identifiers in columns serial,
    imei, macAddress, iccid, simCardNumber, or in one column deviceIdentifiers that holds JSON. An empty cell says
    "none", but an empty effectiveAt or recordedAt says nothing; leave a column out to say nothing. Blanks around a cell
    do not count. Ids are plain digits, booleans true or false. Columns of other names are ignored, and told.

    A content is known by its hash: loading it again stores nothing, and a load that was interrupted goes on where it
    stood. Records are numbered from 0, as in the table rejections and for readings explain.

    Exit 0 when every file was taken, however many of its records were rejected: they are told, and stand in rejections.
    Exit 1 when a file could not be read; the others are loaded.
    """
    settings = _settings()
    outcomes = asyncio.run(_load_all(files, settings, in_words=not as_json))
    if as_json:
        typer.echo(json.dumps(_load_as_json(outcomes)))
    else:
        typer.echo(_closing_line(outcomes))
    if any(isinstance(outcome, UnreadableFileError) for _, outcome in outcomes):
        raise typer.Exit(_FAILED)


async def _load_all(files: list[Path], settings: Settings, *, in_words: bool) -> _Outcomes:
    outcomes: _Outcomes = []
    async with ready_database(settings, "registry load") as database:
        await check_parameters(database, parameters(settings.law, zones_of(settings.uszipcode_database)))
        for path in files:
            try:
                with _progress(path) as watch:
                    loaded = await load_file(path, database=database, settings=settings, watch=watch)
            except UnreadableFileError as error:
                outcomes.append((path, error))
                typer.echo(f"readings: {path}: {error}", err=True)
            else:
                outcomes.append((path, loaded))
                if in_words:
                    typer.echo("\n".join(_in_words(path, loaded)))
    return outcomes


@registry_app.command("show")
def show(
    about: Annotated[About, typer.Argument(help="Whom to show.", show_default=False)],
    subject_id: Annotated[
        int, typer.Argument(metavar="ID", min=1, max=_LARGEST_ID, help="The platform's id.", show_default=False)
    ],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="T", help="The moment (RFC 3339: 2026-03-08T07:00:00Z); now if not said."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show a device or patient as of a moment: each field, from when it counts, and the state that says it.

    Of a device also whom its identifiers belong to, and whether readings received then are refused; of a patient also
    the time zone and its offset then. Exit 1 if nobody is known by that id.
    """
    settings = _settings()
    try:
        moment = datetime.now(UTC) if at is None else _INSTANT.validate_python(at)
    except ValidationError:
        raise typer.BadParameter(
            "must be a time of RFC 3339 with seconds and zone: 2026-03-08T07:00:00Z", param_hint="--at"
        ) from None
    found = asyncio.run(_find(about, subject_id, moment, settings))
    if found is None:
        typer.echo(f"readings: no state tells of a {about} {subject_id}", err=True)
        raise typer.Exit(_FAILED)
    if as_json:
        typer.echo(
            json.dumps({"about": about, "id": subject_id, "at": _moment(moment)} | _found_as_json(found, moment))
        )
    else:
        typer.echo("\n".join([f"{about} {subject_id} as of {_moment(moment)}", *_found_in_words(found, moment)]))


async def _find(about: About, subject_id: int, at: datetime, settings: Settings) -> DeviceFound | PatientFound | None:
    async with ready_database(settings, "registry show") as database:
        if about is About.DEVICE:
            return await find_device(database, subject_id, at=at, law=settings.law)
        return await find_patient(database, subject_id, at=at, zones=zones_of(settings.uszipcode_database))


def _settings() -> Settings:
    settings = load()
    set_up_logs(settings.log_format, settings.log_level)
    return settings


# --- load ---------------------------------------------------------------------------------------------------------


@contextmanager
def _progress(path: Path) -> Iterator[Watch]:
    """A bar on a terminal, a line now and then elsewhere; both on stderr."""
    if not sys.stderr.isatty():
        told_at = monotonic()

        def tell_in_lines(read: int, size: int) -> None:
            nonlocal told_at
            if monotonic() - told_at >= _TELL_EVERY_S:
                told_at = monotonic()
                typer.echo(f"{path}: {read} of {size} bytes", err=True)

        yield tell_in_lines
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(path.name, total=None)
        yield lambda read, size: bar.update(task, completed=read, total=size)


def _in_words(path: Path, loaded: Loaded) -> list[str]:
    lines = [f"{path}: {_counts(loaded.states, loaded.rejected.total(), loaded.already_there)}"]
    if loaded.records == loaded.already_there:
        lines = [f"{path}: nothing new, all of its {loaded.records} records are there already"]
    if loaded.ignored_columns:
        lines.append(f"  columns ignored: {', '.join(map(repr, loaded.ignored_columns))}")
    lines += [
        f"  record {number}: {reason}" + (f": {detail}" if detail else "") for number, reason, detail in loaded.examples
    ]
    more = loaded.rejected.total() - len(loaded.examples)
    return [*lines, f"  and {more} more in the table rejections"] if more > 0 else lines


def _closing_line(outcomes: _Outcomes) -> str:
    loaded = [outcome for _, outcome in outcomes if isinstance(outcome, Loaded)]
    counts = (
        sum(one.states for one in loaded),
        sum(one.rejected.total() for one in loaded),
        sum(one.already_there for one in loaded),
    )
    unread = len(outcomes) - len(loaded)
    return f"{len(loaded)} of {_counted(len(outcomes), 'file')}: {_counts(*counts)}" + (
        f"; {unread} unreadable" if unread else ""
    )


def _counts(states: int, rejected: int, already_there: int) -> str:
    return f"{_counted(states, 'state')}, {rejected} rejected, {already_there} already there"


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _load_as_json(outcomes: _Outcomes) -> dict[str, Any]:
    loaded = [outcome for _, outcome in outcomes if isinstance(outcome, Loaded)]
    return {
        "files": [
            {"file": str(path), "error": str(outcome)}
            if isinstance(outcome, UnreadableFileError)
            else {
                "file": str(path),
                "source": outcome.source,
                "records": outcome.records,
                "states": outcome.states,
                "rejected": dict(outcome.rejected),
                "already_there": outcome.already_there,
                "ignored_columns": outcome.ignored_columns,
            }
            for path, outcome in outcomes
        ],
        "states": sum(one.states for one in loaded),
        "rejected": dict(sum((one.rejected for one in loaded), Counter[str]())),
        "already_there": sum(one.already_there for one in loaded),
        "unreadable": len(outcomes) - len(loaded),
    }


# --- show ---------------------------------------------------------------------------------------------------------


def _found_in_words(found: DeviceFound | PatientFound, at: datetime) -> list[str]:
    width = max(map(len, found.fields))
    rows = [(name.ljust(width), _value_in_words(name, said), said) for name, said in found.fields.items()]
    widest = max(len(value) for _, value, _ in rows)
    lines = [f"  {name}  {value.ljust(widest)}  {_since(said, at)}".rstrip() for name, value, said in rows]
    match found:
        case DeviceFound():
            lines.append(
                "readings received then are taken"
                if found.refuses is None
                else f"readings received then are refused: {found.refuses}"
            )
            lines += [f"identifier {one.identifier} belongs to device {one.device_id}, by {_place(one.place)}"
                      for one in found.identifiers]  # fmt: skip
        case PatientFound(home=(answer, offset)):
            if answer.zone is None:
                lines.append(f"time zone none: {answer.reason}")
            else:
                lines.append(f"time zone {answer.zone} ({answer.quality}), offset {offset} s then")
    return [*lines, f"told by {_counted(found.states, 'state')}"]


def _since(said: Said | None, at: datetime) -> str:
    if said is None:
        return ""
    since = "always" if said.effective_at == EARLIEST_INSTANT else f"from {_moment(said.effective_at)}"
    before = ", and the time before" if said.effective_at > at else ""
    return f"{since}{before}, by {_place(said.state.place)}"


def _place(place: tuple[str, int, int]) -> str:
    source, partition, offset = place
    return f"{source} {partition} {offset}"


def _value_in_words(name: str, said: Said | None) -> str:
    if said is None:
        return "(not said)"
    match said.value:
        case None:
            return "none"
        case bool() as truth:
            return "yes" if truth else "no"
        case list() as identifiers if name == "deviceIdentifiers":
            named = (f"{one['type']} {one['value']}" if one.get("type") else one["value"] for one in identifiers)
            return ", ".join(named) or "none"
        case value:
            return str(value)


def _found_as_json(found: DeviceFound | PatientFound, at: datetime) -> dict[str, Any]:
    said: dict[str, Any] = {
        "fields": {name: _said_as_json(said, at) for name, said in found.fields.items()},
        "states": found.states,
    }
    match found:
        case DeviceFound():
            return said | {
                "refuses": found.refuses,
                "identifiers": [
                    {"identifier": one.identifier, "device_id": one.device_id, "counts_from": _moment(one.effective_at)}
                    | one.place._asdict()
                    for one in found.identifiers
                ],
            }
        case PatientFound(home=(answer, offset)):
            return said | {
                "time_zone": answer.zone,
                "offset_s": offset,
                "quality": answer.quality,
                "reason": answer.reason,
            }


def _said_as_json(said: Said | None, at: datetime) -> dict[str, Any] | None:
    """None: not said. `counts_from` null: always."""
    if said is None:
        return None
    return {
        "value": said.value,
        "counts_from": _moment(said.effective_at),
        "covers_the_time_before": said.effective_at > at,
        "recorded_at": _moment(said.state.recorded_at),
    } | said.state.place._asdict()


def _moment(at: datetime) -> str | None:
    """RFC 3339; None is always."""
    return None if at == EARLIEST_INSTANT else at.isoformat().replace("+00:00", "Z")
