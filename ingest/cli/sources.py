"""`readings sources renew`: another log for a topic that was made anew."""

import asyncio
from typing import Annotated, Final

import typer

from ingest.broker import source_name
from ingest.logs import set_up_logs
from ingest.ready import ready_database
from ingest.settings import load
from sinks.errors import OperatorError
from sinks.ledger import Source, renew_topic, topics

sources_app: Final = typer.Typer(name="sources", help="Where records come from.", no_args_is_help=True)


@sources_app.callback()
def sources() -> None:
    """Where records come from."""


@sources_app.command()
def renew(topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic's name on the broker.")]) -> None:
    """Take the log of a topic that was deleted and made anew under its name, from its beginning.

    Stop the consumers first. What was taken of the old log stays as it is, under the old log's name; the new one gets
    the name kafka:TOPIC@2, @3 and so on. Consumers started after this take it.

    Exit 1 when the topic was never taken, or somebody else renews it at the same time.
    """
    settings = load()
    set_up_logs(settings.log_format, settings.log_level)

    async def run() -> tuple[str, Source]:
        async with ready_database(settings, "sources") as database, database.transaction() as connection:
            known = (await topics(connection, [topic])).get(topic)
            if known is None:
                raise OperatorError(f"no log of a topic {topic} was ever taken; see: readings status")
            _, _, generation = known.source.name.partition("@")
            name = f"{source_name(topic)}@{int(generation or 1) + 1}"
            return known.source.name, await renew_topic(connection, known, name)

    old, new = asyncio.run(run())
    typer.echo(f"consumers started from now on take {topic} as {new.name}, from its beginning; {old} stays as it is")
