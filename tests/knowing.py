"""Registries that know of everybody, whoever is asked for."""

from enrich.registry import Registry
from enrich.zones import table_zones
from schemas.states import NOBODY, Names
from sinks.database import Connection, Database
from sinks.registry import registry_version
from sinks.told import Told, told_of

_EVERYBODY = (
    "SELECT identifier AS name FROM device_identifiers",
    "SELECT DISTINCT device_id AS name FROM device_states",
    "SELECT DISTINCT patient_id AS name FROM patient_states",
)


async def all_told(connection: Connection, *, also: Names = NOBODY) -> Told:
    """All that was told of everybody; :param also: those, too, of whom nothing may have been told."""
    fetched = [await connection.fetch(statement) for statement in _EVERYBODY]
    everybody = [frozenset(row["name"] for row in rows) | more for rows, more in zip(fetched, also, strict=True)]
    return await told_of(connection, Names(*everybody))


async def learned(database: Database, *, also: Names = NOBODY) -> Registry:
    """A registry of everybody, as of now."""
    registry = Registry(table_zones())
    async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
        told = await all_told(connection, also=also)
        registry.learn(told.states, told.owners, version=await registry_version(connection), of=told.of)
    return registry
