"""Files in JSON: an object a line, one array of objects, or a single object over many lines."""

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

from pydantic_core import from_json

from ingest.content import Content, UnreadableFileError, in_blocks

_BLANKS: Final = re.compile(r"[ \t\r\n]*")


def _unread(_text: str) -> None:
    """Numbers are read when the element is; here they only have to end somewhere."""


# Control characters and NaN pass here, too: they are the fault of one element, which is set aside for it.
_scan: Final = json.JSONDecoder(strict=False, parse_int=_unread, parse_float=_unread, parse_constant=_unread).raw_decode


def json_lines(content: Content) -> Iterator[list[bytes]]:
    """One record a line; blank lines are none."""
    for lines in content.lines():
        yield [record for line in lines if (record := line.strip(b" \t\r"))]


def json_array(content: Content) -> Iterator[list[bytes]]:
    """One record an element, its bytes as they stand in the file. The text is held in memory, the elements are not.

    :raises UnreadableFileError: at once, when it is not one whole array: a broken one is not taken in part.
    """
    try:
        text = content.whole().decode()
    except UnicodeDecodeError:
        raise UnreadableFileError("not UTF-8") from None

    return in_blocks(text[begin:end].encode() for begin, end in list(_elements(text)))


def single_object(content: Content, *, max_bytes: int) -> bytes | None:
    """The one object that the whole file is, written over many lines; None if it is none."""
    lines = chain.from_iterable(content.lines())
    if content.unpacked_size > max_bytes or _object(next(lines, b"")) is not None or next(lines, None) is None:
        return None
    whole = content.whole().strip()
    return None if _object(whole) is None else whole


def _object(value: bytes) -> dict[str, Any] | None:
    try:
        document = from_json(value)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _elements(text: str) -> Iterator[tuple[int, int]]:
    """Where each element of the array begins and ends."""
    at = _past_blanks(text, text.index("[") + 1)
    if text[at : at + 1] != "]":
        while True:
            end = _end_of_element(text, at)
            yield at, end
            at = _past_blanks(text, end)
            if text[at : at + 1] != ",":
                break
            at = _past_blanks(text, at + 1)
    if text[at : at + 1] != "]" or _past_blanks(text, at + 1) != len(text):
        raise _broken(text, at)


def _end_of_element(text: str, at: int) -> int:
    try:
        return _scan(text, at)[1]
    except json.JSONDecodeError as error:
        raise _broken(text, error.pos) from None
    except RecursionError:
        raise UnreadableFileError("a JSON array with an element nested too deep to be read") from None


def _past_blanks(text: str, at: int) -> int:
    found = _BLANKS.match(text, at)
    assert found is not None, "no blanks are blanks enough"
    return found.end()


def _broken(text: str, at: int) -> UnreadableFileError:
    return UnreadableFileError(f"a broken JSON array: it breaks in line {text.count(chr(10), 0, at) + 1}")
