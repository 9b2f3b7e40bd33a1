"""`readings verify`: a healthy store passes, and every kind of damage is found and named."""

import asyncio
import json
import os
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from random import Random
from urllib.parse import urlsplit

import asyncpg
import pytest

import sinks.scan
from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.check import Check
from ingest.settings import Settings
from ingest.verify import UnsettledError, Verification, verify
from tests.conftest import execute, fresh_database
from tests.fill import fill_with
from tests.histories import history
from tests.service import readings

SEED = 74
HEALTHY = history(SEED, most_records=160, most_states=40)
CHECKS = {
    "law",
    "conservation",
    "gaps",
    "places",
    "keys",
    "identifiers",
    "readings",
    "mentions",
    "rejections",
    "winners",
}


@pytest.fixture(scope="module")
def healthy_template(postgres_server, migrated_template) -> Iterator[str]:
    name = f"healthy_{secrets.token_hex(4)}"

    async def make() -> None:
        await execute(postgres_server.url, f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
        await fill_with(
            urlsplit(postgres_server.url)._replace(path=f"/{name}").geturl(), HEALTHY, interleaved=Random(SEED)
        )

    asyncio.run(make())
    yield name
    asyncio.run(execute(postgres_server.url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def healthy(postgres_server, healthy_template) -> AsyncIterator[str]:
    """The URL of a store that holds all it promises."""
    async with fresh_database(postgres_server, healthy_template) as url:
        yield url


async def verified(url: str, **options) -> Verification:
    return await verify(Settings(database_url=url), table_zones(), **options)


def by_name(found: Verification) -> dict[str, Check]:
    return {check.name: check for check in found.checks}


async def test_a_healthy_store_holds_and_is_looked_at_as_a_whole(healthy: str) -> None:
    found = await verified(healthy)
    assert found.holds, [check for check in found.checks if check.differ]
    checks = by_name(found)
    assert checks.keys() == CHECKS
    connection = await asyncpg.connect(healthy)
    counted = {
        "readings": "SELECT count(*) FROM readings",
        "rejections": "SELECT count(*) FROM rejections JOIN sources USING (source_id) WHERE holds = 'readings'",
        "winners": "SELECT count(*) FROM rejections WHERE reason IN ('duplicate', 'conflicting_duplicate')",
        "identifiers": "SELECT count(*) FROM device_identifiers",
        "conservation": "SELECT count(*) FROM source_positions",
        "places": "SELECT sum(next_offset - first_offset) FROM source_positions",
    }
    for name, statement in counted.items():
        assert checks[name].looked_at == await connection.fetchval(statement) > 0, name
    assert checks["mentions"].looked_at > 0
    await connection.close()


async def test_nobodies_that_readings_and_rejections_name_are_not_remembered_without_end(
    healthy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registries: list[Registry] = []
    monkeypatch.setattr("ingest.verify.Registry", lambda zones: registries.append(Registry(zones)) or registries[-1])
    assert (await verified(healthy)).holds
    assert None in registries[0]._owners.values(), "nobody is named there"
    monkeypatch.setattr("enrich.registry._MOST_NOBODIES", 0)
    assert (await verified(healthy)).holds
    assert None not in registries[1]._owners.values()


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_the_order_a_history_came_in_it_holds(migrated: str, seed: int) -> None:
    """The registry behind the readings, before them, between them: corrections bring all to its place."""
    how = ({"late": True}, {"late": False}, {"interleaved": Random(seed)})[seed]
    await fill_with(migrated, history(seed + 20, most_records=80, most_states=40), **how)
    found = await verified(migrated)
    assert found.holds, [check for check in found.checks if check.differ]


DAMAGE = {
    "a reading is lost": ("DELETE FROM readings WHERE ctid = (SELECT ctid FROM readings LIMIT 1)", "conservation", "next_offset"),
    "and the place is named": ("DELETE FROM readings WHERE ctid = (SELECT ctid FROM readings LIMIT 1)", "places", "source_offset"),
    "a rejection is lost": ("DELETE FROM rejections WHERE ctid = (SELECT ctid FROM rejections LIMIT 1)", "places", "source_offset"),
    "a state is lost": ("DELETE FROM patient_states WHERE ctid = (SELECT ctid FROM patient_states LIMIT 1)", "places", "source_offset"),
    "a place stands in two tables": ("INSERT INTO rejections (source_id, source_partition, source_offset, reason, payload) SELECT source_id, source_partition, source_offset, 'malformed', '' FROM readings LIMIT 1", "places", "source_offset"),
    "a place stands twice in one": ("UPDATE readings r SET source_id = t.source_id, source_partition = t.source_partition, source_offset = t.source_offset FROM (SELECT * FROM readings ORDER BY ctid LIMIT 1) t WHERE r.ctid = (SELECT max(ctid) FROM readings)", "places", "source_offset"),
    "a row stands in a gap": ("UPDATE source_gaps SET next_offset = next_offset + 1 WHERE ctid = (SELECT ctid FROM source_gaps LIMIT 1)", "places", "source_offset"),
    "a position is too far": ("UPDATE source_positions SET next_offset = next_offset + 3", "places", "source_offset"),
    "a position is behind its rows": ("UPDATE source_positions SET next_offset = next_offset - 1", "conservation", "source_offset"),
    "a row is before the first": ("UPDATE source_positions SET first_offset = first_offset + 1", "conservation", "source_offset"),
    "a position is lost": ("DELETE FROM source_gaps; DELETE FROM source_positions", "conservation", "next_offset"),
    "a gap is lost": ("DELETE FROM source_gaps WHERE ctid = (SELECT ctid FROM source_gaps LIMIT 1)", "gaps", "missing"),
    "a row too many is counted as expired": ("UPDATE source_positions SET expired = expired + 1", "conservation", "next_offset"),
    "the offset is another": ("UPDATE readings SET patient_time_zone_offset = patient_time_zone_offset + 3600", "readings", "patient_time_zone_offset"),
    "the zone is another": ("UPDATE readings SET patient_time_zone = 'America/Chicago' WHERE patient_time_zone = 'America/New_York'", "readings", "patient_time_zone"),
    "the patient is another": ("UPDATE readings SET patient_id = 99 WHERE device_id IS NOT NULL AND patient_id IS NOT NULL", "readings", "patient_id"),
    "the patient is lost": ("UPDATE readings SET patient_id = NULL WHERE device_id IS NOT NULL AND patient_id IS NOT NULL", "readings", "patient_id"),
    "the customer is another": ("UPDATE readings SET customer_id = 99", "readings", "customer_id"),
    "the subject is another": ("ALTER TABLE readings DROP CONSTRAINT readings_check; UPDATE readings SET subject = 99 WHERE ctid = (SELECT ctid FROM readings LIMIT 1)", "readings", "subject"),
    "a stored reading should be refused": ("UPDATE device_states SET says = says || '{\"currentStatus\": \"decommissioned\"}'", "readings", None),
    "a refused one should be stored": ("UPDATE device_states SET says = says - 'disabledReadings'", "rejections", "reason"),
    "a key stands twice": ("DROP INDEX readings_key; INSERT INTO readings SELECT * FROM readings LIMIT 1", "keys", "subject"),
    "a reason is another": ("UPDATE rejections SET reason = 'readings_disabled' WHERE reason = 'device_decommissioned'", "rejections", "reason"),
    "rule 1's reason is another": ("UPDATE rejections SET reason = 'invalid' WHERE reason = 'malformed'", "rejections", "reason"),
    "rule 9's is an earlier rule's": ("UPDATE rejections SET reason = 'unknown_device' WHERE reason = 'duplicate'", "rejections", "reason"),
    "an earlier rule's is rule 9's": ("UPDATE rejections SET reason = 'duplicate' WHERE reason = 'unknown_device'", "rejections", "reason"),
    "same or not is the wrong way round": ("UPDATE rejections SET reason = 'conflicting_duplicate' WHERE reason = 'duplicate'", "winners", "reason"),
    "a detail is another": ("UPDATE rejections SET detail = 'x' WHERE reason = 'invalid'", "rejections", "detail"),
    "what was understood is another": ("UPDATE rejections SET device_id = 99 WHERE reason = 'device_decommissioned'", "rejections", "device_id"),
    "a named id is another": ("UPDATE rejections SET device_id_named = 99", "rejections", "device_id_named"),
    "a payload is not canonical": ("UPDATE rejections SET payload = payload || ' ' WHERE reason = 'duplicate'", "winners", "payload"),
    "a payload is unreadable": ("UPDATE rejections SET payload = 'x' WHERE reason = 'duplicate'", "rejections", "payload"),
    "a malformed one is well formed": ("UPDATE rejections j SET payload = g.payload FROM (SELECT payload FROM rejections WHERE reason = 'duplicate' LIMIT 1) g WHERE reason = 'malformed'", "rejections", "reason"),
    "a loser has no winner": ("DELETE FROM readings r USING rejections j WHERE j.reason = 'duplicate' AND r.subject = coalesce(j.device_id, -j.patient_id) AND r.reading_type = j.reading_type AND r.reading_timestamp = j.reading_timestamp", "winners", "reason"),
    "a winner is outranked": ("UPDATE readings SET received_at = NULL, source_partition = 9", "winners", "reason"),
    "an identifier's owner is another": ("UPDATE device_identifiers SET device_id = 99", "identifiers", "device_id"),
    "an identifier's claim is another": ("UPDATE device_identifiers SET source_offset = 99", "identifiers", "source_offset"),
    "an identifier is lost": ("DELETE FROM device_identifiers", "identifiers", "device_id"),
    "an identifier is nobody's": ("INSERT INTO device_identifiers VALUES ('x', 1, now(), now(), 'x', 0, 0, 1)", "identifiers", "device_id"),
    "a mention is dropped": ("DELETE FROM unregistered_mentions", "mentions", "unregistered_mentions"),
    "a law parameter is another": ("UPDATE law_parameters SET value = '2020a' WHERE name = 'tzdb'", "law", "tzdb"),
    "a law parameter is lost": ("DELETE FROM law_parameters WHERE name = 'kinds'", "law", "kinds"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
async def test_damage_is_found_and_named(healthy: str, damage: str) -> None:
    statement, name, column = DAMAGE[damage]
    await execute(healthy, statement)
    found = await verified(healthy)
    assert not found.holds
    check = by_name(found)[name]
    assert check.differ > 0
    assert column in {difference.column for difference in check.first}, check.first
    assert all(difference.where and difference.says for difference in check.first)


async def test_damage_to_one_row_is_one_difference_at_its_place(healthy: str) -> None:
    connection = await asyncpg.connect(healthy)
    place = await connection.fetchrow(
        "UPDATE readings SET customer_id = 99, patient_time_zone = 'Asia/Tokyo', patient_time_zone_offset = 32400"
        " WHERE ctid = (SELECT ctid FROM readings WHERE customer_id = 1 AND patient_time_zone = 'America/New_York' LIMIT 1)"
        " RETURNING (SELECT source FROM sources s WHERE s.source_id = readings.source_id), source_partition, source_offset"
    )
    await connection.close()
    check = by_name(await verified(healthy))["readings"]
    where = " ".join(map(str, place))
    assert check.differ == 1
    assert [(d.where, d.column) for d in check.first] == [
        (where, "customer_id"),
        (where, "patient_time_zone_offset"),
        (where, "patient_time_zone"),
    ]
    assert (check.first[0].says, check.first[2].says) == (
        "99, but should be 1",
        "Asia/Tokyo, but should be America/New_York",
    )


async def test_a_lost_run_of_rows_is_named_by_its_offsets(healthy: str) -> None:
    connection = await asyncpg.connect(healthy)
    source_id, first = await connection.fetchrow(
        "SELECT source_id, first_offset FROM source_positions JOIN sources USING (source_id) WHERE source = 'kafka:readings.raw' AND source_partition = 1"
    )
    for table, column in (
        ("readings", "source_offset"),
        ("rejections", "source_offset"),
        ("source_gaps", "first_offset"),
    ):
        await connection.execute(f"DELETE FROM {table} WHERE source_id = $1 AND source_partition = 1 AND {column} <= $2", source_id, first + 2)  # fmt: skip
    await connection.close()
    check = by_name(await verified(healthy))["places"]
    assert [tuple(difference) for difference in check.first] == [(f"kafka:readings.raw 1 {first}", "source_offset", f"to {first + 2}: stand nowhere")]  # fmt: skip


async def test_dropped_rows_that_are_counted_are_no_damage(healthy: str) -> None:
    """What `readings retention` will do: the count moves in the transaction that drops."""
    await execute(healthy, """
        WITH gone AS (DELETE FROM rejections WHERE reason = 'malformed' RETURNING source_id, source_partition)
        UPDATE source_positions p SET expired = n FROM (SELECT source_id, source_partition, count(*) AS n FROM gone GROUP BY 1, 2) g
        WHERE (p.source_id, p.source_partition) = (g.source_id, g.source_partition)""")  # fmt: skip
    assert (await verified(healthy)).holds


async def test_no_payload_zip_or_measure_is_told(healthy: str) -> None:
    await execute(
        healthy,
        "UPDATE rejections SET payload = 'the payload', received_at = now()",
    )
    await execute(healthy, "UPDATE readings SET customer_id = 99")
    await execute(healthy, 'UPDATE patient_states SET says = says || \'{"zipCode": "85001"}\'')
    told = json.dumps([check.first for check in (await verified(healthy)).checks])
    assert "should be" in told
    assert not [secret for secret in ("the payload", "85001", "19137") if secret in told]


async def test_a_sample_judges_so_many_of_each_partition(healthy: str) -> None:
    connection = await asyncpg.connect(healthy)
    looked_at = {}
    for table in ("readings", "rejections"):
        counts = await connection.fetch(f"SELECT count(*) FROM {table} JOIN sources USING (source_id) WHERE holds = 'readings' GROUP BY source_id, source_partition")  # fmt: skip
        looked_at[table] = sum(min(3, count) for (count,) in counts)
    await connection.close()
    found = await verified(healthy, sample=3)
    assert found.holds
    checks = by_name(found)
    assert checks.keys() == CHECKS - {"keys"}
    assert {name: checks[name].looked_at for name in looked_at} == looked_at
    await execute(healthy, "UPDATE readings SET customer_id = 99; DELETE FROM rejections WHERE reason = 'invalid'")
    checks = by_name(await verified(healthy, sample=1))
    assert checks["readings"].differ == checks["readings"].looked_at > 0
    assert checks["conservation"].differ > 0


async def test_it_reads_a_few_rows_at_a_time(healthy: str, monkeypatch) -> None:
    monkeypatch.setattr(sinks.scan, "_PAGE", 3)
    told = []
    found = await verified(healthy, tell=lambda judged, of: told.append((judged, of)))
    assert found.holds
    judged = by_name(found)["readings"].looked_at + by_name(found)["rejections"].looked_at
    assert told[-1][0] == judged
    assert max(later - now for (now, _), (later, _) in pairwise(told)) <= 3


async def test_writers_meanwhile_do_not_disturb_it(healthy: str) -> None:
    """It sees one snapshot: what is damaged behind its back while it reads is as if not yet done."""

    def damage(_judged: int, _of: int) -> None:
        statement = "DELETE FROM rejections; UPDATE source_positions SET next_offset = next_offset + 1"
        writer = threading.Thread(target=asyncio.run, args=(execute(healthy, statement),))
        writer.start()
        writer.join()

    assert (await verified(healthy, tell=damage)).holds
    assert not (await verified(healthy)).holds


async def test_it_waits_until_no_correction_is_pending(healthy: str) -> None:
    await execute(healthy, "INSERT INTO corrections_pending (about, registry_version) VALUES ('all_readings', 1)")
    with pytest.raises(UnsettledError):
        await verified(healthy, wait_s=0.1)
    waiting = asyncio.ensure_future(verified(healthy, wait_s=20))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await execute(healthy, "DELETE FROM corrections_pending")
    assert (await waiting).holds


async def test_the_command_ends_with_0_1_or_2(healthy: str, database: str, migrated: str) -> None:
    async def run(url: str, *arguments: str) -> tuple[int, str, str]:
        async with readings("verify", *arguments, env={**os.environ, "READINGS_DATABASE_URL": url}) as process:
            return await process.ended()

    await execute(migrated, "DELETE FROM law_parameters WHERE name = 'kinds'")
    held, differing, without_schema = await asyncio.gather(run(healthy), run(migrated, "--json"), run(database))
    assert (held[0], held[1].splitlines()[-1]) == (0, "all of it holds")
    assert len(held[1].splitlines()) == len(CHECKS) + 1
    assert differing[0] == 1
    said = json.loads(differing[1])
    assert said["holds"] is False
    assert said["checks"][0]["differ"] == 1
    assert said["checks"][0]["first"][0]["column"] == "kinds"
    assert (without_schema[0], without_schema[1]) == (2, "")
    assert "run: readings migrate" in without_schema[2]
    await execute(healthy, "INSERT INTO corrections_pending (about, registry_version) VALUES ('all_readings', 1)")
    unsettled = await run(healthy, "--wait", "0", "--json")
    assert (unsettled[0], json.loads(unsettled[1])["pending_corrections"]) == (1, 1)
    assert "not settled" in unsettled[2]
