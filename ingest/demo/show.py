"""What the demo tells a person: steps as they happen, counts beside what was put in, clocks side by side."""

import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ingest.demo.clinic_registry import AT_SITE
from ingest.demo.findings import SQL_TO_TRY, Outcomes, Rows
from ingest.demo.publish import Placed
from ingest.settings import Settings
from schemas.reasons import Reason

_PLAIN_WIDTH: Final = 120
_TOLD_OF_OTHERWISE: Final = 10


def console_for_people() -> Console:
    """On a terminal as wide as that is; in a pipe or a log without colours, and wide enough for a sentence a line."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def introduce(console: Console) -> None:
    console.print(
        "[bold]readings demo[/]: raw readings -> Kafka broker -> consumer -> PostgreSQL, all on this machine\n"
    )


class Steps:
    """Lines of what was done, with the seconds since the start; while it lasts, a terminal shows what is going on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._status = console.status("")

    @contextmanager
    def going_on(self, doing: str) -> Iterator[None]:
        self._status.update(f"[dim]{doing}[/]")
        with self._status:
            yield

    def update(self, doing: str) -> None:
        self._status.update(f"[dim]{doing}[/]")

    def done(self, line: str) -> None:
        self._console.print(f"[green]{time.monotonic() - self._began:6.1f} s[/]  {line}", soft_wrap=True)


def counts(console: Console, outcomes: Outcomes) -> None:
    """What became of the raw readings, beside what the demo put in, with the sentence of each reason."""
    total = outcomes.expected.total()
    _title(console, f"What became of {total:,} raw readings")
    table = _table("outcome", ("put in", "right"), ("found", "right"), "", "what it means")
    for reason in (None, *Reason):
        expected, found = outcomes.expected[reason], outcomes.found[reason]
        if not expected and not found:
            continue
        sentence = "Stored in the table readings, once." if reason is None else reason.sentence
        table.add_row(
            Text(reason or "accepted", style="bold green" if reason is None else ""),
            f"{expected:,}",
            f"{found:,}",
            "[green]=[/]" if expected == found else "[bold white on red] MISMATCH [/]",
            Text(sentence, style="dim"),
        )
    console.print(table)
    if outcomes.as_made:
        told = f"All {total:,} became what they were made to become, compared one by one."
        _say(console, f"[bold green]{told}[/] The refused ones are in the table rejections.")
        return
    console.print(f"  [bold white on red] MISMATCH [/] {len(outcomes.otherwise):,} raw readings became something else:")
    for reading, became in outcomes.otherwise[:_TOLD_OF_OTHERWISE]:
        console.print(f"    {reading.story}: expected {reading.becomes or 'accepted'}, found {became}", markup=False)


_WATCHED: Final = {
    501: "Philadelphia, the device follows the network",
    502: "Philadelphia, nobody set the device back",
    505: "Navajo Nation, Arizona",
    504: "Phoenix, Arizona",
    509: "Denver, the device is set to UTC",
    516: "Berlin, no offset sent",
}


def night(console: Console, watched: dict[int, Rows]) -> None:
    """The hour that comes twice, on three clocks."""
    _title(console, "The night daylight saving ended, 1 November 2026: three clocks")
    _say(console, "The device's offset is kept as it was sent; the patient's comes from the zip code and the date.")
    table = _table("where", "UTC", "device", "patient", ("bpm", "right"))
    table.leading = 1
    for device_id, rows in watched.items():
        clocks, before = list[Text](), None
        for row in rows:
            local = row["patient_local_time"]
            went_back = before is not None and local < before
            shown = _clock(local, row["patient_time_zone_offset"], "%H:%M")
            clocks.append(Text(f"{shown} again", "bold yellow") if went_back else Text(shown))
            before = local
        table.add_row(
            Text.assemble(_WATCHED[device_id], "\n", (rows[0]["patient_time_zone"] or "no zone", "dim")),
            "\n".join(f"{row['reading_timestamp']:%H:%M}" for row in rows),
            "\n".join(_clock(row["device_local_time"], row["device_time_zone_offset"], "%H:%M") for row in rows),
            Text("\n").join(clocks),
            "\n".join(str(row["heart_rate_bpm"]) for row in rows),
        )
    console.print(_no_wrap(table, but="where"))


def handed_over(console: Console, rows: Rows) -> None:
    _title(console, "A cuff handed from one patient to another")
    _say(
        console,
        "20 returned it on 27 October at 16:00Z, 21 got it on 29 October at 18:30Z. A reading is of whoever held the"
        " cuff when it measured, not when the reading arrived.",
    )
    console.print(_whose(rows))


def mover(console: Console, rows: Rows) -> None:
    _title(console, "A patient who moved")
    _say(console, "From Philadelphia to Phoenix on 30 October at 15:00Z; the registry heard of it three days later.")
    console.print(_whose(rows))


def decommissioned(console: Console, rows: Rows) -> None:
    _title(console, "A cuff decommissioned on 29 October at 15:00:00Z")
    _say(console, "The moment of receipt decides, whenever the reading was taken.")
    table = _table("taken (UTC)", "received (UTC)", "became")
    for row in rows:
        received = f"{row['received_at']:%d %b %H:%M:%S}.{row['received_at'].microsecond // 1000:03}"
        became = Text(row["reason"] or "accepted", style="red" if row["reason"] else "green")
        table.add_row(f"{row['reading_timestamp']:%d %b %H:%M:%S}", received, became)
    console.print(table)


def as_typed() -> str:
    """`readings` as a shell finds it, wherever it stands: by its path where PATH does not lead to this installation."""
    ours = Path(sys.executable).with_name("readings")
    found = shutil.which("readings")
    if not ours.exists() or (found is not None and ours.samefile(found)):
        return "readings"
    return shlex.quote(str(ours))


def where_to_look_next(console: Console, *, kept: bool) -> None:
    _title(console, "Where to look next")
    ours = escape(as_typed())
    if not kept:
        told = f"[bold]{ours} demo --keep[/] leaves all of it running and says how to get at it, with SQL such as:"
        console.print(f"  {told}", soft_wrap=True)
    for question, statement in list(SQL_TO_TRY.items())[: None if kept else 2]:
        console.print(f"  [dim]-- {question}[/]", soft_wrap=True)
        for line in statement.splitlines():
            console.print(f"  {line}", soft_wrap=True, markup=False)
    if not kept:
        told = f"With a broker and a database of your own: [bold]{ours} migrate[/], then [bold]{ours} consume[/]."
        console.print(f"  {told}", soft_wrap=True)


def addresses(console: Console, settings: Settings, placed: Placed, api_port: int, api_key: str) -> None:
    """What a person needs to get at the kept servers; printed as it is, however narrow the terminal, to be copied."""
    url, bootstrap = settings.database_url.get_secret_value(), settings.kafka_bootstrap_servers
    topics = f"{settings.raw_topic}, {settings.devices_topic}, {settings.patients_topic}"
    now = "'$(date -u +%FT%TZ)'"
    reading = f'{{"type":"reading.weight","payload":{{"weight":182.4,"patientId":4,"readingTimestamp":"{now}"}}}}'
    refused = (place for place, reading in placed.items() if reading.becomes is Reason.DEVICE_DECOMMISSIONED)
    partition, offset = next(refused)
    ours = as_typed()
    _title(console, "All of it goes on running until Ctrl-C, and is gone then")
    for what_for, told in {
        "The database, with psql:": [f"psql {url}"],
        "The broker, with any Kafka client:": [f"{bootstrap}  (topics {topics})"],
        "A reading of your own, with kcat:": [
            f"echo '{reading}' |",
            f"    kcat -P -b {bootstrap} -t {settings.raw_topic}",
        ],
        "Over HTTP, as a clinic's software would; every operation is at /docs, to be tried out:": [
            f"http://127.0.0.1:{api_port}/docs",
            f"export KEY={api_key}",
            f"curl -H Impilo-API-Key:$KEY http://127.0.0.1:{api_port}/api/v3/device/{AT_SITE.id}",
            "curl -X PATCH -H Impilo-API-Key:$KEY -H Content-Type:application/json \\",
            f"""    -d '{{"deviceId":{AT_SITE.id},"patientId":4}}' \\""",
            f"    http://127.0.0.1:{api_port}/api/v3/device/associate-patient",
        ],
        "For the other commands, in another shell:": [
            f"export READINGS_DATABASE_URL={url}",
            f"export READINGS_KAFKA_BOOTSTRAP_SERVERS={bootstrap}",
            f"{ours} status",
            f"{ours} verify",
            f"{ours} registry show device 576 --at 2026-10-28T00:00:00Z",
            f"{ours} explain {settings.raw_topic} {partition} {offset}",
        ],
    }.items():
        console.print(f"  [dim]{what_for}[/]", soft_wrap=True)
        for line in told:
            console.print(f"    {line}", soft_wrap=True, markup=False)
    console.print()
    _say(console, "What the consumer takes from now on:")


def _whose(rows: Rows) -> Table:
    table = _table("taken (UTC)", "received (UTC)", ("patient", "right"), "patient's clock", "patient's zone")
    before = None
    for row in rows:
        late = before is not None and row["reading_timestamp"] < before
        table.add_row(
            Text(f"{row['reading_timestamp']:%d %b %H:%M}", style="bold yellow" if late else ""),
            f"{row['received_at']:%d %b %H:%M}",
            str(row["patient_id"] or "nobody"),
            _clock(row["patient_local_time"], row["patient_time_zone_offset"], "%d %b %H:%M"),
            row["patient_time_zone"] or "none",
        )
        before = row["reading_timestamp"]
    return _no_wrap(table)


def _clock(local: datetime | None, offset_s: int | None, form: str) -> str:
    if local is None or offset_s is None:
        return "-"
    hours, minutes = divmod(abs(offset_s) // 60, 60)
    return f"{local:{form}} {'-' if offset_s < 0 else '+'}{hours:02}:{minutes:02}"


def _say(console: Console, sentence: str) -> None:
    console.print(Padding.indent(sentence, 1))


def _title(console: Console, title: str) -> None:
    console.print()
    console.print(f"[bold]{title}[/]")


def _table(*columns: str | tuple[str, str]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1), header_style="dim")
    for column in columns:
        if isinstance(column, str):
            table.add_column(column)
        else:
            table.add_column(column[0], justify="right")
    return table


def _no_wrap(table: Table, *, but: str = "") -> Table:
    for column in table.columns:
        column.no_wrap = column.header != but
    return table
