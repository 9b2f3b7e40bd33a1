"""Database roles for those who only read, for a customer, and for the services: groups, to be granted to logins."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sinks.database import Connection
from sinks.errors import SinkError, translated
from sinks.statements import sql

ROLES = ("readings_reader", "readings_customer", "readings_writer")


async def roles_stand(connection: Connection) -> bool:
    """Whether the roles were made, and given their rights in this database."""
    stand: bool = await connection.fetchval(
        "SELECT to_regrole('readings_reader') IS NOT NULL"
        " AND has_table_privilege(to_regrole('readings_reader')::oid, 'law_parameters', 'SELECT')"
    )
    return stand


async def make_roles(connection: Connection, customers: Iterable[int]) -> list[str]:
    """Make the roles, and one for each of the customers, and give them their rights; what is new, a line each.

    :raises SinkError: which names the role, schema, table or view that it is about.
    """
    before = await _standing(connection)
    for about, statement in await connection.fetch(sql("roles")):
        with _told_of(about):
            await connection.execute(statement)
    for customer in customers:
        name = f"readings_customer_{customer}"
        with _told_of(f"role {name}"):
            if await connection.fetchval("SELECT to_regrole($1) IS NULL", name):
                await connection.execute(f"CREATE ROLE {name} NOLOGIN")
            await connection.execute(f"GRANT readings_customer TO {name}")
            await connection.execute(
                "INSERT INTO customer_roles VALUES ($1, $2) ON CONFLICT (role_name) DO UPDATE SET customer_id = $2",
                name,
                customer,
            )
    return [f"role made: {name}" for name in sorted(await _standing(connection) - before)]


@contextmanager
def _told_of(about: str) -> Iterator[None]:
    """The database names no object when it refuses a role or a grant, but in its text, which we do not repeat."""
    try:
        with translated():
            yield
    except SinkError as error:
        raise type(error)(f"{about}: {error}") from None


async def _standing(connection: Connection) -> set[str]:
    """Our roles that have something to say in this database."""
    with _told_of("table customer_roles"):
        rows = await connection.fetch(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1) UNION SELECT role_name FROM customer_roles"
            " JOIN pg_roles ON rolname = role_name",
            list(ROLES),
        )
    return {row["rolname"] for row in rows}
