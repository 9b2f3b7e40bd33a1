"""What an archive is, told by its content: NDJSON, a JSON array, CSV or Parquet."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Final

from pydantic_core import from_json

from ingest.archive_columns import columns_of, envelope_of_cells
from ingest.archive_parquet import MAGIC, parquet_rows
from ingest.content import LONGEST_LINE, Content, UnreadableFileError
from ingest.csv_rows import csv_header, csv_rows
from ingest.json_records import json_array, json_lines, single_object
from ingest.registry_platform import Worded, in_our_words

_NOTHING_KNOWN: Final = "neither NDJSON, nor a JSON array, CSV with the columns of readings, or Parquet"


def records_of(content: Content, *, max_bytes: int) -> Callable[[], Iterator[list[bytes]]]:
    """How to read the archive's records, all of them, from the first on, some at a time; each call begins anew.

    :raises UnreadableFileError: when it is nothing that an archive may be, or not whole.
    """
    head = content.head()
    if head.startswith(MAGIC):
        return parquet_rows(content)
    if b"\x00" in head:
        raise UnreadableFileError("not UTF-8 text: a document, a spreadsheet, or in another encoding")
    match head.lstrip()[:1]:
        case b"":
            return lambda: iter(())
        case b"[":
            if content.unpacked_size > LONGEST_LINE:
                raise UnreadableFileError(f"a JSON array of more than {LONGEST_LINE} bytes: write an object a line")
            return _of_readings(partial(json_array, content))
        case b"{":
            one = single_object(content, max_bytes=max_bytes)
            return _of_readings(partial(json_lines, content) if one is None else lambda: iter(([one],)))
    lines = head.splitlines()
    if any(line.lstrip().startswith(b"{") for line in lines[1:]) and b"," not in lines[0]:
        return partial(json_lines, content)
    header = csv_header(head)
    if header is None or (len(header) == 1 and header[0] not in ("envelope", "value")):
        raise UnreadableFileError(_NOTHING_KNOWN)
    columns = columns_of(header)
    return partial(csv_rows, content, header, partial(envelope_of_cells, columns))


def _of_readings(records: Callable[[], Iterator[list[bytes]]]) -> Callable[[], Iterator[list[bytes]]]:
    """The same records, unless they begin like a registry file: taken as readings, its content would be used up."""
    first = next(chain.from_iterable(records()), None)
    try:
        document = {} if first is None else from_json(first)
    except ValueError:
        return records
    if isinstance(document, dict) and "type" not in document and isinstance(in_our_words(document), Worded):
        raise UnreadableFileError("states of the registry, and no readings: that is for readings registry load")
    return records
