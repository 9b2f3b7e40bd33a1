"""How the questions of analysts are answered, on a hundred thousand readings: by index and by chunk, never by reading all."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg
import pytest

from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from schemas.judgement import ReadingKey
from schemas.kinds import Kind
from sinks.database import Database
from sinks.migrate import migrate
from sinks.readings import standing_readings
from tests.bench.questions import A_DAY, A_DEVICE, A_PATIENT, QUESTIONS, fill_many, settle
from tests.conftest import ON_TIMESCALE, empty, execute, fresh_database

ROWS = 100_000
CHUNKS = 53
"""Weeks that a year touches."""


class Asked(NamedTuple):
    """Where many readings are."""

    url: str
    on_timescale: bool

    async def plan(self, question: str, *, however_few: bool = False) -> list[dict[str, Any]]:
        """The nodes of the plan.

        :param however_few: not to read through what a page or two hold, either.
        """
        connection = await asyncpg.connect(self.url)
        try:
            if however_few:
                await connection.execute("SET enable_seqscan = off")
            explained = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {question}"))
        finally:
            await connection.close()
        return list(nodes(explained[0]["Plan"]))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def read_through(plan: list[dict[str, Any]]) -> set[str]:
    """Tables with readings that are read from end to end; batches of a columnar chunk are none, as they are told by
    their least and greatest and a sparse index."""
    scanned = {node.get("Relation Name", "") for node in plan if node["Node Type"] == "Seq Scan"}
    return {name for name in scanned if name == "readings" or name.startswith("_hyper_")}


def chunks(plan: list[dict[str, Any]]) -> set[str]:
    return {name for node in plan if (name := node.get("Relation Name", "")).startswith("_hyper_")}


@pytest.fixture(scope="module")
def filled_template(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    name = f"filled_{secrets.token_hex(4)}"

    async def make() -> None:
        await execute(postgres_server.url, f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
        await filled(urlsplit(postgres_server.url)._replace(path=f"/{name}").geturl())

    asyncio.run(make())
    yield name
    asyncio.run(execute(postgres_server.url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(params=["postgres", pytest.param("timescale", marks=ON_TIMESCALE)])
async def many(
    request: pytest.FixtureRequest, postgres_server: EmbeddedPostgres, filled_template: str
) -> AsyncIterator[Asked]:
    """Only to look at: on TimescaleDB the next test finds it as it is."""
    if request.param == "postgres":
        async with fresh_database(postgres_server, filled_template) as url:
            yield Asked(url, on_timescale=False)
        return
    timescale = request.getfixturevalue("timescale")
    if not await is_filled(timescale.url):
        await empty(timescale)
        database = Database(timescale.url, timeout_s=60)
        await migrate(database)
        await database.close()
        await filled(timescale.url)
    yield Asked(timescale.url, on_timescale=True)


async def is_filled(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(
            await connection.fetchval("SELECT to_regclass('readings') IS NOT NULL")
            and await connection.fetchval("SELECT count(*) FROM readings") == ROWS
        )
    finally:
        await connection.close()


async def filled(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO law_parameters VALUES ('blocked_statuses', 'decommissioned') ON CONFLICT DO NOTHING"
        )
        await fill_many(connection, ROWS)
        await settle(connection, columnar_before="2025-07-01Z")
    finally:
        await connection.close()


async def test_a_patient_a_device_or_a_time_is_found_without_reading_all(many: Asked) -> None:
    """Every question of the benchmark."""
    for name, question in QUESTIONS.items():
        plan = await many.plan(question)
        assert read_through(plan) == set(), name


async def test_the_index_that_was_made_for_a_question_answers_it(many: Asked) -> None:
    """Of a chunk that is not columnar, on TimescaleDB."""
    week = f"reading_timestamp >= timestamptz '{A_DAY}' - interval '3 days' AND reading_timestamp < '{A_DAY}'"
    for name, question in {
        "readings_key": f"SELECT * FROM weight_readings WHERE device_id = {A_DEVICE} AND {week}",
        "readings_by_patient": f"SELECT * FROM blood_pressure_readings WHERE patient_id = {A_PATIENT}"
        + (f" AND {week}" if many.on_timescale else ""),
        "readings_by_place": "SELECT * FROM ledger WHERE source = 'kafka:readings.raw' AND source_partition = 0 AND source_offset = 90000",
    }.items():
        used = {node.get("Index Name", "") for node in await many.plan(question)}
        assert any(index.endswith(name) for index in used), (name, used)


@pytest.mark.parametrize("many", [pytest.param("timescale", marks=ON_TIMESCALE)], indirect=True)
async def test_only_the_chunks_of_the_time_that_is_asked_for_are_looked_at(many: Asked) -> None:
    assert len(chunks(await many.plan("SELECT * FROM readings_local"))) == CHUNKS
    for name, (asked, most) in {
        "a week": (
            f"reading_timestamp >= timestamptz '{A_DAY}' - interval '7 days' AND reading_timestamp < '{A_DAY}'",
            2,
        ),
        "an hour": (f"reading_timestamp BETWEEN '{A_DAY}' AND timestamptz '{A_DAY}' + interval '1 hour'", 1),
        "a columnar hour": ("reading_timestamp BETWEEN '2025-02-12Z' AND '2025-02-12T01:00Z'", 1),
    }.items():
        for whom in (f"patient_id = {A_PATIENT}", f"device_id = {A_DEVICE}", "true"):
            for view in ("readings_local", "blood_pressure_readings"):
                plan = await many.plan(f"SELECT * FROM {view} WHERE {whom} AND {asked}")
                assert 1 <= len(chunks(plan)) <= most, (name, whom, view)


@pytest.mark.parametrize("many", [pytest.param("timescale", marks=ON_TIMESCALE)], indirect=True)
@pytest.mark.parametrize("whom", [f"patient_id = {A_PATIENT}", f"subject = {A_DEVICE}"])
async def test_whoever_is_asked_for_is_found_in_columns_by_their_index(many: Asked, whom: str) -> None:
    """A chunk's batches are as many as devices: in ten thousand, ten would be found by reading all."""
    week = "reading_timestamp BETWEEN '2025-02-05Z' AND '2025-02-12Z'"
    plan = await many.plan(f"SELECT * FROM readings WHERE {whom} AND {week}", however_few=True)
    told = [node["Index Cond"] for node in plan if node.get("Relation Name", "").startswith("compress_hyper_")]
    assert told
    assert all(whom in condition for condition in told)


@pytest.mark.parametrize(
    ("number", "apart", "statements", "most"),
    [
        pytest.param(3_000, timedelta(milliseconds=10), 1, 2, id="live"),
        pytest.param(16, timedelta(days=20), 8, 4, id="an archive"),
    ],
)
async def test_whether_readings_stand_is_looked_for_by_their_keys_in_the_chunks_of_their_time(
    many: Asked, number: int, apart: timedelta, statements: int, most: int
) -> None:
    """Whatever the table holds besides: else a batch would cost more with every month that is kept. And however many the
    planner takes for there to be: of the present it knows nothing, and would hold every key against all that came since."""
    last = datetime(2025, 12, 20, tzinfo=UTC)
    keys = [ReadingKey(A_DEVICE + n % 3, Kind.WEIGHT, last - n * apart) for n in range(number)]
    connection = await asyncpg.connect(many.url)
    asked: list[tuple[Any, ...]] = []

    class Watched:
        async def fetch(self, *question: Any) -> list[asyncpg.Record]:
            asked.append(question)
            return await connection.fetch(*question)

    try:
        await standing_readings(Watched(), keys)
        assert len(asked) == statements
        for question, *arguments in asked:
            told = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {question}", *arguments)
            plan = list(nodes(json.loads(told)[0]["Plan"]))
            ways = {
                (node["Node Type"], node.get("Index Name", "").partition("chunk_")[2] or node.get("Index Name"))
                for node in plan
                if node.get("Relation Name", "") == "readings" or node.get("Relation Name", "").startswith("_hyper_")
            }
            assert ways <= {
                ("Index Scan", "readings_key"),
                ("Custom Scan", None),
            }  # the latter unpacks a columnar chunk
            assert [node["Node Type"] for node in plan].count("Limit") == 1
            if many.on_timescale:
                assert 1 <= len(chunks(plan)) <= most
    finally:
        await connection.close()


async def test_a_full_scan_would_be_noticed(many: Asked) -> None:
    """What no index leads to."""
    assert read_through(await many.plan("SELECT * FROM readings WHERE customer_id = 3"))
