"""Kafka as a source: batches of records, from where the database says we stand.

The database holds the only position that counts. On assignment we seek to it; the group's committed offsets are written
for the lag tools and never read by us.
"""

import asyncio
import time
from collections.abc import Collection, Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Literal

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError, OffsetOutOfRangeError

from ingest.batch import Batch
from ingest.broker import (
    BrokerAwayError,
    beyond_the_end,
    consumer_options,
    failure,
    leave,
    partitions_of,
    source_name,
    start_whole,
    told_offsets,
    topic_of,
)
from ingest.carried import Archives
from ingest.group_offsets import GroupOffsets
from ingest.lag import Lag
from ingest.pending import Pending
from ingest.same_log import check_same_log, made_anew, stands
from ingest.settings import Settings
from sinks.database import Database
from sinks.errors import SinkError
from sinks.ledger import Gap, Move, Source, Standing, begin_partition, open_source, topics

log = structlog.get_logger(__name__)

Fetched = dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]

_LOOK_AHEAD_MS = 5
_AHEAD_AT_ONCE = 400
"""Records: some 1 ms, by which the database may have to wait for us at each step of a transaction."""
_NOTHING_FOR_S, _ANSWERS_WITHIN_S = 1.0, 10.0
_PROVE_WITHIN_S = 5.0
"""How long the last record taken may fail to come before the broker is asked for it otherwise."""


class KafkaSource:
    """The batches of the partitions that the group gives us, each from the database's position on.

    After a rebalance, or when `reposition` is called, everything taken and not stored is forgotten and every partition
    begins again at its position: what we hold in memory is never the truth.

    :param archives: where records of archives are looked up; None: headers are not read, whatever they say.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        topics: Collection[str],
        *,
        group_id: str,
        holds: Literal["readings", "registry"],
        archives: Archives | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._topics = tuple(topics)
        self._group_id = group_id
        self._holds = holds
        self._sources: dict[str, Source] = {}
        self._next: dict[TopicPartition, int] = {}
        self._unproven: dict[TopicPartition, Standing] = {}
        self._prove_by = 0.0
        self._archives = archives
        self._pending = Pending(self._sources, archives)
        self.lag = Lag()
        self._assignments = self._assignments_looked_at = 0
        self._group_offsets = GroupOffsets()
        self._consumer: Any = None  # an AIOKafkaConsumer from start to stop

    async def start(self) -> None:
        """Join the group.

        :raises BrokerAwayError: when the broker cannot be reached; :raises OperatorError: when a topic is missing.
        """
        counts = await partitions_of(self._settings, self._topics)
        consumer = AIOKafkaConsumer(
            **consumer_options(self._settings, partitions=sum(counts.values())),
            group_id=self._group_id,
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
            session_timeout_ms=int(self._settings.kafka_session_timeout_s * 1000),
            heartbeat_interval_ms=int(self._settings.kafka_session_timeout_s * 300),
            # A member that dies while all are joining is waited for so long, and nothing is taken by anybody meanwhile.
            # Giving up partitions takes us no time: what is not stored is taken again.
            rebalance_timeout_ms=int(self._settings.kafka_session_timeout_s * 2000),
            max_poll_interval_ms=300_000,
        )
        consumer.subscribe(list(self._topics), listener=_Forget(self))
        self._consumer = consumer
        try:
            await start_whole(consumer)
        except (KafkaError, OSError) as error:
            await self.stop()
            raise failure(error, "cannot be reached") from None

    async def stop(self) -> None:
        """Leave the group: politely if the broker answers within a moment, and without a trace if it does not."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            async with AsyncExitStack() as whatever_happens:
                whatever_happens.push_async_callback(self._group_offsets.end)
                whatever_happens.push_async_callback(leave, consumer)
                await self._group_offsets.tell_the_last(consumer)

    async def see_broker(self) -> None:
        """Whether the broker answers, for who waits for records: of one that has gone aiokafka tells nobody.

        By the connections that there are, and without a partition of ours not at all.

        :raises AwayError: when it does not answer in time; :raises OperatorError: when it refuses to.
        """
        if self._consumer is not None and (ours := self._consumer.assignment()):
            try:
                async with asyncio.timeout(_ANSWERS_WITHIN_S):
                    await told_offsets(self._consumer.end_offsets(ours))
            except TimeoutError:
                raise BrokerAwayError("the broker does not answer") from None

    def park(self, assigned: Collection[TopicPartition]) -> None:
        """Hold newly assigned partitions still until their positions are read; called before anything is fetched."""
        self.forget()
        self._assignments += 1
        if self._consumer is not None:
            for tp in assigned:
                self._consumer.pause(tp)
                self._consumer.seek(tp, 0)

    def reposition(self) -> None:
        """Drop the batches in hand; every partition begins again at the position that the database holds."""
        self.lag.drop()
        self.forget()

    def forget(self) -> None:
        """Forget what was taken since the last batch; the positions are asked for again."""
        self._next.clear()
        self._unproven.clear()
        self._sources = {}
        self._pending = Pending(self._sources, self._archives)
        self.lag.forget()
        self._group_offsets.forget()

    async def take(self, *, ahead_until: asyncio.Event | None = None) -> Batch | None:
        """The next batch: when it is full by count or bytes, or has become old; None when nothing comes for a while.

        :param ahead_until: another batch is being stored until then, over the connection that we would ask the database
            by. Only a full one is given meanwhile; None, where it is not full by then, or the database would have to be
            asked. What was taken comes the next time.
        :raises AwayError: when the database or the broker is away; calling again goes on.
        :raises OperatorError: when a topic is gone or made anew, or a position lies beyond its log's end.
        """
        self._group_offsets.tell_now_and_then(self._consumer)
        until = time.monotonic() + _NOTHING_FOR_S
        while not (self._pending.full if ahead_until else self._pending.ready)(self._settings):
            if ahead_until and (ahead_until.is_set() or self._has_to_ask):
                return None
            if self._pending.began is None and time.monotonic() > until:
                return None  # whoever waited for us sees that the world is there
            if (now := self._assignments) != self._assignments_looked_at:
                # A topic that was deleted is taken from us in silence, and its partitions are nobody's.
                await partitions_of(self._settings, self._topics)
                self._assignments_looked_at = now
            await self._find_positions()
            if not self._next:
                await asyncio.sleep(0.05)
                continue
            await self._prove_otherwise()
            try:
                fetched = await self._some(ahead=ahead_until is not None)
                if await self._archives_known(fetched):
                    await self._keep(fetched)
                await asyncio.sleep(0)  # what is there already comes without a pause: others have their turn
            except OffsetOutOfRangeError as error:
                await self._pass_over_truncated(error.args[0])
            except IllegalStateError:
                self.forget()  # revoked between two steps
            except KafkaError as error:
                raise failure(error, "cannot be read") from None
        batch = self._pending.batch()
        self.lag.hand_out(self._pending)
        self._pending = Pending(self._sources, self._archives)
        return batch

    async def _some(self, *, ahead: bool) -> Fetched:
        """What comes while the batch can wait, and during a rebalance later; ahead of its turn only a little."""
        room, wait_ms = self._settings.batch_records - len(self._pending.records), self._pending.wait_ms(self._settings)
        if ahead:
            room, wait_ms = min(room, _AHEAD_AT_ONCE), _LOOK_AHEAD_MS
        fetched: Fetched = await self._consumer.getmany(*self._next, timeout_ms=wait_ms, max_records=room)
        return fetched

    @property
    def _has_to_ask(self) -> bool:
        """Whether what comes next is known only after the database, or the broker, has been asked for more."""
        return (
            self._archives is not None
            or self._assignments != self._assignments_looked_at
            or bool(self._unproven)
            or not self._next
            or any(tp not in self._next for tp in self._consumer.assignment())
        )

    def stored(self, batch: Batch) -> None:
        """The batch was stored with its position: the lag and the group's offsets may say so."""
        offsets = {_partition(move): move.next_offset for move in batch.moves}
        self.lag.store(offsets)
        self._group_offsets.note({tp: offset for tp, offset in offsets.items() if tp in self._next})

    async def _find_positions(self) -> None:
        unknown = [tp for tp in self._consumer.assignment() if tp not in self._next]
        if not unknown:
            return
        named = {tp.topic for tp in unknown}
        async with self._database.transaction() as connection:
            known = await topics(connection, named)
            for topic in named - known.keys():
                await open_source(connection, source_name(topic), first_seen=datetime.now(UTC), holds=self._holds)
            known = await topics(connection, named)
        if new := [tp for tp in unknown if tp.partition not in known[tp.topic].partitions]:
            beginnings = await told_offsets(self._consumer.beginning_offsets(new))
            async with self._database.transaction() as connection:
                for tp in new:
                    await begin_partition(connection, known[tp.topic].source, tp.partition, beginnings[tp])
                known = await topics(connection, named)
        # No await from here on: a rebalance cannot come between the look and the seek.
        self._prove_by = time.monotonic() + _PROVE_WITHIN_S
        for tp in unknown:
            if tp in self._consumer.assignment():
                self._sources[tp.topic] = known[tp.topic].source
                standing = known[tp.topic].partitions[tp.partition]
                self._next[tp] = standing.next_offset
                self.lag.begin(tp, standing.next_offset)
                self._group_offsets.note({tp: standing.next_offset})  # whoever had it may not have come to tell
                if standing.last is not None:
                    self._unproven[tp] = standing
                # From the last record taken on, to see that it still stands there.
                self._consumer.seek(tp, standing.next_offset if standing.last is None else standing.last.offset)
                self._consumer.resume(tp)

    async def _prove_otherwise(self) -> None:
        """Where the last record taken does not come, the broker is asked whether the log may be the same even so."""
        if not self._unproven or time.monotonic() < self._prove_by:
            return
        for tp, standing in list(self._unproven.items()):
            await check_same_log(self._settings, tp, standing)
            if self._unproven.get(tp) is standing:  # no rebalance came between
                del self._unproven[tp]
                self._consumer.seek(tp, standing.next_offset)

    async def _pass_over_truncated(self, out_of_range: dict[TopicPartition, int]) -> None:
        """Offsets that retention deleted before we took them are a gap, noted and told; beyond the end is no place."""
        beginnings = await told_offsets(self._consumer.beginning_offsets(list(out_of_range)))
        ends = await told_offsets(self._consumer.end_offsets(list(out_of_range)))
        for tp, sought in out_of_range.items():
            beginning, at = beginnings[tp], self._next.get(tp)
            standing = self._unproven.get(tp)
            expected = at if standing is None or standing.last is None else standing.last.offset
            if at is None or expected != sought or sought == beginning:
                continue
            if sought > beginning:
                raise beyond_the_end(tp.topic, tp.partition, at, ends[tp])
            self._unproven.pop(tp, None)  # deleted with what came before the position, so that nothing tells of it
            if at < beginning:
                log.warning("records were deleted before they were taken", topic=tp.topic, partition=tp.partition,
                            first_offset=at, next_offset=beginning)  # fmt: skip
                self._pending.pass_over(tp, Gap(at, beginning, "truncated"))
                self._next[tp] = beginning
            self._consumer.seek(tp, self._next[tp])

    async def _archives_known(self, fetched: Fetched) -> bool:
        """Whether every archive that these tell of is known, and they are still ours to keep."""
        if self._archives is None:
            return True
        pending = self._pending
        try:
            await self._archives.look_up(record.headers for records in fetched.values() for record in records)
        except SinkError:
            self.forget()  # they are fetched again
            raise
        return self._pending is pending

    async def _keep(self, fetched: Fetched) -> None:
        for tp, records in fetched.items():
            if tp in self._unproven and not self._proven(tp, records):
                continue
            at = self._next[tp]
            # The broker gives whole batches, from before the place that was sought.
            ours = records if records[0].offset >= at else [record for record in records if record.offset >= at]
            if ours:
                self._next[tp] = self._pending.add(tp, at, ours)
        for tp, at in list(self._next.items()):
            if tp in self._unproven:
                continue
            # The broker's own markers are never given to us: behind the last record the position alone tells of them.
            reached = await self._consumer.position(tp)
            if reached > at:
                self._pending.pass_over(tp, Gap(at, reached, "marker"))
                self._next[tp] = reached
            self.lag.see_end(tp, self._consumer.highwater(tp))

    def _proven(self, tp: TopicPartition, records: list[ConsumerRecord[bytes, bytes]]) -> bool:
        """Whether the last record taken is among these; if another stands in its place, the line stops."""
        standing = self._unproven[tp]
        taken = standing.last
        assert taken is not None, "only those that have one are to be proven"
        for record in records:
            if record.offset == taken.offset:
                if not stands(record, taken):
                    raise made_anew(tp, record, taken)
                del self._unproven[tp]
                if standing.next_offset > taken.offset + 1:  # behind a gap, or nowhere: the broker tells
                    self._consumer.seek(tp, standing.next_offset)
                return True
            if record.offset > taken.offset:
                self._prove_by = 0.0  # nothing stands there: it will be proven otherwise, and these come again
                return False
        return False


class _Forget(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka carries no types
    """A rebalance makes every position uncertain, whichever partitions stay ours."""

    def __init__(self, source: KafkaSource) -> None:
        self._source = source

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        if revoked:
            log.info("partitions given up", partitions=_named(revoked))
        self._source.forget()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        # Fetching begins at our first await, not when this returns: first everything is held still.
        self._source.park(assigned)
        log.info("partitions taken", partitions=_named(assigned))


def _partition(move: Move) -> TopicPartition:
    return TopicPartition(topic_of(move.source.name), move.partition)


def _named(partitions: Iterable[TopicPartition]) -> list[str]:
    return sorted(f"{tp.topic}/{tp.partition}" for tp in partitions)
