"""Registry files in CSV: a header of wire names, then a state a row.

With a column `deviceId` every row is a device's state, else with a column `patientId` a patient's. Columns of other
names are ignored, as unknown fields are.

What a cell says: one that is empty says "none" (null), for its column is there; but an empty `effectiveAt` or
`recordedAt` says nothing. Ids are digits without sign, point or leading zero, booleans `true` or `false` in any case;
anything else in them is left as it is, and the schema refuses it. Identifiers stand in columns named by their type
(`serial`, `imei`, `macAddress`, `iccid`, `simCardNumber`; all empty: none) or in one column `deviceIdentifiers` that
holds the JSON of the wire.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from pydantic_core import from_json, to_json

from ingest.content import UnreadableFileError
from ingest.csv_rows import csv_header

_SUBJECTS: Final = frozenset({"deviceId", "patientId"})
_IDENTIFIER_TYPES: Final = frozenset({"serial", "imei", "macAddress", "iccid", "simCardNumber"})
_TIMES: Final = frozenset({"effectiveAt", "recordedAt"})
_ID: Final = re.compile("[1-9][0-9]{0,18}")


def cell_of_boolean(text: str) -> bool | str:
    """`true` or `false` in any case; anything else as it is."""
    return {"true": True, "false": False}.get(text.lower(), text)


def cell_of_json(text: str) -> Any:
    """What JSON in it says; anything else as it is."""
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return text


def _id(text: str) -> int | str:
    return int(text) if _ID.fullmatch(text) else text


_CELLS: Final[dict[str, Callable[[str], Any]]] = {
    **dict.fromkeys(("deviceId", "patientId", "siteId", "customerId"), _id),
    **dict.fromkeys(("disabledReadings", "platformSite"), cell_of_boolean),
    **dict.fromkeys(("currentStatus", "note", "externalIdentifier", "zipCode", "country"), str),
    "deviceIdentifiers": cell_of_json,
}
COLUMNS: Final = frozenset(_CELLS) | _IDENTIFIER_TYPES | _TIMES
"""Every column that means something."""


def registry_header(head: bytes) -> list[str] | None:
    """The names of the columns, if this is the beginning of a registry file in CSV.

    :raises UnreadableFileError: when the header says one thing twice.
    """
    header = csv_header(head)
    if header is None or _SUBJECTS.isdisjoint(header):
        return None
    known = [name for name in header if name in COLUMNS]
    if len(known) > len(set(known)):
        raise UnreadableFileError("a CSV header that names a column twice")
    if "deviceIdentifiers" in known and not _IDENTIFIER_TYPES.isdisjoint(known):
        raise UnreadableFileError("a CSV header with deviceIdentifiers and with columns of single identifiers")
    return header


def state_of(header: list[str], cells: list[str]) -> bytes:
    """The state that a row tells, as a message."""
    said: dict[str, Any] = {}
    identifiers = []
    for name, text in zip(header, cells, strict=True):
        if name in _IDENTIFIER_TYPES:
            identifiers += [{"type": name, "value": text}] if text else []
            said["deviceIdentifiers"] = identifiers or None
        elif name in _CELLS:
            said[name] = _CELLS[name](text) if text else None
        elif name in _TIMES and text:
            said[name] = text
    return to_json(said)
