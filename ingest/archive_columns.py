"""Archives with columns: CSV and Parquet. A row becomes an envelope, so that the one judge reads it.

Either one column `envelope` (or `value`) holds the platform's envelope, and `receivedAt` (or `received_at`) may stand
beside it; or the columns are flat: `type`, `receivedAt`, and the payload's fields by the platform's names. Columns of
other names are ignored, as unknown fields are.

What a cell of CSV says: an empty one says nothing. Numbers are JSON numbers, booleans `true` or `false` in any case,
lists and nested objects JSON; anything else is left as it is, and the schema refuses it.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from pydantic_core import from_json, to_json

from ingest.content import UnreadableFileError
from ingest.registry_csv import cell_of_boolean, cell_of_json
from schemas.wire import MalformedError, parse_object

_ENVELOPE: Final = ("envelope", "value")
_RECEIVED_AT: Final = ("receivedAt", "received_at")
_NAMING: Final = ("deviceId", "deviceIdentifier", "device", "patientId", "patient")
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def _number(text: str) -> int | float | str:
    return from_json(text, allow_inf_nan=False) if _NUMBER.fullmatch(text) else text


_CELLS: Final[dict[str, Callable[[str], Any]]] = {
    **dict.fromkeys(
        (
            *("id", "deviceId", "patientId", "deviceTimeZoneOffset", "heartRate", "heartRateVariability"),
            *("heartRateVariabilityDuration", "systolic", "diastolic", "glucose", "bloodOxygen", "weight"),
            *("temperature", "peakExpiratoryFlow", "forcedExpiratoryVolumeInOneSecond", "forcedExpiratoryVolume"),
            *("bodyTurnOver", "respiration", "deepSleep", "lightSleep", "rem"),
        ),
        _number,
    ),
    **dict.fromkeys(("manual", "beforeMeal", "afterMeal"), cell_of_boolean),
    **dict.fromkeys(
        (
            *("readingTimestamp", "deviceIdentifier", "heartRateVariabilityAlgorithmType", "glucoseUnit"),
            *("bloodOxygenUnit", "weightUnit", "temperatureUnit", "duration"),
        ),
        str,
    ),
    **dict.fromkeys(("device", "patient", "bedTime", "getUpTime"), cell_of_json),
}
FIELDS: Final = frozenset(_CELLS)
"""Every field of a payload that may be a column."""


class Columns(NamedTuple):
    """Which columns mean what."""

    names: Sequence[str]
    """All of them, in the order of the file."""
    envelope: str | None
    """The one that holds all; None: the columns are flat."""
    received_at: str | None

    @property
    def used(self) -> list[str]:
        """Those that mean something."""
        flat = ("type", *FIELDS) if self.envelope is None else (self.envelope,)
        return [name for name in self.names if name in flat or name == self.received_at]


def columns_of(names: Sequence[str]) -> Columns:
    """What the columns of an archive mean.

    :raises UnreadableFileError: when they are not those of an archive, or one stands there twice.
    """
    received_at = [name for name in names if name in _RECEIVED_AT]
    envelope = [name for name in names if name in _ENVELOPE]
    flat = "type" in names and "readingTimestamp" in names
    if flat and "envelope" not in envelope:
        envelope = []
    columns = Columns(names, min(envelope, default=None), min(received_at, default=None))
    if columns.envelope is None and not flat:
        lacking = " and ".join(name for name in ("type", "readingTimestamp") if name not in names)
        raise UnreadableFileError(f"no column envelope or value, nor {lacking}")
    if columns.envelope is None and not any(name in names for name in _NAMING):
        raise UnreadableFileError(f"columns of readings, but none of {', '.join(_NAMING)}: they name nobody")
    if len(received_at) > 1 or len(columns.used) > len(set(columns.used)):
        raise UnreadableFileError("columns that say one thing twice")
    return columns


def envelope_of_cells(columns: Columns, cells: list[str]) -> bytes:
    """The envelope that a row of CSV stands for."""
    row = {name: text for name, text in zip(columns.names, cells, strict=True) if text}
    if columns.envelope is not None:
        return envelope_of_row(columns, row)
    return envelope_of_row(columns, {name: _CELLS.get(name, str)(text) for name, text in row.items()})


def envelope_of_row(columns: Columns, row: dict[str, Any]) -> bytes:
    """The envelope that a row of typed values stands for; None says nothing."""
    received_at = row.get(columns.received_at) if columns.received_at is not None else None
    if columns.envelope is not None:
        return _received(row.get(columns.envelope), received_at)
    payload = {name: value for name, value in row.items() if name in FIELDS and value is not None}
    said = {"receivedAt": received_at, "type": row.get("type"), "payload": payload}
    return to_json({name: value for name, value in said.items() if value is not None}, fallback=_said)


def _received(envelope: Any, received_at: Any) -> bytes:
    """The envelope as it stands, with the time of receipt in front: its own, if it has one, is the last and counts."""
    value = envelope if isinstance(envelope, bytes) else str("" if envelope is None else envelope).encode()
    try:
        document = None if received_at is None else parse_object(value, max_bytes=len(value), max_depth=64)
    except MalformedError:
        document = None
    if document is None:
        return value
    begin = b'{"receivedAt":' + to_json(received_at, fallback=_said)
    return begin + (b"," if document else b"") + value[value.index(b"{") + 1 :]


def _said(value: Any) -> Any:
    return str(value)


def plain(value: Any) -> Any:
    """A value of Parquet as JSON has it: what is no number, text, boolean or list there is told as text."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case bytes():
            return value.decode(errors="backslashreplace")
        case dict():
            return {name: plain(part) for name, part in value.items() if part is not None}
        case list():
            return [plain(part) for part in value]
        case _:
            return value
