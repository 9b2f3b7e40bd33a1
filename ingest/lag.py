"""How far behind the broker this process is, for whoever asks from another thread."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from aiokafka import TopicPartition

from ingest.pending import Pending


class PartitionLag(NamedTuple):
    topic: str
    partition: int
    records: int | None
    """From the position in the database to the log's end, the broker's own markers included; None: no fetch yet."""
    seconds: float
    """How long ago the broker received the oldest record that is taken and not stored; 0 when there is none."""


class _InHand(NamedTuple):
    oldest: Mapping[TopicPartition, datetime | None]
    taken_at: float | None


class Lag:
    """What is known of the partitions that are ours now. Changed by the loop only, each time in one assignment."""

    def __init__(self) -> None:
        self._stored: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._in_hand: tuple[_InHand, ...] = ()

    def begin(self, tp: TopicPartition, position: int) -> None:
        """A partition is ours, from `position` on."""
        self._stored[tp] = position

    def forget(self) -> None:
        """No partition is ours for the moment; what is in hand is still to be stored, if that can be."""
        self._stored, self._ends = {}, {}

    def drop(self) -> None:
        """What was handed out is not ours to store."""
        self._in_hand = ()

    def see_end(self, tp: TopicPartition, end: int | None) -> None:
        if end is not None:
            self._ends[tp] = end

    def hand_out(self, pending: Pending) -> None:
        """What was pending is to be stored, after what was handed out before it."""
        self._in_hand = (*self._in_hand, _InHand(pending.oldest, pending.began))

    def store(self, positions: Mapping[TopicPartition, int]) -> None:
        """What was handed out first is stored, up to these positions."""
        self._stored.update({tp: at for tp, at in positions.items() if tp in self._stored})
        self._in_hand = self._in_hand[1:]

    @property
    def partitions(self) -> list[PartitionLag]:
        now, found = datetime.now(UTC), []
        oldest = {tp: since for batch in reversed(self._in_hand) for tp, since in batch.oldest.items()}
        for tp, stored in list(self._stored.items()):
            end, since = self._ends.get(tp), oldest.get(tp)
            records = None if end is None else max(0, end - stored)
            seconds = 0.0 if since is None else max(0.0, (now - since).total_seconds())
            found.append(PartitionLag(tp.topic, tp.partition, records, seconds))
        return found

    @property
    def oldest_unwritten_s(self) -> float:
        """How long the oldest record in hand has been waiting to be stored, by our own clock."""
        in_hand = self._in_hand
        taken_at = in_hand[0].taken_at if in_hand else None
        return 0.0 if taken_at is None else time.monotonic() - taken_at
