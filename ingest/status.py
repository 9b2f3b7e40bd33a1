"""How things stand: what is stored, by which law, how far each source is taken, how far behind the broker we are."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final, NamedTuple, TypeVar

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from enrich.offsets import tzdb_version
from enrich.zones import Zones
from ingest.broker import BrokerAwayError, connection_options, source_name, start_whole
from ingest.high_water import high_water_marks
from ingest.law_parameters import parameters, standing_parameters
from ingest.patience import Patience
from ingest.pending import instant
from ingest.ready import ready_database
from ingest.same_log import first_record
from ingest.settings import Settings
from sinks.census import Census, PartitionCount, census
from sinks.corrections import pending_corrections
from sinks.errors import SinkError
from sinks.ledger import Topic, topics

Result = TypeVar("Result")

_TIMESTAMP_TYPE: Final = "message.timestamp.type"
CREATE_TIME: Final = "CreateTime"
"""The producer's clock, not the broker's: then "received" is what the sender says it is."""


@dataclass(frozen=True, slots=True)
class BrokerView:
    """What the broker said, as far as it answered."""

    high_water: dict[tuple[str, int], int] = field(default_factory=dict)
    """By topic and partition."""
    waiting_since: dict[tuple[str, int], datetime] = field(default_factory=dict)
    """When it received the next record to take, where there is one."""
    timestamp_type: str | None = None
    """Of the raw topic; None where the broker does not tell."""
    faults: list[str] = field(default_factory=list)
    """What it did not answer, and why: a line each."""


class Standing(NamedTuple):
    """How a partition of a source stands to the broker's log."""

    source: str
    partition: int
    taken: PartitionCount | None
    """None where nobody has begun it."""
    high_water: int | None
    """None where the broker did not tell, or the source is not one of its topics."""
    next_received_at: datetime | None
    """When the broker received the next record to take; None where there is none, or the broker did not tell."""

    @property
    def lag(self) -> int | None:
        """How many offsets are still to take, the broker's own markers included."""
        if self.taken is None or self.high_water is None:
            return None
        return self.high_water - self.taken.next_offset

    @property
    def behind_s(self) -> float | None:
        """How long ago the broker received the next record to take; 0 when all is taken."""
        if self.lag == 0:
            return 0.0
        if self.next_received_at is None:
            return None
        return max(0.0, (datetime.now(UTC) - self.next_received_at).total_seconds())


class LawDifference(NamedTuple):
    """A law parameter that this process has and the stored rows were not judged with, or the other way round."""

    name: str
    here: str | None
    stored: str | None


@dataclass(frozen=True, slots=True)
class Status:
    product: str
    tzdb: str
    zip_table: str
    law: dict[str, str]
    """What the stored rows were judged with."""
    law_differences: list[LawDifference]
    census: Census
    corrections_pending: int
    """Pieces of work left from late changes of the registry or of the law."""
    logs: dict[str, Topic]
    """By topic: its present log."""
    broker: BrokerView
    raw_topic: str

    @property
    def partitions(self) -> list[Standing]:
        """Every partition that is taken or that the broker has, by source."""
        counts = {(count.source, count.partition): count for count in self.census.partitions}
        high_water = {(self._source(topic), number): mark for (topic, number), mark in self.broker.high_water.items()}
        waiting = {(self._source(topic), number): at for (topic, number), at in self.broker.waiting_since.items()}
        return [
            Standing(*place, counts.get(place), high_water.get(place), waiting.get(place))
            for place in sorted(counts.keys() | high_water.keys())
        ]

    def _source(self, topic: str) -> str:
        return self.logs[topic].source.name if topic in self.logs else source_name(topic)

    @property
    def takes_senders_clock(self) -> bool:
        return self.broker.timestamp_type == CREATE_TIME


async def status(settings: Settings, zones: Zones) -> Status:
    """How things stand now. The broker is asked once, and may be away; the database may not.

    :raises AwayError: when the database was not reached in time; :raises SchemaError: when there is no schema.
    """
    async with ready_database(settings, "status") as database:

        async def look() -> tuple[Census, int, dict[str, Topic]]:
            async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
                pending = await pending_corrections(connection)
                return await census(connection), pending, await topics(connection, _topics(settings))

        counted, pending, logs = await Patience(give_up_after_s=settings.connect_timeout_s)(look)
        stored = await standing_parameters(database)
    ours = parameters(settings.law, zones)
    differences = [
        LawDifference(name, ours.get(name), stored.get(name))
        for name in sorted(ours.keys() | stored.keys())
        if ours.get(name) != stored.get(name)
    ]
    return Status(
        product=version("device-readings"),
        tzdb=tzdb_version(),
        zip_table=zones.version,
        law=stored,
        law_differences=differences,
        census=counted,
        corrections_pending=pending,
        logs=logs,
        broker=await broker_view(settings, logs),
        raw_topic=settings.raw_topic,
    )


def _topics(settings: Settings) -> tuple[str, ...]:
    return *settings.reading_topics, *settings.registry_topics


async def broker_view(settings: Settings, logs: Mapping[str, Topic]) -> BrokerView:
    """What the broker says of our topics, within `connect_timeout_s`; never raises for what it does not say."""
    faults: list[str] = []

    async def answer(asking: Awaitable[Result]) -> Result | None:
        try:
            async with asyncio.timeout(settings.connect_timeout_s):
                return await asking
        except SinkError as error:
            faults.append(str(error))
        except TimeoutError:
            faults.append(f"the broker did not answer within {settings.connect_timeout_s:g} s")
        return None

    # A question a topic: one that is missing does not keep the others from being told.
    clock = answer(_timestamp_type(settings))
    marks = asyncio.gather(*(answer(high_water_marks(settings, [topic])) for topic in _topics(settings)))
    timestamp_type, told = await asyncio.gather(clock, marks)
    high_water = {place: mark for answered in told for place, mark in (answered or {}).items()}
    behind = [
        (TopicPartition(topic, number), standing.next_offset)
        for topic, log in logs.items()
        for number, standing in log.partitions.items()
        if standing.next_offset < high_water.get((topic, number), 0)
    ]
    found = await asyncio.gather(*(answer(first_record(settings, tp, offset)) for tp, offset in behind))
    waiting_since = {
        (tp.topic, tp.partition): received_at
        for (tp, _), record in zip(behind, found, strict=True)
        if record is not None and (received_at := instant(record.timestamp)) is not None
    }
    return BrokerView(high_water, waiting_since, timestamp_type, list(dict.fromkeys(faults)))


async def _timestamp_type(settings: Settings) -> str | None:
    """Whose clock the timestamps of the raw topic are; None where the broker does not tell."""
    admin = AIOKafkaAdminClient(**connection_options(settings))
    try:
        await start_whole(admin)
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, settings.raw_topic)])
    except (KafkaError, OSError) as error:
        raise BrokerAwayError(f"the broker cannot be reached ({type(error).__name__})") from None
    finally:
        await admin.close()
    for answer in answers:
        for _error, _message, _type, _name, entries in answer.resources:
            for name, value, *_ in entries:
                if name == _TIMESTAMP_TYPE:
                    return str(value)
    return None
