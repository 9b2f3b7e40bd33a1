"""`readings sources renew`: another log for a topic that was made anew."""

import asyncio
from typing import Annotated, Final

import typer
from aiokafka import TopicPartition

from ingest.broker import partitions_of, source_name
from ingest.logs import set_up_logs
from ingest.ready import ready_database
from ingest.same_log import check_same_log
from ingest.settings import Settings, load
from sinks.errors import OperatorError
from sinks.ledger import Source, Topic, renew_topic, topics

sources_app: Final = typer.Typer(
    name="sources", help="Where records come from.", no_args_is_help=True, rich_markup_mode="markdown"
)


@sources_app.callback()
def sources() -> None:
    """Where records come from."""


@sources_app.command()
def renew(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic's name on the broker.")],
    force: Annotated[bool, typer.Option("--force", help="Though the log may be the one that was taken.")] = False,
) -> None:
    """Take the log of a topic that was deleted and made anew under its name, from its beginning.

    Stop the consumers first. What was taken of the old log stays as it is, under the old log's name; the new one gets
    the name kafka:TOPIC@2, @3 and so on. Consumers started after this take it.

    Exit 1 when the topic was never taken, when its log is the one that was taken (every record would stand twice, as a
    duplicate), or when the broker does not tell.
    """
    settings = load()
    set_up_logs(settings.log_format, settings.log_level)
    old, new = asyncio.run(_renew(settings, topic, force=force))
    typer.echo(f"consumers started from now on take {topic} as {new.name}, from its beginning; {old} stays as it is")


async def _renew(settings: Settings, topic: str, *, force: bool) -> tuple[str, Source]:
    async with ready_database(settings, "sources") as database:
        async with database.transaction() as connection:
            known = (await topics(connection, [topic])).get(topic)
        if known is None:
            raise OperatorError(f"no log of a topic {topic} was ever taken; see: readings status")
        if not known.partitions:
            raise OperatorError(f"nothing of {known.source.name} is taken yet: consumers take it from its beginning")
        if not force and not await _is_another_log(settings, topic, known):
            raise OperatorError(
                f"the log of {topic} is the one that was taken as {known.source.name}: there is nothing to renew"
                " (--force, if you know better)"
            )
        _, _, generation = known.source.name.partition("@")
        name = f"{source_name(topic)}@{int(generation or 1) + 1}"
        async with database.transaction() as connection:
            return known.source.name, await renew_topic(connection, known, name)


async def _is_another_log(settings: Settings, topic: str, known: Topic) -> bool:
    partitions = (await partitions_of(settings, [topic]))[topic]
    for number, standing in known.partitions.items():
        try:
            if number < partitions:
                await check_same_log(settings, TopicPartition(topic, number), standing)
        except OperatorError:
            return True
    return False
