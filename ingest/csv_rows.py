"""CSV, whatever its columns mean: a header, then a row a record.

Commas, RFC 4180 quoting, newlines within quotes, UTF-8. Blanks around a cell do not count. A row without anything in it
is no record. A row with more or fewer cells than the header, or with broken quotes, is malformed, and the next line
begins a new row.
"""

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from ingest.content import Content, NoRecord, in_blocks

BLANKS: Final = " \t"
_NOT_UTF_8: Final = re.compile("[\ud800-\udfff]")

csv.field_size_limit(2**26)  # as long as a line may be: what a cell holds is judged, and not cut off here


def csv_header(head: bytes) -> list[str] | None:
    """The names of the columns, if this is the beginning of a file in CSV."""
    first = next((line for line in head.split(b"\n") if line.strip()), b"").rstrip(b"\r")
    try:
        return [name.strip(BLANKS) for name in next(csv.reader([first.decode()], strict=True))]
    except (ValueError, csv.Error, StopIteration):
        return None


def csv_rows(content: Content, header: list[str], said: Callable[[list[str]], bytes]) -> Iterator[list[bytes]]:
    """One record a row: what its cells say; a row that is none as it stood in the file."""
    return in_blocks(_rows(content, header, said))


def _rows(content: Content, header: list[str], said: Callable[[list[str]], bytes]) -> Iterator[bytes]:
    lines = _Lines(line + b"\n" for lines in content.lines() for line in lines)
    reader = csv.reader(lines, strict=True)
    first = True
    while True:
        lines.taken.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield NoRecord(lines.give_back_all_but_one(), _fault(error))
            continue
        cells = [cell.strip(BLANKS) for cell in row]
        if not any(cells):
            continue
        if first:
            first = False  # the header
        elif _NOT_UTF_8.search("".join(cells)):
            yield NoRecord(lines.as_given(), "not UTF-8")
        elif len(cells) != len(header):
            yield NoRecord(lines.as_given(), f"a row of {len(cells)} cells under a header of {len(header)}")
        else:
            yield said(cells)


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


def _fault(error: csv.Error) -> str:
    # The parser's words hold the limit and the quote character, never a cell.
    return f"not a row of CSV: {error}"
