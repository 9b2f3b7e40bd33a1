"""How the database fails, in the classes that the pipeline tells apart: by SQLSTATE, never by text.

SinkError
├── AwayError                the database cannot be reached or cannot serve now: wait, nothing moves
├── CollisionError           another writer was there first: read again, rule 9, try again
├── StatementCancelledError  the statement was cancelled: again, with half the batch
├── RefusedRowError          the database refuses a row: split the batch until it stands alone
├── PositionMovedError       another owner moved the position: what is in hand is no longer ours
└── OperatorError            a mistake that only a person can mend: stop with one clear line
    ├── SchemaError          the schema is missing or older: `readings migrate`
    └── HeldOtherwiseError   a source of readings is given as one of the registry, or the other way round
"""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg


class SinkError(Exception):
    """What the database did instead of what it was asked; the message holds SQLSTATE, table, constraint, no value."""


class AwayError(SinkError):
    pass


class CollisionError(SinkError):
    pass


class StatementCancelledError(SinkError):
    pass


class RefusedRowError(SinkError):
    pass


class PositionMovedError(SinkError):
    pass


class OperatorError(SinkError):
    pass


class SchemaError(OperatorError):
    pass


class HeldOtherwiseError(OperatorError):
    pass


OUR_KEYS = (
    "readings_key",
    "rejections_pkey",
    "device_states_pkey",
    "patient_states_pkey",
    "device_identifiers_pkey",
    "sources_source_key",
    "source_positions_pkey",
    "source_gaps_pkey",
    "unregistered_mentions_identifier_patient_id_subject_key",
    "api_keys_key_sha256_key",
    "webhook_receipts_pkey",
)
"""Unique keys whose violation means that another writer was first."""
_CHUNK = re.compile(r"^_hyper_\d+_\d+_chunk_?")


_MEANS = {
    "28": "the database does not let this user in; see READINGS_DATABASE_URL",
    "3D": "there is no such database; see READINGS_DATABASE_URL",
    "42501": "the database user lacks a privilege",
    "42704": "the database does not know an object or option by that name",
    "42": "the schema is not the one this version knows; see: readings status",
    "53400": "a limit of the database's configuration is reached; see its log",
    "54": "a limit of the database is exceeded; see its log",
    "0A": "this database does not support what is asked of it; see its log",
}
"""What a person has to mend, by the beginning of the SQLSTATE; the first that fits."""


@contextmanager
def translated() -> Iterator[None]:
    """Inside, what asyncpg and the network raise becomes one of the classes above."""
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _of_postgres(error) from None
    except asyncpg.exceptions.ClientConfigurationError as error:
        raise OperatorError(f"READINGS_DATABASE_URL is none that can be used ({type(error).__name__})") from None
    except TimeoutError:
        raise AwayError("the database does not answer") from None
    except asyncpg.InternalClientError:
        raise AwayError("the database broke off in the middle of an answer") from None
    except (OSError, asyncio.IncompleteReadError) as error:
        raise AwayError(f"the database cannot be reached ({type(error).__name__})") from None


def _of_postgres(error: asyncpg.PostgresError) -> SinkError:
    state = error.sqlstate or "?????"
    where = " ".join(
        f"{name} {_named(value)}" for name in ("table_name", "constraint_name") if (value := getattr(error, name, None))
    )
    text = f"SQLSTATE {state} {where}".rstrip()
    # In a compressed chunk of a hypertable no key is named, and the one there is ours.
    key = _named(getattr(error, "constraint_name", None) or OUR_KEYS[0])
    if state in ("40001", "40P01") or (state == "23505" and key in OUR_KEYS):
        return CollisionError(text)
    if state == "57014":
        return StatementCancelledError(text)
    if state == "25006" or state[:2] in ("08", "57") or (state[:2] == "53" and state != "53400"):
        return AwayError(text)
    if state[:2] in ("21", "22", "23"):
        return RefusedRowError(text)
    if state in ("42P01", "42703", "3F000"):
        return SchemaError(f"{text}: the schema is missing or older; run: readings migrate")
    means = next(
        (sentence for begins, sentence in _MEANS.items() if state.startswith(begins)), "see the database's log"
    )
    return OperatorError(f"{text}: {means}")


def _named(name: str) -> str:
    """As the schema names it: a chunk and its keys have names of their own, with numbers that no other run repeats."""
    return _CHUNK.sub("", name) or "readings"
