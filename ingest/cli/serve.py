"""`readings serve` and `readings keys …`: the service over HTTP, and who may ask it."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

import structlog
import typer

from ingest.cli.last_words import last_words
from ingest.cli.signals import stop_on_signals
from ingest.logs import set_up_logs
from ingest.ready import ready_database
from ingest.settings import Settings, load
from ingest.zip_zones import zones_of
from sinks.api_keys import ApiKey, all_keys, create_key, revoke_key
from sinks.database import Connection

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

_FAILED: Final = 1
_LARGEST_ID: Final = 2**63 - 1

keys_app: Final = typer.Typer(
    name="keys", help="Who may ask over HTTP.", no_args_is_help=True, rich_markup_mode="markdown"
)


def serve() -> None:
    """Answer over HTTP: devices, patients and readings of a customer, and the platform's webhooks.

    It listens on READINGS_API_HOST and READINGS_API_PORT until SIGTERM (exit 0) or SIGINT (exit 130); requests in hand
    are answered then. /docs has every operation, to be tried out; /openapi.json and /openapi.yaml the same for
    programs. Who asks needs a key: readings keys create.

    While the database or the broker is away it answers 503 and waits. With READINGS_HTTP_PORT it answers /live, /ready
    and /metrics there. TLS is left to a proxy in front of it.
    """
    # Here and not above: the other commands need not wait for a web framework.
    from ingest.http.service import Service  # noqa: PLC0415 - a second of imports that no other command needs

    settings = _settings()

    async def run() -> int:
        stop = asyncio.Event()
        code = stop_on_signals(stop)
        with last_words(settings):
            await Service(settings, zones_of(settings.uszipcode_database), stop).run()
        log.info("stopped")
        return code()

    raise typer.Exit(asyncio.run(run()))


@keys_app.command()
def create(
    customer: Annotated[
        int,
        typer.Option("--customer", metavar="ID", min=1, max=_LARGEST_ID, help="Whose devices, patients and readings."),
    ],
    name: Annotated[str, typer.Option("--name", help="Who has it, what for.")] = "",
    days: Annotated[int, typer.Option("--days", metavar="N", min=1, max=3_650, help="How long it holds.")] = 365,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Make a key for a customer, and show it: now and never again, since only its hash is kept.

    It goes into the header Impilo-API-Key. Several keys may hold at once, so that one can be exchanged for the next.
    The key alone is on stdout, as in: readings keys create --customer 1 > key; what a person wants to know beside it is
    on stderr. With --json all of it is on stdout.
    """

    async def make(connection: Connection) -> tuple[ApiKey, str]:
        return await create_key(connection, customer_id=customer, name=name, valid_for=timedelta(days=days))

    made, key = _in_database(make)
    if as_json:
        typer.echo(json.dumps(_as_json(made) | {"key": key}))
    else:
        whose = f"key {made.key_id} of customer {customer}" + (f" ({name})" if name else "")
        typer.echo(f"{whose}, holds until {made.expires_at:%Y-%m-%d}", err=True)
        typer.echo("shown now and never again; it goes into the header Impilo-API-Key:", err=True)
        typer.echo(key)


@keys_app.command("list")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False) -> None:
    """Every key that was ever made, and whether it still holds; not the keys themselves."""
    keys = _in_database(all_keys)
    if as_json:
        typer.echo(json.dumps([_as_json(key) for key in keys]))
        return
    for key in keys:
        until = f"{key.expires_at:%Y-%m-%d}"
        holds = {"holds": f"until {until}", "expired": f"expired {until}"}.get(_state(key), "revoked")
        typer.echo(f"{key.key_id}  customer {key.customer_id}  {holds}  {key.name}".rstrip())


@keys_app.command()
def revoke(
    key_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=2**31 - 1, help="As readings keys list tells it.")],
) -> None:
    """Take a key back: from the next request on it is refused. Exit 1 if there is none by that id."""

    async def take_back(connection: Connection) -> ApiKey | None:
        return await revoke_key(connection, key_id)

    if _in_database(take_back) is None:
        typer.echo(f"readings: there is no key {key_id}; see: readings keys list", err=True)
        raise typer.Exit(_FAILED)
    typer.echo(f"key {key_id} is refused from now on")


def _in_database(action: Callable[[Connection], Awaitable[Result]]) -> Result:
    settings = _settings()

    async def run() -> Result:
        async with ready_database(settings, "keys") as database, database.transaction() as connection:
            return await action(connection)

    return asyncio.run(run())


def _settings() -> Settings:
    settings = load()
    set_up_logs(settings.log_format, settings.log_level)
    return settings


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at <= datetime.now(UTC) else "holds"


def _as_json(key: ApiKey) -> dict[str, Any]:
    times = {name: value and value.isoformat() for name, value in key._asdict().items() if name.endswith("_at")}
    return key._asdict() | times | {"state": _state(key)}
