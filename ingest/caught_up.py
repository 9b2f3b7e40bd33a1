"""Whether all that the topics hold is stored, whoever stores it."""

import asyncio
from collections.abc import Collection, Mapping

from ingest.broker import beyond_the_end
from ingest.high_water import high_water_marks
from ingest.patience import patiently
from ingest.settings import Settings
from sinks.corrections import pending_corrections
from sinks.database import Database
from sinks.ledger import topics

Marks = Mapping[tuple[str, int], int]
"""Offsets by topic and partition."""


async def marks_now(settings: Settings, database: Database, names: Collection[str]) -> Marks:
    """The high-water marks of the topics' partitions, each told after this was called. Waits for ever.

    :raises OperatorError: when a topic is missing, or a position lies beyond its log's end.
    """
    # Positions first: one that is beyond a mark told later was never reached in this log.
    stood = await patiently(lambda: _positions(database, names))
    marks = await patiently(lambda: high_water_marks(settings, names))
    for place, at in stood.items():
        if place in marks and at > marks[place]:
            raise beyond_the_end(*place, at, marks[place])
    return marks


async def reach(database: Database, marks: Marks, *, corrected: bool = False) -> None:
    """Wait until the positions in the database, whoever moves them, have reached `marks`.

    :param corrected: wait until no correction is pending, too.
    """

    async def reached() -> bool:
        at = await _positions(database, {topic for topic, _ in marks})
        if any(at.get(place, -1) < mark for place, mark in marks.items()):
            return False
        async with database.transaction() as connection:
            return not corrected or await pending_corrections(connection) == 0

    while not await patiently(reached):  # noqa: ASYNC110 - other processes move what is waited for
        await asyncio.sleep(0.1)


async def _positions(database: Database, names: Collection[str]) -> dict[tuple[str, int], int]:
    async with database.transaction() as connection:
        known = await topics(connection, names)
    return {
        (name, partition): standing.next_offset
        for name, topic in known.items()
        for partition, standing in topic.partitions.items()
    }
