"""`readings retention`: what is older than asked is dropped and counted."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from ingest.cli.instant import instant
from ingest.cli.progress import progress
from ingest.logs import set_up_logs
from ingest.retention import Retained, retain
from ingest.settings import Settings, SettingsError, load


def drop_old(
    days: Annotated[
        int | None, typer.Option("--days", metavar="N", min=1, help="Keep N days; else READINGS_RETENTION_DAYS.")
    ] = None,
    before: Annotated[
        datetime | None, typer.Option("--before", metavar="T", parser=instant, help="Or: keep from T on (RFC 3339).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count it, and drop nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Drop readings, and what was refused, that are older than asked. Nothing drops them by itself.

    The age of a reading is that of its readingTimestamp, refused or not; what was refused without telling a plausible
    one is as old as its receipt. On TimescaleDB readings go a chunk at a time, once all of it is old enough, and the
    database user must own the table. What devices and patients were is kept.

    What is dropped is counted in source_positions.expired, in the transaction that drops it, so that `readings verify`
    holds. Interrupted or killed, the same command goes on. It does not come back: neither when its topic or archive is
    read again, nor by a correction. A new record of an old reading is taken as any other, until the next run.
    """
    settings = load()
    set_up_logs(settings.log_format, settings.log_level)
    moment = _moment(settings, days, before)
    with progress("dropped", "rows") as tell:
        retained = asyncio.run(retain(settings, moment, dry_run=dry_run, tell=tell))
    if as_json:
        typer.echo(json.dumps(_as_json(retained, dry_run=dry_run)))
    else:
        typer.echo("\n".join(_in_words(retained, dry_run=dry_run)))


def _moment(settings: Settings, days: int | None, before: datetime | None) -> datetime:
    now = datetime.now(UTC)
    if days is not None and before is not None:
        raise typer.BadParameter("not together with --days", param_hint="--before")
    if before is not None:
        if before > now:
            raise typer.BadParameter("lies in the future", param_hint="--before")
        return before
    kept = days or settings.retention_days
    if kept is None:
        raise SettingsError("say how much to keep: --days N, --before T, or READINGS_RETENTION_DAYS")
    return now - timedelta(days=kept)


def _in_words(retained: Retained, *, dry_run: bool) -> list[str]:
    what = "would be dropped" if dry_run else "dropped"
    readings = f"{retained.readings.total()} readings {what}"
    match retained.readings_before:
        case None:
            readings += f": no chunk lies before {_utc(retained.before)} as a whole"
        case ends if ends != retained.before:
            readings += (
                f", taken before {_utc(ends)}, where the last chunk ends that lies before {_utc(retained.before)}"
            )
        case ends:
            readings += f", taken before {_utc(ends)}"
    return [readings, f"{retained.rejections.total()} refused records {what}, older than {_utc(retained.before)}"]


def _as_json(retained: Retained, *, dry_run: bool) -> dict[str, Any]:
    ends = retained.readings_before
    return {
        "dry_run": dry_run,
        "before": _utc(retained.before),
        "readings_before": None if ends is None else _utc(ends),
        "readings": retained.readings.total(),
        "rejections": retained.rejections.total(),
    }


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
