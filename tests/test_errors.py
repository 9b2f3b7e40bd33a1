"""How the database fails, class by class: by SQLSTATE and never by text."""

import asyncio
from typing import Any

import asyncpg
import pytest

from sinks.errors import (
    AwayError,
    CollisionError,
    OperatorError,
    RefusedRowError,
    SchemaError,
    SinkError,
    StatementCancelledError,
    translated,
)

ROW = {"table_name": "readings", "constraint_name": "no_more_than_300"}

MEANT: list[tuple[type[SinkError], str, dict[str, str]]] = [
    # A row that the database refuses: 21, 22, 23 but for our own keys.
    *((RefusedRowError, state, {}) for state in ("21000", "22001", "22003", "22008", "22021", "22P02", "22P05")),
    *((RefusedRowError, state, ROW) for state in ("23502", "23503", "23505", "23514", "23P01")),
    # Our own keys, by their names on a table and on a chunk of a hypertable; deadlocks; serialization failures.
    (CollisionError, "23505", {"table_name": "readings", "constraint_name": "readings_key"}),
    (CollisionError, "23505", {"constraint_name": "_hyper_1_2_chunk_readings_key"}),
    (CollisionError, "23505", {"constraint_name": "rejections_pkey"}),
    (CollisionError, "40001", {}),
    (CollisionError, "40P01", {}),
    # Away: 08, 53 but 53400, 57P, 25006.
    *((AwayError, state, {}) for state in ("08000", "08003", "08006", "08P01", "53000", "53100", "53200", "53300")),
    *((AwayError, state, {}) for state in ("57P01", "57P02", "57P03", "57P05", "25006")),
    (StatementCancelledError, "57014", {}),
    # The operator's mistake, and anything unlisted.
    *((OperatorError, state, {}) for state in ("42501", "42601", "42704", "28000", "28P01", "3D000", "53400", "54000")),
    *((OperatorError, state, {}) for state in ("54023", "55P03", "55000", "0A000", "XX000", "XX001", "P0001", "F0000")),
    *((SchemaError, state, {}) for state in ("42P01", "42703", "3F000")),
]


def postgres_error(state: str, **told: str) -> asyncpg.PostgresError:
    """As asyncpg makes it of what the server says; its text holds a value."""
    letters = {"table_name": "t", "constraint_name": "n"}
    fields: dict[str, Any] = {letters[name]: value for name, value in told.items()}
    return asyncpg.PostgresError.new({"C": state, "M": 'Failing row contains ("Kim", 19137)', "S": "ERROR", **fields})


@pytest.mark.parametrize(("kind", "state", "told"), MEANT)
def test_each_sqlstate_means_what_the_table_of_failures_says(
    kind: type[SinkError], state: str, told: dict[str, str]
) -> None:
    error = postgres_error(state, **told)
    assert error.sqlstate == state
    with pytest.raises(SinkError) as raised, translated():
        raise error
    assert type(raised.value) is kind
    assert str(raised.value).startswith(f"SQLSTATE {state}")
    assert "Kim" not in str(raised.value)
    assert all(value.removeprefix("_hyper_1_2_chunk_") in str(raised.value) for value in told.values())
    assert raised.value.__suppress_context__, "a trace-back would show the text"


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), TimeoutError(), asyncio.IncompleteReadError(b"", 4), OSError(113, "x")]
)
def test_the_network_and_a_time_out_mean_that_it_is_away(error: Exception) -> None:
    with pytest.raises(AwayError), translated():
        raise error


def test_a_bug_of_ours_is_none_of_these() -> None:
    with pytest.raises(ZeroDivisionError), translated():
        raise ZeroDivisionError
