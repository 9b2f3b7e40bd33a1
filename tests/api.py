"""`readings serve` in this process, over real HTTP on a port of its own, with a real database and a real broker."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import SecretStr

from enrich.zones import table_zones
from ingest.batch import Batch
from ingest.consume import Consumer
from ingest.demo.embedded_broker import EmbeddedBroker
from ingest.http.service import Service
from ingest.registry_feed import store_states
from ingest.settings import Settings
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import About
from sinks.api_keys import create_key
from sinks.database import Database
from sinks.ledger import Move, begin_partition, open_source, positions
from tests.build import LAW

SECRET = "a secret of the platform's"


class Api:
    """A service, its world, and a client for each of two customers."""

    def __init__(self, settings: Settings, service: Service, keys: dict[int, str]) -> None:
        self.settings, self.service, self.port, self.keys = settings, service, service.port, keys
        self.url = f"http://127.0.0.1:{self.port}"
        self._clients = {
            customer: httpx.AsyncClient(
                base_url=self.url,
                headers={"Impilo-API-Key": key},
                timeout=60,
                limits=httpx.Limits(max_connections=None),
            )
            for customer, key in keys.items()
        }
        self.anonymous = httpx.AsyncClient(base_url=self.url, timeout=60)
        self.database = Database(settings.database_url.get_secret_value(), timeout_s=30)

    async def ask(self, method: str, path: str, body: Any = None, *, customer: int = 1) -> tuple[int, Any]:
        """Status and body; a path without a slash in front is one of /api/v3."""
        url = path if path.startswith("/") else f"/api/v3/{path}"
        answer = await self._clients[customer].request(method, url, json=body)
        return answer.status_code, answer.json()

    async def problem(self, method: str, path: str, body: Any = None, *, customer: int = 1) -> tuple[int, str]:
        """Status and code of a request that is to fail; the form of a problem is checked."""
        status, told = await self.ask(method, path, body, customer=customer)
        assert told["status"] == status, told
        assert told["type"] == f"urn:device-readings:problem:{told['code']}"
        assert told["title"]
        assert told["todo"]
        return status, told["code"]

    async def webhook(self, event: Any, *, secret: str = SECRET) -> tuple[int, Any]:
        answer = await self.anonymous.post("/webhooks", json=event, headers={"Impilo-Webhook-Secret": secret})
        return answer.status_code, answer.json()

    async def tell(self, *messages: dict[str, Any], ago: timedelta = timedelta(hours=1)) -> None:
        """Device and patient states, as if they had come from a topic a while ago."""
        told_at = datetime.now(UTC) - ago
        name = "kafka:registry.tests"
        async with self.database.transaction() as connection:
            source = await open_source(connection, name, first_seen=told_at, holds="registry")
            await begin_partition(connection, source, 0, 0)
            first = (await positions(connection, [name]))[name, 0]
        records = [
            Record(Place(name, 0, offset), told_at, json.dumps(message).encode())
            for offset, message in enumerate(messages, first)
        ]

        def understood(record: Record) -> Any:
            about = About.DEVICE if "deviceId" in json.loads(record.value or b"") else About.PATIENT
            return understand_state(about, record, told_at=told_at, from_file=False, max_bytes=LAW.max_bytes, max_depth=LAW.max_depth)  # fmt: skip

        move = Move(source, 0, first, first + len(records))
        change = await store_states(Batch(records, [move], {name: source}), understood, database=self.database)
        assert change.added == {"state": len(messages)}

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        return await self.database.fetch(statement, *arguments)

    async def becomes(self, statement: str, wanted: Any, *, within_s: float = 30) -> None:
        """Wait until the first column of the first row is as wanted."""
        found: Any = None
        try:
            async with asyncio.timeout(within_s):
                while (found := (await self.fetch(statement))[0][0]) != wanted:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{statement}: {found}, and not {wanted}") from None

    async def close(self) -> None:
        for client in (*self._clients.values(), self.anonymous):
            await client.aclose()
        await self.database.close()


async def settings_of(url: str, broker: EmbeddedBroker, topics: tuple[str, ...], **others: Any) -> Settings:
    raw, devices, patients = topics
    given: dict[str, Any] = {
        "database_url": SecretStr(url),
        "kafka_bootstrap_servers": broker.bootstrap,
        "kafka_group_id": secrets.token_hex(4),
        "kafka_session_timeout_s": 2,
        "raw_topic": raw,
        "devices_topic": devices,
        "patients_topic": patients,
        "api_port": 0,
        "api_requests_per_minute": 1_000_000,
        "webhook_secret": SecretStr(SECRET),
        "shutdown_timeout_s": 2,
        "batch_age_ms": 20,
        "log_level": "debug",
        **others,
    }
    return Settings(**given)


async def keys_of(settings: Settings, *customers: int) -> dict[int, str]:
    database = Database(settings.database_url.get_secret_value(), timeout_s=30)
    try:
        async with database.transaction() as connection:
            return {
                customer: (
                    await create_key(connection, customer_id=customer, name="test", valid_for=timedelta(days=1))
                )[1]
                for customer in customers
            }
    finally:
        await database.close()


@asynccontextmanager
async def serving(settings: Settings, *, consuming: bool = False) -> AsyncIterator[Api]:
    """A service that has reached its broker; with a consumer beside it, if asked for."""
    stop = asyncio.Event()
    service = Service(settings, table_zones(), stop)
    keys = await keys_of(settings, 1, 2)
    tasks = [asyncio.create_task(service.run())]
    if consuming:
        tasks.append(asyncio.create_task(Consumer(settings, table_zones(), stop).run()))
    try:
        async with asyncio.timeout(30):
            while service.port is None or service.hindrances:
                if tasks[0].done():
                    await tasks[0]
                await asyncio.sleep(0.02)
        api = Api(settings, service, keys)
        try:
            yield api
        finally:
            await api.close()
    finally:
        stop.set()
        await asyncio.gather(*tasks)
