"""Registry files in CSV: a header of wire names, then a state a row.

Commas, RFC 4180 quoting, newlines within quotes, UTF-8. With a column `deviceId` every row is a device's state, else
with a column `patientId` a patient's. Columns of other names are ignored, as unknown fields are.

What a cell says: blanks around it do not count. A cell that is empty says "none" (null), for its column is there; but
an empty `effectiveAt` or `recordedAt` says nothing. Ids are digits without sign, point or leading zero, booleans `true`
or `false` in any case; anything else in them is left as it is, and the schema refuses it. Identifiers stand in columns
named by their type (`serial`, `imei`, `macAddress`, `iccid`, `simCardNumber`; all empty: none) or in one column
`deviceIdentifiers` that holds the JSON of the wire. A row without anything in it is no record. A row with more or fewer
cells than the header, or with broken quotes, is malformed, and the next line begins a new row.
"""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from pydantic_core import from_json, to_json

from ingest.registry_content import Content, Given, UnreadableFileError

_SUBJECTS: Final = frozenset({"deviceId", "patientId"})
_IDENTIFIER_TYPES: Final = frozenset({"serial", "imei", "macAddress", "iccid", "simCardNumber"})
_TIMES: Final = frozenset({"effectiveAt", "recordedAt"})
_ID: Final = re.compile("[1-9][0-9]{0,18}")
_NOT_UTF_8: Final = re.compile("[\ud800-\udfff]")


def _id(text: str) -> int | str:
    return int(text) if _ID.fullmatch(text) else text


def _boolean(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text.lower(), text)


def _json(text: str) -> Any:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return text


_CELLS: Final[dict[str, Callable[[str], Any]]] = {
    **dict.fromkeys(("deviceId", "patientId", "siteId", "customerId"), _id),
    **dict.fromkeys(("disabledReadings", "platformSite"), _boolean),
    **dict.fromkeys(("currentStatus", "note", "externalIdentifier", "zipCode", "country"), str),
    "deviceIdentifiers": _json,
}
COLUMNS: Final = frozenset(_CELLS) | _IDENTIFIER_TYPES | _TIMES
"""Every column that means something."""


def csv_header(head: bytes) -> list[str] | None:
    """The names of the columns, if this is the beginning of a registry file in CSV.

    :raises UnreadableFileError: when the header says one thing twice.
    """
    first = next((line for line in head.split(b"\n") if line.strip()), b"").rstrip(b"\r")
    try:
        header = [name.strip(" \t") for name in next(csv.reader([first.decode()], strict=True))]
    except (ValueError, csv.Error, StopIteration):
        return None
    if _SUBJECTS.isdisjoint(header):
        return None
    known = [name for name in header if name in COLUMNS]
    if len(known) > len(set(known)):
        raise UnreadableFileError("a CSV header that names a column twice")
    if "deviceIdentifiers" in known and not _IDENTIFIER_TYPES.isdisjoint(known):
        raise UnreadableFileError("a CSV header with deviceIdentifiers and with columns of single identifiers")
    return header


def csv_rows(content: Content, header: list[str]) -> Iterator[Given]:
    """One record a row, as the JSON object that it stands for; a row that is none as it stood in the file."""
    lines = _Lines(content.lines())
    reader = csv.reader(lines, strict=True)
    first = True
    while True:
        lines.taken.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Given(lines.give_back_all_but_one(), _fault(error))
            continue
        if not any(cell.strip(" \t") for cell in row):
            continue
        if first:
            first = False  # the header
        elif _NOT_UTF_8.search("".join(row)):
            yield Given(lines.as_given(), "not UTF-8")
        elif len(row) != len(header):
            yield Given(lines.as_given(), f"a row of {len(row)} cells under a header of {len(header)}")
        else:
            yield Given(to_json(_document(header, row)))


class _Lines:
    """The lines that the CSV parser asks for. Those of a broken row can be given back, to be asked for again."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self.taken: list[bytes] = []
        self._lines = lines
        self._again: deque[bytes] = deque()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        return line.decode(errors="surrogateescape")

    def as_given(self) -> bytes:
        return b"".join(self.taken).rstrip(b"\r\n")

    def give_back_all_but_one(self) -> bytes:
        """A quote that nobody closes would take all that follows with it: only its own line is lost."""
        self._again.extendleft(reversed(self.taken[1:]))
        return self.taken[0].rstrip(b"\r\n")


def _document(header: list[str], row: list[str]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    identifiers = []
    for name, cell in zip(header, row, strict=True):
        text = cell.strip(" \t")
        if name in _IDENTIFIER_TYPES:
            identifiers += [{"type": name, "value": text}] if text else []
            said["deviceIdentifiers"] = identifiers or None
        elif name in _CELLS:
            said[name] = _CELLS[name](text) if text else None
        elif name in _TIMES and text:
            said[name] = text
    return said


def _fault(error: csv.Error) -> str:
    # The parser's words hold the limit and the quote character, never a cell.
    return f"not a row of CSV: {error}"
