"""The parameters of the law as they stand in the database, so that nobody judges by others unnoticed."""

from enrich.law import Law
from enrich.offsets import tzdb_version
from enrich.zones import Zones
from ingest.settings import SettingsError
from schemas.kinds import Kind
from sinks.corrections import queue_everything
from sinks.database import Database
from sinks.registry import change_law


def parameters(law: Law, zones: Zones) -> dict[str, str]:
    """Everything that the judgement depends on besides the records and the registry, as the table keeps it."""
    return {
        "blocked_statuses": ",".join(sorted(law.blocked_statuses)),
        "future_limit_s": f"{law.future_limit.total_seconds():g}",
        "earliest": law.earliest.isoformat(),
        "max_record_bytes": str(law.max_bytes),
        "max_depth": str(law.max_depth),
        "kinds": ",".join(Kind),
        "zip_table": zones.version,
        "tzdb": tzdb_version(),
    }


async def standing_parameters(database: Database) -> dict[str, str]:
    """What the stored rows were judged with; empty before the first `readings migrate`."""
    rows = await database.fetch("SELECT name, value FROM law_parameters ORDER BY name")
    return {row["name"]: row["value"] for row in rows}


async def check_parameters(database: Database, ours: dict[str, str]) -> None:
    """Nothing, if what is stored was judged by the parameters of this process.

    :raises SettingsError: naming the first that differs.
    """
    standing = await standing_parameters(database)
    for name in sorted(ours.keys() | standing.keys()):
        if ours.get(name) != standing.get(name):
            raise SettingsError(
                f"law parameter {name} is {ours.get(name, 'unknown')} here, but what is stored was judged with"
                f" {standing.get(name, 'none')}: restore it, or adopt the new one with: readings migrate"
            )


async def adopt_parameters(database: Database, ours: dict[str, str]) -> list[str]:
    """Make ours the standing parameters, and queue all that was judged with others.

    :return: what changed, a line each: `future_limit_s: 86400 -> 172800`.
    """
    standing = await standing_parameters(database)
    changed = sorted(name for name in ours.keys() | standing.keys() if ours.get(name) != standing.get(name))
    async with database.transaction() as connection:
        if changed and standing:
            await change_law(connection)
            await queue_everything(connection)
        await connection.execute("DELETE FROM law_parameters")
        await connection.executemany("INSERT INTO law_parameters VALUES ($1, $2)", sorted(ours.items()))
    return [f"{name}: {standing.get(name, 'none')} -> {ours.get(name, 'none')}" for name in changed]
