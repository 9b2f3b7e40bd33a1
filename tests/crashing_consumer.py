"""`readings consume --until-caught-up` that kills itself, as kill -9 does, the first time it comes to a named point.

Run as `python -m tests.crashing_consumer POINT`. The product has no such points: they are put around its functions.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import ingest.registry_feed
import ingest.store
import sinks.database
from enrich.zones import table_zones
from ingest.consume import Consumer
from ingest.kafka import KafkaSource
from ingest.settings import load


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(module: Any, name: str) -> None:
    setattr(module, name, die)


def after(module: Any, name: str) -> None:
    original = getattr(module, name)

    async def then_die(*arguments: Any, **named: Any) -> Any:
        await original(*arguments, **named)
        die()

    setattr(module, name, then_die)


def around_commit(*, committed: bool) -> None:
    """Just before, or just after, the commit of the first transaction that stored readings."""
    wrote = False
    insert, transaction = ingest.store.insert_rejections, sinks.database.Database.transaction

    async def noting(*arguments: Any) -> None:
        nonlocal wrote
        await insert(*arguments)
        wrote = True

    @asynccontextmanager
    async def dying(self: Any, **how: Any) -> Any:
        async with transaction(self, **how) as connection:
            yield connection
            if wrote and not committed:
                die()
        if wrote and committed:
            die()

    ingest.store.insert_rejections = noting  # type: ignore[assignment]
    sinks.database.Database.transaction = dying  # type: ignore[method-assign, assignment]


POINTS: dict[str, Callable[[], None]] = {
    "registry states about to be added": lambda: before(ingest.registry_feed, "add_states"),
    "registry states added, not committed": lambda: after(ingest.registry_feed, "add_states"),
    "batch taken": lambda: after(KafkaSource, "take"),
    "batch about to be judged": lambda: before(ingest.store, "Judging"),
    "position about to be moved": lambda: before(ingest.store, "move"),
    "position moved": lambda: after(ingest.store, "move"),
    "rule 9 asked": lambda: after(ingest.store, "first_received"),
    "readings inserted": lambda: after(ingest.store, "insert_readings"),
    "rejections inserted": lambda: after(ingest.store, "insert_rejections"),
    "about to commit": lambda: around_commit(committed=False),
    "committed": lambda: around_commit(committed=True),
    "stored, group not told": lambda: before(KafkaSource, "stored"),
    "nowhere": lambda: None,
}


async def main(point: str) -> None:
    POINTS[point]()
    await Consumer(load(), table_zones(), asyncio.Event()).run(until_caught_up=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
