"""Records on their way into the topics: given when the broker has them, on all the replicas that it asks for."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from ingest.broker import BrokerAwayError, connection_options, failure, leave, start_whole
from ingest.http.problems import Problem, ProblemError
from ingest.settings import Settings

_MORE_THAN_THE_VALUE = 65_536
"""What a request to the broker says besides one record's value."""
_LEAVE_WITHIN_S = 1.0
"""Nobody waits for anything by then; the time for requests in hand is spent."""


class Outgoing(NamedTuple):
    """A record to be given. The key keeps one device's, or one patient's, records in one partition."""

    topic: str
    key: bytes | None
    value: bytes


class Given(NamedTuple):
    """Where the broker has put a record."""

    topic: str
    partition: int
    offset: int


class Publisher:
    """The producer of this process. Not idempotent: what is given twice is a repeat that the law knows."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Reach the broker.

        :raises BrokerAwayError: when it is away; call it again.
        """
        if self._producer is not None:
            return
        largest = self._settings.api_max_body_bytes + _MORE_THAN_THE_VALUE
        producer = AIOKafkaProducer(**connection_options(self._settings), acks="all", max_request_size=largest)
        try:
            await start_whole(producer)
        except BaseException as error:
            await producer.stop()
            if isinstance(error, KafkaError | OSError):
                raise failure(error, "cannot be reached") from None
            raise
        self._producer = producer

    async def give(self, records: Sequence[Outgoing]) -> list[Given]:
        """Where the records stand, when all of them do.

        :raises BrokerAwayError: when the broker did not say so: each of them may stand there or not.
        :raises OperatorError: when it refuses them for a reason that no waiting mends.
        """
        if not records:
            return []
        if self._producer is None:
            raise BrokerAwayError("the broker was not reached yet")
        try:
            sent = [await self._producer.send(one.topic, one.value, one.key) for one in records]
            stored = await asyncio.gather(*sent)
        except MessageSizeTooLargeError:
            raise ProblemError(Problem.BODY_TOO_LARGE, "the broker takes no record so large") from None
        except (KafkaError, OSError) as error:
            raise failure(error, "did not take a record") from None
        return [Given(one.topic, one.partition, one.offset) for one in stored]

    async def stop(self) -> None:
        """Leave; what was not acknowledged by now was never told to be."""
        if self._producer is not None:
            await leave(self._producer, within_s=_LEAVE_WITHIN_S)
