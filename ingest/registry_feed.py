"""The registry topics as a source: device and patient states into the histories, in the order of their partitions."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from enrich.law import Law
from ingest.batch import Batch
from ingest.broker import topic_of
from ingest.change import STATE, Change, fates
from schemas.envelope import NotUnderstood
from schemas.judgement import Entry, Rejected
from schemas.reasons import Reason
from schemas.record import Record
from schemas.state_messages import understand_state
from schemas.states import About, State
from sinks.database import Database
from sinks.ledger import move
from sinks.readings import insert_rejections
from sinks.registry import add_states

Understand = Callable[[Record], State | NotUnderstood]


MOST_STATES: Final = 5_000
"""Of one transaction: batches of readings wait until it ends."""


async def store_states(batch: Batch, understand: Understand, *, database: Database) -> Change:
    """Add what the records tell to the registry, and set aside what they do not, together with the position.

    :raises PositionMovedError: when the batch is no longer ours; :raises SinkError: as `sinks.errors` tells.
    """
    states: list[State] = []
    rejected: list[Entry[Rejected]] = []
    for record in batch.records:
        told = understand(record) if batch.refused is None else NotUnderstood(Reason.UNSTORABLE, batch.refused)
        if isinstance(told, State):
            states.append(told)
        else:
            judgement = Rejected(told.reason, told.detail, payload=record.value or b"")
            rejected.append(Entry(record.place, record.received_at, judgement))
    async with database.transaction() as connection:
        await move(connection, batch.moves, batch.last)
        await insert_rejections(connection, rejected, batch.sources)
        if states:
            await add_states(connection, states, batch.sources)
    return Change(fates(rejected) + Counter({STATE: len(states)}), Counter())


def topic_state(record: Record, batch: Batch, *, devices_topic: str, law: Law) -> State | NotUnderstood:
    """The state that a record of one of the two registry topics tells."""
    return understand_state(
        About.DEVICE if topic_of(record.place.source) == devices_topic else About.PATIENT,
        record,
        told_at=record.received_at or batch.sources[record.place.source].first_seen,
        from_file=False,
        max_bytes=law.max_bytes,
        max_depth=law.max_depth,
    )
