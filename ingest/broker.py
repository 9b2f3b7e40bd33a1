"""The broker: how it is reached, how it fails, what it says of its topics."""

import asyncio
from collections.abc import Awaitable, Collection
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    KafkaUnavailableError,
    UnknownError,
    UnrecognizedBrokerVersion,
)

from ingest.settings import Settings
from sinks.errors import AwayError, OperatorError, SinkError

_AWAY = (
    KafkaConnectionError,
    KafkaTimeoutError,
    KafkaUnavailableError,
    UnknownError,
    UnrecognizedBrokerVersion,
    OSError,
)
"""What aiokafka does not call retriable although time mends it."""

_START_ENDS_WITHIN_S: Final = 1.0
_LEAVE_WITHIN_S: Final = 3.0
_FETCH_BYTES: Final = 16_777_216


def source_name(topic: str) -> str:
    """The name in the ledger of the first log of a topic; `sinks.ledger.topics` tells that of its present one."""
    return f"kafka:{topic}"


def topic_of(source: str) -> str:
    """The topic that a source of the ledger is a log of: `kafka:<topic>`, or `kafka:<topic>@2` made anew."""
    return source.removeprefix("kafka:").partition("@")[0]


class BrokerAwayError(AwayError):
    """The broker cannot be reached: wait, nothing moves."""


def failure(error: KafkaError | OSError, what: str) -> SinkError:
    """What an error of the broker means for us: to wait, or that a person has to mend something."""
    if isinstance(error, InvalidSessionTimeoutError):
        return OperatorError(
            "the broker grants no session of READINGS_KAFKA_SESSION_TIMEOUT_S"
            " (see its group.min.session.timeout.ms and group.max.session.timeout.ms)"
        )
    away = isinstance(error, _AWAY) or error.retriable
    kind = BrokerAwayError if away else OperatorError
    return kind(f"the broker {what} ({type(error).__name__})")


def beyond_the_end(topic: str, partition: int, at: int, end: int) -> OperatorError:
    """What to stop with: going on there would pass over what comes before it."""
    return OperatorError(
        f"position {at} of {topic} partition {partition} lies beyond the log's end, {end}:"
        " the wrong cluster, a broker restored from a backup, or the topic was made anew under its name"
        f" (then: readings sources renew {topic})"
    )


async def partitions_of(
    settings: Settings, topics: Collection[str], *, answers_within_s: float | None = None
) -> dict[str, int]:
    """How many partitions each topic has, without ever creating one.

    :param answers_within_s: how long the broker may take over each answer; None: as long as the settings say.
    :raises OperatorError: when one is missing; :raises BrokerAwayError: when the broker cannot be reached.
    """
    options = connection_options(settings)
    if answers_within_s is not None:
        options["request_timeout_ms"] = min(int(answers_within_s * 1000), options["request_timeout_ms"])
    admin = AIOKafkaAdminClient(**options)
    try:
        await start_whole(admin)
        known = set(await admin.list_topics())
        if missing := [topic for topic in topics if topic not in known]:
            raise OperatorError(f"the broker has no topic {missing[0]}; create it or name another in READINGS_*_TOPIC")
        described = await admin.describe_topics(list(topics))
    except (KafkaError, OSError) as error:
        raise failure(error, "cannot be reached") from None
    finally:
        await admin.close()
    return {topic["topic"]: len(topic["partitions"]) for topic in described}


async def start_whole(client: Any) -> None:
    """Start a client; a cancellation waits a moment until it has started, for its owner to close.

    Cut off in the middle of it, aiokafka 0.14 would leave the connection open by which it looks for the cluster.
    """
    starting = asyncio.ensure_future(client.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(KafkaError, OSError, TimeoutError):
            await asyncio.wait_for(starting, _START_ENDS_WITHIN_S)
        raise


async def leave(client: Any, *, within_s: float = _LEAVE_WITHIN_S) -> None:
    """Stop a consumer or a producer within about that time, whatever the broker does.

    aiokafka 0.14 may raise CancelledError out of `stop`, and leaves its tasks and connections when that is cut off.
    """
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    cancelled = task.cancelling()
    try:
        async with asyncio.timeout(within_s):
            await client.stop()
    except (KafkaError, OSError, TimeoutError):
        pass
    except asyncio.CancelledError:
        if task.cancelling() > cancelled:
            raise
    else:
        return
    is_producer = isinstance(client, AIOKafkaProducer)
    # What `stop` would have closed next; aiokafka gives it no public name.
    left = (client._sender, client.client) if is_producer else (client._fetcher, client._client)  # noqa: SLF001
    for part in filter(None, left):
        with suppress(KafkaError, OSError, TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(part.close(), 1)


def connection_options(settings: Settings) -> dict[str, Any]:
    """What every client of the broker is told."""
    return {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "request_timeout_ms": int(settings.kafka_timeout_s * 1000),
        "client_id": "device-readings",
        # How long a new partition, or a topic that was deleted, may go unnoticed: five minutes unless told.
        "metadata_max_age_ms": 10_000,
    }


def consumer_options(settings: Settings, *, partitions: int = 16) -> dict[str, Any]:
    """What every consumer is told: nothing is committed for us, and only what is committed is read.

    :param partitions: how many it may have to itself. Of few more of each is fetched ahead, as much as of many.
    """
    return {
        **connection_options(settings),
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        # Where the database knows no position and the log has moved on, we decide, and say so.
        "auto_offset_reset": "none",
        # Bounds what is fetched ahead: memory is what these limit. A batch is some 2.5 MB, and may be of one partition.
        "max_partition_fetch_bytes": min(max(_FETCH_BYTES // partitions, 1_048_576), 4_194_304),
        "fetch_max_bytes": _FETCH_BYTES,
    }


async def told_offsets(asking: Awaitable[dict[TopicPartition, int]]) -> dict[TopicPartition, int]:
    """Where logs begin or end, by the broker's answer."""
    try:
        return await asking
    except KafkaError as error:
        raise failure(error, "cannot tell its offsets") from None
