"""What is taken from the broker and not yet a batch.

A batch goes when it is full, or when the one before it went long enough ago: what has come meanwhile does not wait once
more, and the first record after a silence does not wait at all.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from aiokafka import ConsumerRecord, TopicPartition

from ingest.batch import Batch
from ingest.carried import Archives, Headers
from ingest.settings import Settings
from schemas.record import Place, Record, places
from sinks.ledger import Gap, Move, Source

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS: Final = 253_402_300_799_999
_EXACT_MS: Final = 4_102_444_800_000
"""Up to here, the year 2100, seconds as a double tell microseconds exactly."""


class Pending:
    """Records and gaps in the order of their partitions, from the moment when the batch before is handed out.

    :param sources: what the present log of each topic is called in the ledger.
    :param archives: where the topics may carry records of archives.
    """

    def __init__(self, sources: Mapping[str, Source], archives: Archives | None = None) -> None:
        self.records: list[Record] = []
        self.began: float | None = None
        """When the first of it was taken, by the monotonic clock."""
        self.oldest: dict[TopicPartition, datetime | None] = {}
        """When the broker received the first record of each partition."""
        self._sources = sources
        self._bytes = 0
        self._since = time.monotonic()
        self._expected: dict[TopicPartition, int] = {}
        self._next: dict[TopicPartition, int] = {}
        self._gaps: dict[TopicPartition, list[Gap]] = {}
        self._archives = archives
        self._archives_told: dict[str, Source] = {}
        self._repeated: dict[TopicPartition, list[int]] = {}
        self._stand_elsewhere: list[Place] = []

    def add(self, tp: TopicPartition, at: int, records: Sequence[ConsumerRecord[bytes, bytes]]) -> int:
        """Records of a partition that is taken up to `at`, and the gaps between them; how far it is taken then."""
        first, next_offset = at, int(records[-1].offset) + 1
        if next_offset - at != len(records):
            for record in records:
                if record.offset > at:
                    self._gaps.setdefault(tp, []).append(Gap(at, record.offset, "skipped"))
                at = record.offset + 1
        stands_at = places(self._sources[tp.topic].name, tp.partition, [record.offset for record in records])
        taken, stamped, received_at = [], -1, None
        for place, record in zip(stands_at, records, strict=True):
            if record.timestamp != stamped:  # the broker stamps records together
                stamped, received_at = record.timestamp, instant(record.timestamp)
            taken.append(Record(place, received_at, record.value))
        self.oldest.setdefault(tp, taken[0].received_at)
        self._bytes += sum(len(record.value or b"") for record in taken)
        self._reach(tp, first, next_offset)
        if self._archives is None:
            self.records += taken
        else:
            for record, given in zip(taken, records, strict=True):
                self._unwrap(tp, record, given.headers, self._archives)
        return next_offset

    def pass_over(self, tp: TopicPartition, gap: Gap) -> None:
        self._gaps.setdefault(tp, []).append(gap)
        self._reach(tp, gap.first_offset, gap.next_offset)

    def ready(self, settings: Settings) -> bool:
        return self.full(settings) or (self.began is not None and self.wait_ms(settings) == 0)

    def full(self, settings: Settings) -> bool:
        return len(self.records) >= settings.batch_records or self._bytes >= settings.batch_bytes

    def wait_ms(self, settings: Settings) -> int:
        """How long to wait for more before what is here has to go; a while when there is nothing."""
        if self.began is None:
            return settings.batch_age_ms
        return max(0, int(settings.batch_age_ms - (time.monotonic() - self._since) * 1000))

    def batch(self) -> Batch:
        moves = [
            Move(
                self._sources[tp.topic],
                tp.partition,
                at,
                self._next[tp],
                self._gaps.get(tp, ()),
                repeated=self._repeated.get(tp, ()),
            )
            for tp, at in self._expected.items()
        ]
        sources = {source.name: source for source in self._sources.values()} | self._archives_told
        return Batch(self.records, moves, sources, stand_elsewhere=self._stand_elsewhere)

    def _unwrap(self, tp: TopicPartition, record: Record, headers: Headers, archives: Archives) -> None:
        carried = archives.carried(record, headers)
        if carried is None:
            self.records.append(record)
            return
        source, inner = carried
        self._archives_told[source.name] = source
        self._repeated.setdefault(tp, []).append(record.place.offset)
        if inner.value is None:
            self._stand_elsewhere.append(inner.place)
        else:
            self.records.append(inner)

    def _reach(self, tp: TopicPartition, offset: int, next_offset: int) -> None:
        if self.began is None:
            self.began = time.monotonic()
        self._expected.setdefault(tp, offset)
        self._next[tp] = next_offset


def instant(timestamp_ms: int) -> datetime | None:
    """A record's timestamp; with CreateTime it is whatever a sender wrote, so it is cut to what a datetime can hold."""
    if 0 <= timestamp_ms < _EXACT_MS:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    return None if timestamp_ms < 0 else _EPOCH + timedelta(milliseconds=min(timestamp_ms, _LATEST_MS))
