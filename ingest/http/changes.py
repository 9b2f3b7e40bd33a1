"""A change of devices: states like any other, of the source `api`, in a transaction that has the registry alone."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, NamedTuple

from pydantic_core import to_json

from enrich.law import Law
from ingest.http.known import Asking, Device, device_now, now
from ingest.http.operations import Says
from ingest.http.world import World
from ingest.patience import Patience
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import About, State
from sinks.api_keys import Caller
from sinks.database import Connection
from sinks.errors import CollisionError
from sinks.ledger import Move, begin_partition, move, open_source, positions
from sinks.registry import add_states, have_registry_alone

SOURCE: Final = "api"
"""The name in the ledger of what is changed over HTTP; its one partition is 0, its offsets number the states."""
_PARTITION: Final = 0


class Change(NamedTuple):
    """What is to be said of a device."""

    device: Device
    says: Says


Decide = Callable[[Asking], Awaitable[list[Change]]]
"""Looks at the registry as it is, and gives what is to be said, or raises the precondition that does not hold."""


async def change_devices(world: World, caller: Caller, decide: Decide) -> list[Device]:
    """Store what `decide` gives; the devices after it. All of it, effective at one instant, or nothing.

    Decided twice: first holding nobody up, since while the registry is held alone no reading is stored; then for good.
    The registry comes before the position here, after it where a topic or a file is taken: no two wait for each other,
    since nobody else moves or holds the position of `api`.

    :raises ProblemError: when a precondition does not hold.
    """

    async def once() -> list[Device]:
        async with world.connections.transaction() as connection:
            await decide(await _asking(world, caller, connection))
            await have_registry_alone(connection)
            asking = await _asking(world, caller, connection)
            changes = await decide(asking)
            states = await _enter(connection, changes, at=asking.at, law=world.law)
        pairs = zip(changes, states, strict=True)
        return [
            device_now(change.device.device_id, [*change.device.states, state], at=asking.at, law=world.law)
            for change, state in pairs
        ]

    return await Patience(give_up_after_s=world.settings.api_timeout_s)(once, mended_by_time=(CollisionError,))


async def _asking(world: World, caller: Caller, connection: Connection) -> Asking:
    return Asking(connection, caller.customer_id, await now(connection), world.law, world.zones)


async def _enter(connection: Connection, changes: list[Change], *, at: datetime, law: Law) -> list[State]:
    """The states, at the next places of the source."""
    source = await open_source(connection, SOURCE, first_seen=at, holds="registry")
    await begin_partition(connection, source, _PARTITION, 0)
    ((_, first),) = (await positions(connection, [SOURCE])).items()
    # To the millisecond, as brokers tell of receipt: what is received after the answer is received under the state.
    effective_at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    told = [{"deviceId": change.device.device_id, **change.says, "recordedAt": at} for change in changes]
    records = [
        Record(Place(SOURCE, _PARTITION, offset), at, to_json(document)) for offset, document in enumerate(told, first)
    ]
    states = [_state(record, effective_at, law) for record in records]
    moved = Move(source, _PARTITION, first, first + len(records))
    await move(connection, [moved], {(SOURCE, _PARTITION): records[-1]})
    await add_states(connection, states, {SOURCE: source})
    return states


def _state(record: Record, effective_at: datetime, law: Law) -> State:
    told = understand_state(
        About.DEVICE, record, told_at=effective_at, from_file=False, max_bytes=law.max_bytes, max_depth=law.max_depth
    )
    assert isinstance(told, State), "its fields were checked at the door"
    return told
