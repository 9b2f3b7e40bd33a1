"""What each role can see and do, asked as that role: of two customers whose numbers look alike neither sees the other."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest

from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from sinks.database import Database
from sinks.errors import OperatorError
from sinks.roles import make_roles
from tests.conftest import execute
from tests.fill import fill
from tests.practice import REGISTRY, given
from tests.service import readings
from tests.test_answers import Practice, on_every_engine, practice  # noqa: F401 - a fixture
from tests.test_backfill import environment

READER, WRITER, ONE, ELEVEN = "readings_reader", "readings_writer", "readings_customer_1", "readings_customer_11"


async def made(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await make_roles(connection, [1, 11])
    finally:
        await connection.close()


@asynccontextmanager
async def acting_as(url: str, role: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"SET ROLE {role}")
        yield connection
    finally:
        await connection.close()


async def views(url: str, schema: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch("SELECT viewname FROM pg_views WHERE schemaname = $1 ORDER BY 1", schema)
    finally:
        await connection.close()
    return [f"{schema}.{row[0]}" for row in rows]


async def may(connection: asyncpg.Connection, statement: str) -> bool:
    """Whether the role may do it; it is undone."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return False
    finally:
        await transaction.rollback()
    return True


TABLES = [
    "readings", "rejections", "device_states", "patient_states", "device_identifiers", "source_positions", "source_gaps",
    "corrections_pending", "unregistered_mentions", "registry_version", "customer_roles", "schema_migrations",
]  # fmt: skip
DDL = [
    "CREATE TABLE public.mine (a int)",
    "CREATE VIEW public.mine AS SELECT 1",
    "ALTER TABLE public.readings ADD COLUMN mine int",
    "DROP TABLE public.rejections",
    "TRUNCATE public.readings",
    "CREATE ROLE mine",
]


@on_every_engine
async def test_a_reader_sees_every_view_and_no_payload(practice: Practice) -> None:  # noqa: F811
    await made(practice.url)
    public, customers = await views(practice.url, "public"), await views(practice.url, "customer")
    async with acting_as(practice.url, READER) as reader:
        for view in public:
            assert await may(reader, f"SELECT * FROM {view} LIMIT 1"), view
        rows = await reader.fetch("SELECT reason::text, detail FROM rejections WHERE reason = 'invalid'")
        assert [tuple(row) for row in rows] == [("invalid", "payload.weight: Field required")]
        for refused in (
            "SELECT payload FROM rejections",
            "SELECT * FROM rejections",
            "SELECT identifiers_named FROM rejections",
        ):
            assert not await may(reader, refused), refused
        for table in set(TABLES) - {"rejections"}:
            assert not await may(reader, f"SELECT * FROM {table}"), table
        for view in customers:
            assert not await may(reader, f"SELECT * FROM {view}"), view
        for statement in (
            *DDL,
            "DELETE FROM readings",
            "UPDATE sources SET source = 'a'",
            "DELETE FROM rejections",
        ):
            assert not await may(reader, statement), statement


@on_every_engine
async def test_a_customer_sees_its_own_rows_and_nothing_below_the_views(practice: Practice) -> None:  # noqa: F811
    await made(practice.url)
    own = {ONE: ({1, 2, 3, 4}, {7, 8}, {1}), ELEVEN: ({11}, {77}, {11})}
    public, customers = await views(practice.url, "public"), await views(practice.url, "customer")
    columns = await practice.ask(
        "SELECT format('%s.%s', table_schema, table_name), column_name FROM information_schema.columns"
        " WHERE table_schema = 'customer' AND column_name IN ('device_id', 'patient_id', 'customer_id')"
    )
    for role, seen in own.items():
        async with acting_as(practice.url, role) as customer:
            for view, column in columns:
                values = {row[0] for row in await customer.fetch(f"SELECT DISTINCT {column} FROM {view}")} - {None}
                expected = dict(zip(("device_id", "patient_id", "customer_id"), seen, strict=True))[column]
                assert values <= expected, (view, column)
                if view == "customer.readings_local":
                    assert values == expected
            for table in (*TABLES, "sources", "law_parameters"):
                assert not await may(customer, f"SELECT 1 FROM public.{table}"), table
            for view in public:
                assert not await may(customer, f"SELECT 1 FROM {view}"), view
            for statement in (
                *DDL,
                "DELETE FROM customer.rejections",
                "UPDATE customer.rejections SET customer_id = 11",
            ):
                assert not await may(customer, statement), statement
    assert len(customers) == 22


@on_every_engine
async def test_a_customers_answers_are_those_of_its_own_readings(practice: Practice) -> None:  # noqa: F811
    await made(practice.url)
    async with acting_as(practice.url, ELEVEN) as customer:
        await customer.execute("SET search_path = customer")
        days = await customer.fetch("SELECT patient_id, days, band FROM reading_days WHERE first_day = '2025-03-01'")
        assert [tuple(row) for row in days] == [(77, 19, "16+")]
        period = await customer.fetch("SELECT patient_id, days, band FROM reading_days_from('2025-03-01')")
        assert period == days
        assert await customer.fetchval("SELECT sum(readings)::int FROM daily_summaries") == 21
        assert await customer.fetchval("SELECT count(*) FROM rejections_daily") == 0
        assert await customer.fetchval("SELECT count(*) FROM device_activity") == 1
    async with acting_as(practice.url, ONE) as customer:
        await customer.execute("SET search_path = customer")
        latest = await customer.fetch("SELECT patient_id, reading_type::text FROM latest_readings ORDER BY 1, 2")
        assert [tuple(row) for row in latest] == [(7, "bloodPressure"), (7, "weight"), (8, "bloodGlucose")]
        refused = await customer.fetch(
            "SELECT reason::text, sum(rejections)::int FROM rejections_daily GROUP BY 1 ORDER BY 1"
        )
        assert [tuple(row) for row in refused] == [
            ("conflicting_duplicate", 1),
            ("device_decommissioned", 2),
            ("duplicate", 1),
        ]


# --- a function that tells whatever it is given, and claims to cost nothing -------------------------------------------

LEAK = """
CREATE FUNCTION pg_temp.leak(told text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
AS $$ BEGIN RAISE NOTICE 'leaked %', told; RETURN true; END $$
"""


async def leaked(connection: asyncpg.Connection, view: str, columns: Sequence[str]) -> set[str]:
    """What the function gets to see as the cheapest of all conditions."""
    told: list[str] = []

    def hear(_: object, notice: asyncpg.PostgresLogMessage) -> None:
        told.append(notice.message)

    connection.add_log_listener(hear)
    await connection.execute("SET client_min_messages = notice")
    row = " || '/' || ".join(f"coalesce({column}::text, '-')" for column in columns)
    await connection.fetch(f"SELECT 1 FROM {view} WHERE pg_temp.leak({row})")
    for column in columns:
        await connection.fetch(f"SELECT 1 FROM {view} WHERE pg_temp.leak('{column} ' || {column}::text)")
    connection.remove_log_listener(hear)
    return {message.removeprefix("leaked ") for message in told}


@on_every_engine
async def test_no_function_gets_to_see_another_customers_rows(practice: Practice) -> None:  # noqa: F811
    """All rows that hold patient 77 or device 11, and what is told of device 4 alone, are somebody else's each time."""
    await made(practice.url)
    by_view: dict[str, list[str]] = {}
    for view, column in await practice.ask(
        "SELECT format('%s.%s', table_schema, table_name), column_name FROM information_schema.columns"
        " WHERE table_schema = 'customer' AND column_name IN ('device_id', 'patient_id', 'customer_id', 'blocked_since')"
        " ORDER BY 1, 2"
    ):
        by_view.setdefault(view, []).append(column)
    others = {
        ONE: {"patient_id 77", "device_id 11", "customer_id 11"},
        ELEVEN: {
            "patient_id 7",
            "patient_id 8",
            "device_id 1",
            "device_id 4",
            "customer_id 1",
            "blocked_since 2025-03-20 00:00:00+00",
        },
    }
    for role, theirs in others.items():
        async with acting_as(practice.url, role) as customer:
            await customer.execute(LEAK)
            heard = {view: await leaked(customer, view, columns) for view, columns in by_view.items()}
        assert not set().union(*heard.values()) & theirs
        assert len(heard["customer.readings_local"]) > 3


async def test_without_a_barrier_the_function_would_see_them(migrated: str) -> None:
    """So the test above can fail."""
    await fill(migrated, REGISTRY, given())
    await made(migrated)
    await execute(migrated, "ALTER VIEW customer.readings_local SET (security_barrier = false)")
    async with acting_as(migrated, ONE) as customer:
        await customer.execute(LEAK)
        assert "patient_id 77" in await leaked(customer, "customer.readings_local", ["patient_id"])


# --- logins, the services, the command --------------------------------------------------------------------------------


@asynccontextmanager
async def login(url: str, *groups: str) -> AsyncIterator[str]:
    """The URL for somebody who has just been let in, a member of these groups."""
    name = f"login_{secrets.token_hex(4)}"
    await execute(url, f"CREATE ROLE {name} LOGIN IN ROLE {', '.join(groups)}")
    try:
        yield url.replace("postgres@", f"{name}@")
    finally:
        await execute(url, f"DROP ROLE {name}")


async def test_whoever_logs_in_sees_what_the_groups_see_that_he_is_in(migrated: str) -> None:
    await fill(migrated, REGISTRY, given())
    await made(migrated)
    patients = "SELECT DISTINCT patient_id FROM customer.readings_local WHERE patient_id IS NOT NULL ORDER BY 1"
    for groups, seen in (([ONE], [7, 8]), ([ELEVEN], [77]), ([ONE, ELEVEN], [7, 8, 77]), (["readings_customer"], [])):
        async with login(migrated, *groups) as url:
            connection = await asyncpg.connect(url)
            try:
                assert [row[0] for row in await connection.fetch(patients)] == seen
                assert not await may(connection, "SELECT 1 FROM readings")
                if ELEVEN not in groups:
                    with pytest.raises(asyncpg.InsufficientPrivilegeError):
                        await connection.execute(f"SET ROLE {ELEVEN}")
            finally:
                await connection.close()


@pytest.mark.thorough
async def test_the_services_run_as_a_writer_who_cannot_touch_the_schema(migrated: str) -> None:
    """Readings, the registry, corrections, retention and the checks; the demo's own path, as that login."""
    await made(migrated)
    async with login(migrated, WRITER) as url:
        await fill(url, REGISTRY, given(), late=True)
        for command in (
            ["verify"],
            ["explain", "readings.raw", "0", "43"],
            ["status"],
            ["retention", "--before", "2025-06-01T00:00:00Z"],
            ["verify"],
        ):
            async with readings(
                *command, env=environment(url, CONNECT_TIMEOUT_S=5, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
            ) as process:
                code, _, err = await process.ended()
            # Of a broker that is away it is only told.
            assert code == 0, err
        connection = await asyncpg.connect(url)
        try:
            for statement in (
                *DDL,
                "INSERT INTO law_parameters VALUES ('a', 'b')",
                "INSERT INTO customer_roles VALUES ('a', 1)",
                "DELETE FROM schema_migrations",
            ):
                assert not await may(connection, statement), statement
        finally:
            await connection.close()


@pytest.mark.thorough
async def test_migrate_makes_the_roles_when_asked_and_once_is_enough(
    migrated: str, postgres_server: EmbeddedPostgres
) -> None:
    async def migrate(*arguments: str) -> list[str]:
        async with readings("migrate", *arguments, env=environment(migrated)) as process:
            code, out, err = await process.ended()
        assert (code, err) == (0, "")
        return out.splitlines()

    nothing = ["nothing to do: the schema is up to date"]
    assert await migrate() == nothing
    await migrate("--roles")
    assert await migrate("--roles") == nothing
    customer = secrets.randbelow(10**9) + 100
    assert await migrate("--roles", "--customer", str(customer)) == [f"role made: readings_customer_{customer}"]
    assert await migrate("--customer", str(customer)) == nothing
    async with acting_as(migrated, f"readings_customer_{customer}") as connection:
        assert await connection.fetchval("SELECT customer_id FROM customer.own_customers") == customer
    # What a later version adds is given to roles that were made once.
    await execute(migrated, "REVOKE SELECT ON latest_readings FROM readings_reader")
    assert await migrate() == nothing
    async with acting_as(migrated, READER) as reader:
        assert await may(reader, "SELECT * FROM latest_readings")
    await execute(migrated, f"DROP OWNED BY readings_customer_{customer}")
    await execute(migrated, f"DROP ROLE readings_customer_{customer}")


@pytest.mark.parametrize(
    ("groups", "about"),
    [
        ([READER], "table customer_roles"),
        ([READER], "schema customer"),
        ([WRITER, "readings_customer"], "role readings_customer_0"),
    ],
)
async def test_what_the_database_refuses_is_told_with_what_it_is_about(
    migrated: str, groups: list[str], about: str
) -> None:
    """By somebody who may neither make roles nor give rights: a bare SQLSTATE would leave him to guess at which."""
    await made(migrated)
    if about != "table customer_roles":
        await execute(migrated, f"GRANT SELECT ON customer_roles TO {groups[0]}")
    async with login(migrated, *groups) as url:
        database = Database(url, timeout_s=10)
        try:
            with pytest.raises(OperatorError, match=f"^{about}: SQLSTATE 42501: the database user lacks a privilege$"):
                async with database.transaction() as connection:
                    await make_roles(connection, [0])
        finally:
            await database.close()
