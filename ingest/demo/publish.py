"""The demo's topics, and its records on their way through a real producer."""

import asyncio
from collections.abc import Mapping
from typing import TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ingest.broker import connection_options
from ingest.demo.clinic import Clinic
from ingest.demo.clinic_readings import RawReading
from ingest.settings import Settings
from schemas.states import About

RAW_PARTITIONS = 4
_LARGEST_REQUEST = 4_194_304  # one of the records is larger than the law allows, and has to get there all the same

Placed: TypeAlias = Mapping[tuple[int, int], RawReading]
"""The raw readings by (partition, offset)."""


async def create_topics(settings: Settings) -> None:
    admin = AIOKafkaAdminClient(**connection_options(settings))
    await admin.start()
    try:
        partitions = {settings.raw_topic: RAW_PARTITIONS, settings.devices_topic: 1, settings.patients_topic: 1}
        answer = await admin.create_topics([NewTopic(topic, count, 1) for topic, count in partitions.items()])
        if refused := [topic for topic, code, *_ in answer.topic_errors if code != 0]:
            raise RuntimeError(f"the broker refused to create {', '.join(refused)}")
    finally:
        await admin.close()


async def publish_registry(clinic: Clinic, settings: Settings) -> None:
    topics = {About.DEVICE: settings.devices_topic, About.PATIENT: settings.patients_topic}
    async with AIOKafkaProducer(**connection_options(settings), acks="all") as producer:
        for message in clinic.registry:
            timestamp_ms = round(message.recorded_at.timestamp() * 1000)
            await producer.send(topics[message.about], message.value, message.key, timestamp_ms=timestamp_ms)


async def publish_readings(clinic: Clinic, settings: Settings) -> Placed:
    """Publish the raw readings in their order; the record's own timestamp (CreateTime) is when it was received."""
    options = {**connection_options(settings), "max_request_size": _LARGEST_REQUEST}
    async with AIOKafkaProducer(**options, acks="all", linger_ms=5) as producer:
        sent = []
        for reading in clinic.raw:
            timestamp_ms = round(reading.received_at.timestamp() * 1000)
            sent.append(await producer.send(settings.raw_topic, reading.value, reading.key, timestamp_ms=timestamp_ms))
        stored = await asyncio.gather(*sent)
    return {(at.partition, at.offset): reading for at, reading in zip(stored, clinic.raw, strict=True)}
