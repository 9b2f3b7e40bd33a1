"""Every command, with the help that is enough to use it."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from traceback import format_tb
from typing import Annotated, TypeVar

import structlog
import typer

from enrich.offsets import tzdb_version
from enrich.zones import table_zones
from ingest.cli.backfill import backfill_paths
from ingest.cli.demo import demo
from ingest.cli.last_words import last_words
from ingest.cli.ledger import explain_one, verify_all
from ingest.cli.registry import registry_app
from ingest.cli.rejections import rejections_app
from ingest.cli.retention import drop_old
from ingest.cli.serve import keys_app, serve
from ingest.cli.signals import stop_on_signals
from ingest.cli.sources import sources_app
from ingest.cli.status import print_status
from ingest.cli.zone import answer_stream, show_zone, write_uszipcode
from ingest.compiled import compiled
from ingest.consume import Consumer
from ingest.law_parameters import adopt_parameters, parameters, standing_parameters
from ingest.logs import set_up_logs
from ingest.patience import Patience
from ingest.ready import database_of
from ingest.settings import Settings, SettingsError, load
from ingest.stop_line import StopLineError
from ingest.zip_zones import zones_of
from sinks.errors import SchemaError, SinkError
from sinks.hypertable import arrange
from sinks.migrate import migrate as bring_up_schema
from sinks.roles import make_roles, roles_stand

log = structlog.get_logger(__name__)

app = typer.Typer(
    name="readings",
    help="Device readings from Kafka to TimescaleDB: each stored once, right and explainable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # paragraphs are wrapped as a whole, and [brackets] stay
    context_settings={"help_option_names": ["-h", "--help"]},
)

Result = TypeVar("Result")
FAILED, WRONG_USAGE = 1, 2
ANOTHER_LAW = (
    "all that is stored will be judged again by the consumers",
    "consumers and servers that run stop by themselves, at their next look: start them again, with the same settings",
)


def main() -> None:
    """The entry point of the command `readings`."""
    try:
        app()
    except (SettingsError, SchemaError) as error:
        _say(f"readings: {error}")
        sys.exit(WRONG_USAGE)
    except (SinkError, StopLineError) as error:
        _say(f"readings: {error}")
        sys.exit(FAILED)
    except Exception as error:  # noqa: BLE001 - a bug: told where, and without its text, which may hold what was read
        _say(f"readings: a fault of its own, {type(error).__name__}:\n" + "".join(format_tb(error.__traceback__)))
        sys.exit(FAILED)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"device-readings {version('device-readings')}, {'compiled' if compiled() else 'not compiled'}")
        typer.echo(f"tzdb {tzdb_version()}")
        typer.echo(f"zip table {table_zones().version}")
        raise typer.Exit


@app.callback()
def readings(
    _version_asked: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Product, tzdb and zip table.")
    ] = False,
) -> None:
    """Device readings from Kafka to TimescaleDB: each stored once, right and explainable.

    Settings come from the environment (READINGS_…) or a .env file; see .env.example.
    """


app.command()(demo)
app.command("backfill")(backfill_paths)
app.command()(serve)
app.add_typer(keys_app, name="keys")
app.add_typer(registry_app, name="registry")
app.add_typer(rejections_app, name="rejections")
app.add_typer(sources_app, name="sources")
app.command("verify")(verify_all)
app.command("explain")(explain_one)
app.command("retention")(drop_old)


@app.command()
def migrate(
    roles: Annotated[
        bool, typer.Option("--roles", help="Make the roles readings_reader, readings_customer and readings_writer.")
    ] = False,
    customers: Annotated[
        list[int] | None,
        typer.Option("--customer", metavar="ID", min=1, help="And readings_customer_ID for it; may be given again."),
    ] = None,
) -> None:
    """Bring the database's schema up to this version. Doing it twice changes nothing; two at once take turns.

    Chunks and policies of TimescaleDB become what the settings say. The roles are groups to grant to logins: a reader
    sees the views, and of what was refused all but its payload; a customer sees the views of the schema `customer`,
    which show its own rows; a writer may run the services. Once made, they are given what later versions add.

    Where the law parameters of this process are not those of the database, they are adopted: consumers and servers that
    run stop by themselves, and, started again, judge again all that is stored.
    """
    settings = _settings()

    async def run() -> list[str]:
        database = database_of(settings, "migrate")
        try:
            applied = await _in_time(settings, lambda: bring_up_schema(database))
            ours = parameters(settings.law, zones_of(settings.uszipcode_database))
            judged_before = bool(await standing_parameters(database))
            changed = await adopt_parameters(database, ours)
            async with database.transaction() as connection:
                arranged = await arrange(connection, settings.storage)
                if roles or customers or await roles_stand(connection):
                    arranged += await make_roles(connection, customers or [])
        finally:
            await database.close()
        lines = [f"applied {name}" for name in applied] + [f"law parameter adopted: {line}" for line in changed]
        return [*lines, *(ANOTHER_LAW if changed and judged_before else ()), *arranged]

    for line in asyncio.run(run()) or ["nothing to do: the schema is up to date"]:
        typer.echo(line)


@app.command()
def consume(
    until_caught_up: Annotated[
        bool,
        typer.Option("--until-caught-up", help="End with 0 when all that the topics hold at the start is stored."),
    ] = False,
    accept_bad_input: Annotated[
        bool, typer.Option("--accept-bad-input", help="Never stop the line, however much of the input is unreadable.")
    ] = False,
) -> None:
    """Take readings from Kafka and store them, until SIGTERM (exit 0) or SIGINT (exit 130).

    The registry topics are followed first. While the database or the broker is away it waits and nothing moves; what
    was not stored is taken again. Any number of replicas share the partitions. With READINGS_BACKFILL_TOPIC they share
    what readings backfill --to-topic publishes, too, after the live readings.

    When nearly all that comes is malformed or invalid, a bad deployment most likely, the line stands still and says so
    once a minute; with --until-caught-up it ends with 1. With READINGS_HTTP_PORT it answers /live, /ready and /metrics.
    """
    settings = _settings()

    async def run() -> int:
        stop = asyncio.Event()
        code = stop_on_signals(stop)
        consumer = Consumer(settings, zones_of(settings.uszipcode_database), stop)
        with last_words(settings):
            await consumer.run(until_caught_up=until_caught_up, accept_bad_input=accept_bad_input)
        log.info("stopped")
        return code()

    raise typer.Exit(asyncio.run(run()))


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """How things stand: schema, law, registry, how far each source is taken and how far behind, rejections by reason.

    Exit 1 when the database cannot be reached in time, 2 when it has no schema. A broker that is away is only said.
    """
    print_status(_settings(), as_json=as_json)


UszipcodeDatabase = Annotated[
    Path | None,
    typer.Option(
        "--uszipcode", envvar="READINGS_USZIPCODE_DATABASE", help="Ask this uszipcode database, not the zip table."
    ),
]


@app.command()
def zone(
    zip_code: Annotated[str, typer.Argument(metavar="ZIP", help="A zip code, or - to read CSV lines `zip,instant`.")],
    at: Annotated[str | None, typer.Option("--at", metavar="T", help="RFC 3339; now, when not given.")] = None,
    country: Annotated[str | None, typer.Option(help="As in a patient's address; the US, when not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, or one a line.")] = False,
    uszipcode: UszipcodeDatabase = None,
) -> None:
    """The time zone of a zip code: zone, offset, how sure that is, and the next change of offset.

    With `-` it reads CSV lines `zip,instant` from standard input and answers one JSON object a line: zip, zone,
    offset_s, quality (exact, straddles, contested, none), and a reason when none; a bad line is answered by an error.
    """
    zones = zones_of(uszipcode)
    if zip_code == "-":
        raise typer.Exit(answer_stream(sys.stdin.buffer, sys.stdout, zones=zones))
    raise typer.Exit(show_zone(zip_code, at=at, country=country, as_json=as_json, zones=zones))


@app.command()
def uszipcode(path: Annotated[Path, typer.Argument(help="The file to write; one that exists is not touched.")]) -> None:
    """Write the zip table as a SQLite database of uszipcode's schema."""
    raise typer.Exit(write_uszipcode(path))


def _settings() -> Settings:
    settings = load()
    set_up_logs(settings.log_format, settings.log_level)
    return settings


async def _in_time(settings: Settings, action: Callable[[], Awaitable[Result]]) -> Result:
    """The result of `action`, waiting for the database no longer than `connect_timeout_s`."""
    return await Patience(give_up_after_s=settings.connect_timeout_s)(action)


def _say(line: str) -> None:
    typer.echo(line, err=True)
