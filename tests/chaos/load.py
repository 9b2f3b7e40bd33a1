"""What flows in: readings and registry changes of a few clinics, drawn by `tests.histories` around this very moment.

A history's world is small, so that ids, moments and re-sends collide all the time. A clinic is such a world with ids and
identifiers of its own. Its readings come from the beginning, its registry begins some time later.
"""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.chaos.trouble import came_within
from tests.histories import (
    DEVICES,
    MEASURES,
    MOMENTS,
    PATIENTS,
    Focus,
    broken,
    encoded,
    raw_message,
    registry_message,
    say,
)

RAW_PARTITIONS = 4
CLINICS = 20
MOMENTS_A_CLINIC = 40


class Topics(NamedTuple):
    raw: str
    devices: str
    patients: str

    @property
    def settings(self) -> dict[str, str]:
        return {f"READINGS_{name.upper()}_TOPIC": topic for name, topic in self._asdict().items()}


class Message(NamedTuple):
    topic: str
    key: object
    value: bytes | None
    partition: int | None = None
    timestamp_ms: int | None = None


@dataclass
class Clinic:
    number: int
    registry_begins_s: float
    sent: list[dict[str, Any]] = field(default_factory=list)
    told: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"device": [], "patient": []})
    moments: list[datetime] = field(default_factory=list)

    @property
    def begun(self) -> bool:
        return any(self.told.values())


def of_clinic(number: int, message: Any, within: str = "", name: str = "") -> Any:
    """The same message about that clinic's devices and patients. What is wrong with it stays wrong."""
    match message:
        case dict():
            return {key: of_clinic(number, value, name, key) for key, value in message.items()}
        case list():
            return [of_clinic(number, value, within, name) for value in message]
        case bool():
            return message
        case int() | float() if name in ("deviceId", "patientId") or (within in ("device", "patient") and name == "id"):
            return message + number * max(*DEVICES, *PATIENTS) if message >= 1 else message
        case str() if message and name in ("deviceIdentifier", "value"):
            return f"{message}{number}"
    return message


class Load:
    """A sender that goes on through every outage; what it sends anew may stand twice in the log."""

    def __init__(self, bootstrap: str, topics: Topics, dice: Random, *, seconds: float) -> None:
        self.given: Counter[str] = Counter()
        self._topics, self._dice = topics, dice
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", request_timeout_ms=5_000)
        begins = [0.0, *(dice.uniform(0, 0.6 * seconds) for _ in range(1, CLINICS))]
        self._clinics = [Clinic(number, begins_s) for number, begins_s in enumerate(begins)]

    async def flow(self, stop: asyncio.Event) -> None:
        dice, began, busy = self._dice, time.monotonic(), self._clinics[0]
        await self._producer.start()
        try:
            while not await came_within(stop, dice.uniform(0.05, 1)):
                known = [clinic for clinic in self._clinics if time.monotonic() - began >= clinic.registry_begins_s]
                sending = [self._change(clinic) for clinic in known if not clinic.begun for _ in range(12)]
                # News and what they touch come at once: what was judged just before them is the first to be wrong.
                busy = dice.choice(known) if dice.random() < 0.3 else busy
                sending += [self._change(busy) for _ in range(dice.choice((0, 0, 1, 2, 3)))]
                burst = 300 if dice.random() < 0.02 else dice.randint(1, 30)
                about = dice.choices((busy, *self._clinics), (2 * CLINICS, *[1] * CLINICS), k=burst)
                sending += [self._reading(clinic) for clinic in about]
                dice.shuffle(sending)
                await asyncio.gather(*(self._give(one) for one in sending))
        finally:
            await self._producer.stop()

    async def _give(self, message: Message) -> None:
        """Until the broker has acknowledged it."""
        topic, key, value, partition, timestamp_ms = message
        while True:
            try:
                await self._producer.send_and_wait(
                    topic, value, str(key).encode(), partition=partition, timestamp_ms=timestamp_ms
                )
            except (KafkaError, OSError):
                self.given["sent again"] += 1
                await asyncio.sleep(0.2)
            else:
                self.given["readings" if topic == self._topics.raw else "changes"] += 1
                return

    def _reading(self, clinic: Clinic) -> Message:
        """Mostly keyed as README asks for, else in any partition: what competes comes by several ways."""
        dice = self._dice
        moments = [dice.choice(MOMENTS), *self._moments(clinic)]
        message = of_clinic(clinic.number, raw_message(dice, Focus(tuple(MEASURES), tuple(moments)), clinic.sent))
        named = message["payload"] if isinstance(message["payload"], dict) else {}
        partition = dice.randrange(RAW_PARTITIONS) if dice.random() < 0.4 else None
        return Message(self._topics.raw, named.get("deviceId"), self._bytes(message), partition)

    def _moments(self, clinic: Clinic) -> list[datetime]:
        """When that clinic's readings were taken: some of the last days, ever new ones of now."""
        dice, now = self._dice, datetime.now(UTC).replace(microsecond=0)
        if len(clinic.moments) < MOMENTS_A_CLINIC:
            clinic.moments += [now - timedelta(minutes=dice.randrange(5_000)) for _ in range(MOMENTS_A_CLINIC)]
        if dice.random() < 0.05:
            clinic.moments[dice.randrange(MOMENTS_A_CLINIC)] = now - timedelta(seconds=dice.randrange(60))
        return clinic.moments

    def _change(self, clinic: Clinic) -> Message:
        """Of any moment; more often than not of one around now, so that it comes before or after some readings."""
        dice, now = self._dice, datetime.now(UTC)
        kind = dice.choice(("device", "device", "device", "patient", "patient"))
        told = clinic.told[kind]
        message = registry_message(dice, kind, told, in_file=False)
        if dice.random() < 0.5:
            ago_s = dice.choice((-5, 1, 10, 60, 600, 86_400))
            timing = {"effectiveAt": say(dice, now - timedelta(seconds=ago_s))}
            message, told[-1] = message | timing, told[-1] | timing
        message = of_clinic(clinic.number, message)
        topic = self._topics.devices if kind == "device" else self._topics.patients
        # A sender's clock, too, may be an hour late.
        told_at = now - timedelta(seconds=dice.uniform(0, 3_600)) if dice.random() < 0.2 else now
        return Message(topic, message.get(f"{kind}Id"), self._bytes(message), None, int(told_at.timestamp() * 1000))

    def _bytes(self, message: dict[str, Any]) -> bytes | None:
        if self._dice.random() < 0.05:
            return None if self._dice.random() < 0.3 else broken(self._dice, message)
        return encoded(self._dice, message)
