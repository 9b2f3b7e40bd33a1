"""What tells at little cost that a record is written as nearly all are."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

_BACKSLASH: Final = ord("\\")
_BRACKET: Final = ord("[")
_LONGEST: Final = 4096
"""Bytes: shorter than any whole number that is too long for Python, of more than 4,300 digits."""


def may_be_deeper_than(value: bytes, limit: int) -> bool:
    """Counting brackets bounds the depth of JSON from above, and is nearly free."""
    return value.count(b"{") + (value.count(b"[") if _BRACKET in value else 0) > limit


def is_plain(value: bytes, *, max_bytes: int, max_depth: int) -> bool:
    """Whether msgspec, if it takes these bytes, has seen all that rule 1 asks for.

    What it skips it reads for its syntax alone: whether it is UTF-8, holds NUL or half a surrogate pair, both of which
    only an escape can spell, is nested too deep or a number too long, it does not see.
    """
    return (
        len(value) <= min(max_bytes, _LONGEST)
        and (value.isascii() or _is_utf8(value))
        and not (_BACKSLASH in value and b"\\u" in value)
        and not may_be_deeper_than(value, max_depth)
    )


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def instant(value: object, written_otherwise: Callable[[object], datetime]) -> datetime:
    """The instant that a string says; what is not written plainly is for the other reader."""
    if isinstance(value, str):
        try:
            return plain_instant(value)
        except ValueError:
            pass
    return written_otherwise(value)


def plain_instant(value: str) -> datetime:
    """An instant as nearly every sender writes it, which Python's own parser reads four times as fast as ours.

    `2026-03-08T07:00:00Z`, or with a fraction, which is cut to microseconds; or with `+00:00` for the `Z`.

    :raises ValueError: for all that is written otherwise, and for what is no time.
    """
    # Python's parser takes more than RFC 3339 does: weeks, times without seconds, a point or a colon before the Z, and
    # from 3.13 on 24:00.
    if value.endswith("+00:00"):
        value = value[:-6] + "Z"
    between = value[4:20:3]
    if between == "--T::Z":
        plain = not value[20:]
    else:
        plain = between == "--T::." and value[-1] == "Z" and value[20:-1].isdigit() and value.isascii()
    if not plain or value[11:13] == "24":
        raise ValueError("not written plainly")
    return datetime.fromisoformat(value)
