"""The keys of those who ask over HTTP: kept as hashes, each of one customer, each until a day."""

import secrets
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

import asyncpg

from sinks.database import Connection
from sinks.statements import sql

_PREFIX = "readings_"  # so that a key in the wrong place is known for one


class ApiKey(NamedTuple):
    """What is known of a key; not the key itself."""

    key_id: int
    customer_id: int
    name: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class Caller(NamedTuple):
    """Whose key a request carries, and whether it still holds."""

    key_id: int
    customer_id: int
    expired: bool
    revoked: bool


async def create_key(
    connection: Connection, *, customer_id: int, name: str, valid_for: timedelta
) -> tuple[ApiKey, str]:
    """A new key of 256 random bits. It is told here and never again."""
    key = _PREFIX + secrets.token_urlsafe(32)
    row = await connection.fetchrow(sql("create_key"), customer_id, name, _digest(key), valid_for)
    assert row is not None, "an INSERT with RETURNING"
    return _api_key(row), key


async def all_keys(connection: Connection) -> list[ApiKey]:
    """Every key that was ever made, by id."""
    return [_api_key(row) for row in await connection.fetch(sql("all_keys"))]


async def revoke_key(connection: Connection, key_id: int) -> ApiKey | None:
    """The key, taken back; None if there is none by that id."""
    row = await connection.fetchrow(sql("revoke_key"), key_id)
    return None if row is None else _api_key(row)


async def caller_of(connection: Connection, key: str) -> Caller | None:
    """Whose key it is. Found by its hash: how long that takes tells nothing of the keys that there are."""
    row = await connection.fetchrow(sql("key_by_digest"), _digest(key))
    return None if row is None else Caller(**row)


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


def _api_key(row: asyncpg.Record) -> ApiKey:
    return ApiKey(**row)
