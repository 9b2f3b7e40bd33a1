"""Kafka as a source: batches of records, from where the database says we stand.

The database holds the only position that counts. On assignment we seek to it; the group's committed offsets are written
for the lag tools and never read by us.
"""

import asyncio
import time
from collections.abc import Awaitable, Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    IllegalStateError,
    InvalidSessionTimeoutError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    KafkaUnavailableError,
    OffsetOutOfRangeError,
    UnknownError,
    UnrecognizedBrokerVersion,
)

from ingest.settings import Settings
from ingest.store import Batch
from schemas.record import Place, Record
from sinks.database import Database
from sinks.errors import AwayError, OperatorError, SinkError
from sinks.ledger import Gap, Move, Source, begin_partition, open_source, positions

log = structlog.get_logger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS = 253_402_300_799_999
_AWAY = (
    KafkaConnectionError,
    KafkaTimeoutError,
    KafkaUnavailableError,
    UnknownError,
    UnrecognizedBrokerVersion,
    OSError,
)
"""What aiokafka does not call retriable although time mends it."""
_COMMIT_EVERY_S, _COMMIT_WITHIN_S, _LEAVE_WITHIN_S = 1.0, 5.0, 3.0


def source_name(topic: str) -> str:
    """The name in the ledger of what a topic holds."""
    return f"kafka:{topic}"


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
        " the wrong cluster, or a broker restored from a backup"
    )


async def partitions_of(settings: Settings, topics: Collection[str]) -> dict[str, int]:
    """How many partitions each topic has, without ever creating one.

    :raises OperatorError: when one is missing; :raises BrokerAwayError: when the broker cannot be reached.
    """
    admin = AIOKafkaAdminClient(**connection_options(settings))
    try:
        await admin.start()
        known = set(await admin.list_topics())
        if missing := [topic for topic in topics if topic not in known]:
            raise OperatorError(f"the broker has no topic {missing[0]}; create it or name another in READINGS_*_TOPIC")
        described = await admin.describe_topics(list(topics))
    except (KafkaError, OSError) as error:
        raise failure(error, "cannot be reached") from None
    finally:
        await admin.close()
    return {topic["topic"]: len(topic["partitions"]) for topic in described}


def connection_options(settings: Settings) -> dict[str, Any]:
    """What every client of the broker is told."""
    return {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "request_timeout_ms": int(settings.kafka_timeout_s * 1000),
        "client_id": "device-readings",
        # How long a new partition, or a topic that was deleted, may go unnoticed: five minutes unless told.
        "metadata_max_age_ms": 10_000,
    }


def consumer_options(settings: Settings) -> dict[str, Any]:
    """What every consumer is told: nothing is committed for us, and only what is committed is read."""
    return {
        **connection_options(settings),
        "enable_auto_commit": False,
        "isolation_level": "read_committed",
        # Where the database knows no position and the log has moved on, we decide, and say so.
        "auto_offset_reset": "none",
        # Bounds what is fetched ahead: memory, not speed, is what these limit.
        "max_partition_fetch_bytes": 1_048_576,
        "fetch_max_bytes": 16_777_216,
    }


class KafkaSource:
    """The batches of the partitions that the group gives us, each from the database's position on.

    After a rebalance, or when `reposition` is called, everything taken and not stored is forgotten and every partition
    begins again at its position: what we hold in memory is never the truth.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        topics: Collection[str],
        *,
        group_id: str,
        holds: Literal["readings", "registry"],
    ) -> None:
        self._settings = settings
        self._database = database
        self._topics = tuple(topics)
        self._group_id = group_id
        self._holds = holds
        self._sources: dict[str, Source] = {}
        self._next: dict[TopicPartition, int] = {}
        self._pending = _Pending()
        self._assignments = self._assignments_looked_at = 0
        self._committed_at = 0.0
        self._committing: asyncio.Task[None] | None = None
        self._consumer: Any = None  # an AIOKafkaConsumer from start to stop

    async def start(self) -> None:
        """Join the group.

        :raises BrokerAwayError: when the broker cannot be reached; :raises OperatorError: when a topic is missing.
        """
        await partitions_of(self._settings, self._topics)
        consumer = AIOKafkaConsumer(
            **consumer_options(self._settings),
            group_id=self._group_id,
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
            session_timeout_ms=int(self._settings.kafka_session_timeout_s * 1000),
            heartbeat_interval_ms=int(self._settings.kafka_session_timeout_s * 300),
            rebalance_timeout_ms=60_000,
            max_poll_interval_ms=300_000,
        )
        consumer.subscribe(list(self._topics), listener=_Forget(self))
        self._consumer = consumer
        try:
            await consumer.start()
        except (KafkaError, OSError) as error:
            await self.stop()
            raise failure(error, "cannot be reached") from None

    async def stop(self) -> None:
        """Leave the group: politely if the broker answers within a moment, and without a trace if it does not."""
        consumer, self._consumer = self._consumer, None
        if self._committing is not None:
            self._committing.cancel()
            await asyncio.gather(self._committing, return_exceptions=True)
        if consumer is not None:
            await _leave(consumer)

    def park(self, assigned: Collection[TopicPartition]) -> None:
        """Hold newly assigned partitions still until their positions are read; called before anything is fetched."""
        self.reposition()
        self._assignments += 1
        if self._consumer is not None:
            for tp in assigned:
                self._consumer.pause(tp)
                self._consumer.seek(tp, 0)

    def reposition(self) -> None:
        """Forget what was taken; every partition begins again at the position that the database holds."""
        self._next.clear()
        self._pending = _Pending()

    async def take(self) -> Batch:
        """The next batch: when it is full by count or bytes, or has become old; waits while there is nothing.

        :raises AwayError: when the database or the broker is away; calling again goes on.
        :raises OperatorError: when a topic is gone, or a position lies beyond its log's end.
        """
        while not self._pending.ready(self._settings):
            if (now := self._assignments) != self._assignments_looked_at:
                # A topic that was deleted is taken from us in silence, and its partitions are nobody's.
                await partitions_of(self._settings, self._topics)
                self._assignments_looked_at = now
            await self._find_positions()
            if not self._next:
                await asyncio.sleep(0.05)
                continue
            room = self._settings.batch_records - len(self._pending.records)
            wait_ms = self._pending.wait_ms(self._settings)
            try:
                # During a rebalance this waits longer than it is asked to: for the rebalance.
                fetched = await self._consumer.getmany(*self._next, timeout_ms=wait_ms, max_records=room)
                await self._keep(fetched)
            except OffsetOutOfRangeError as error:
                await self._pass_over_truncated(error.args[0])
            except IllegalStateError:
                self.reposition()  # revoked between two steps
            except KafkaError as error:
                raise failure(error, "cannot be read") from None
        batch, self._pending = self._pending.batch(self._sources), _Pending()
        return batch

    def stored(self, batch: Batch) -> None:
        """Tell the group how far we are, now and then, for the tools that show lag. Failing to is no matter."""
        busy = self._committing is not None and not self._committing.done()
        if busy or time.monotonic() - self._committed_at < _COMMIT_EVERY_S:
            return
        self._committed_at = time.monotonic()
        offsets = {_partition(move): move.next_offset for move in batch.moves if _partition(move) in self._next}
        self._committing = asyncio.create_task(_commit(self._consumer, offsets))

    async def _find_positions(self) -> None:
        unknown = [tp for tp in self._consumer.assignment() if tp not in self._next]
        if not unknown:
            return
        async with self._database.transaction() as connection:
            for topic in {tp.topic for tp in unknown} - self._sources.keys():
                name = source_name(topic)
                self._sources[topic] = await open_source(
                    connection, name, first_seen=datetime.now(UTC), holds=self._holds
                )
            known = await positions(connection, {source_name(tp.topic) for tp in unknown})
        new = [tp for tp in unknown if (source_name(tp.topic), tp.partition) not in known]
        if new:
            beginnings = await _told(self._consumer.beginning_offsets(new))
            async with self._database.transaction() as connection:
                for tp in new:
                    await begin_partition(connection, self._sources[tp.topic], tp.partition, beginnings[tp])
                known = await positions(connection, {source_name(tp.topic) for tp in unknown})
        # No await from here on: a rebalance cannot come between the look and the seek.
        for tp in unknown:
            if tp in self._consumer.assignment():
                self._next[tp] = known[source_name(tp.topic), tp.partition]
                self._consumer.seek(tp, self._next[tp])
                self._consumer.resume(tp)

    async def _pass_over_truncated(self, out_of_range: dict[TopicPartition, int]) -> None:
        """Offsets that retention deleted before we took them are a gap, noted and told; beyond the end is no place."""
        beginnings = await _told(self._consumer.beginning_offsets(list(out_of_range)))
        ends = await _told(self._consumer.end_offsets(list(out_of_range)))
        for tp, at in out_of_range.items():
            beginning = beginnings[tp]
            if self._next.get(tp) != at or at == beginning:
                continue
            if at > beginning:
                raise beyond_the_end(tp.topic, tp.partition, at, ends[tp])
            log.warning("records were deleted before they were taken", topic=tp.topic, partition=tp.partition,
                        first_offset=at, next_offset=beginning)  # fmt: skip
            self._pending.pass_over(tp, Gap(at, beginning, "truncated"))
            self._next[tp] = beginning
            self._consumer.seek(tp, beginning)

    async def _keep(self, fetched: dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]) -> None:
        for tp, records in fetched.items():
            for record in records:
                at = self._next[tp]
                if record.offset > at:
                    self._pending.pass_over(tp, Gap(at, record.offset, "skipped"))
                if record.offset >= at:  # the broker gives whole batches, from before the place that was sought
                    self._pending.add(tp, record)
                    self._next[tp] = record.offset + 1
        for tp, at in list(self._next.items()):
            # The broker's own markers are never given to us: behind the last record the position alone tells of them.
            reached = await self._consumer.position(tp)
            if reached > at:
                self._pending.pass_over(tp, Gap(at, reached, "marker"))
                self._next[tp] = reached


class _Forget(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka carries no types
    """A rebalance makes every position uncertain, whichever partitions stay ours."""

    def __init__(self, source: KafkaSource) -> None:
        self._source = source

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        log.info("partitions given up", partitions=_named(revoked))
        self._source.reposition()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        # Fetching begins at our first await, not when this returns: first everything is held still.
        self._source.park(assigned)
        log.info("partitions taken", partitions=_named(assigned))


async def _told(asking: Awaitable[dict[TopicPartition, int]]) -> dict[TopicPartition, int]:
    """Where logs begin or end, by the broker's answer."""
    try:
        return await asking
    except KafkaError as error:
        raise failure(error, "cannot tell its offsets") from None


async def _commit(consumer: Any, offsets: dict[TopicPartition, int]) -> None:
    try:
        await asyncio.wait_for(consumer.commit(offsets), _COMMIT_WITHIN_S)
    except (KafkaError, TimeoutError) as error:
        log.debug("group offsets not committed", error=type(error).__name__)


async def _leave(consumer: Any) -> None:
    """Stop a consumer within a bounded time, whatever the broker does.

    aiokafka 0.14 may raise CancelledError out of `stop` and leave its client open when the broker is away.
    """
    try:
        async with asyncio.timeout(_LEAVE_WITHIN_S):
            await consumer.stop()
    except (KafkaError, TimeoutError):
        pass
    except asyncio.CancelledError:
        if asyncio.current_task().cancelling():  # type: ignore[union-attr]
            raise
    else:
        return
    with suppress(KafkaError, TimeoutError, asyncio.CancelledError):
        await asyncio.wait_for(consumer._client.close(), 1)  # noqa: SLF001 - what `stop` left open


class _Pending:
    """What is taken and not yet a batch."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._bytes = 0
        self._began: float | None = None
        self._expected: dict[TopicPartition, int] = {}
        self._next: dict[TopicPartition, int] = {}
        self._gaps: dict[TopicPartition, list[Gap]] = {}

    def add(self, tp: TopicPartition, record: ConsumerRecord[bytes, bytes]) -> None:
        place = Place(source_name(tp.topic), tp.partition, record.offset)
        self.records.append(Record(place, _instant(record.timestamp), record.value))
        self._bytes += len(record.value or b"")
        self._reach(tp, record.offset, record.offset + 1)

    def pass_over(self, tp: TopicPartition, gap: Gap) -> None:
        self._gaps.setdefault(tp, []).append(gap)
        self._reach(tp, gap.first_offset, gap.next_offset)

    def ready(self, settings: Settings) -> bool:
        return self._began is not None and (
            len(self.records) >= settings.batch_records
            or self._bytes >= settings.batch_bytes
            or self.wait_ms(settings) == 0
        )

    def wait_ms(self, settings: Settings) -> int:
        """How long to wait for more before what is here has become old; a while when there is nothing."""
        if self._began is None:
            return settings.batch_age_ms
        return max(0, int(settings.batch_age_ms - (time.monotonic() - self._began) * 1000))

    def batch(self, sources: dict[str, Source]) -> Batch:
        moves = [
            Move(sources[tp.topic], tp.partition, at, self._next[tp], self._gaps.get(tp, ()))
            for tp, at in self._expected.items()
        ]
        return Batch(self.records, moves, {source_name(topic): source for topic, source in sources.items()})

    def _reach(self, tp: TopicPartition, offset: int, next_offset: int) -> None:
        if self._began is None:
            self._began = time.monotonic()
        self._expected.setdefault(tp, offset)
        self._next[tp] = next_offset


def _instant(timestamp_ms: int) -> datetime | None:
    """A record's timestamp; with CreateTime it is whatever a sender wrote, so it is cut to what a datetime can hold."""
    return None if timestamp_ms < 0 else _EPOCH + timedelta(milliseconds=min(timestamp_ms, _LATEST_MS))


def _partition(move: Move) -> TopicPartition:
    return TopicPartition(move.source.name.removeprefix("kafka:"), move.partition)


def _named(partitions: Iterable[TopicPartition]) -> list[str]:
    return sorted(f"{tp.topic}/{tp.partition}" for tp in partitions)
