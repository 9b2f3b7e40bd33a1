"""The content of a registry file: opened once, read twice, for the hash that names it and then for its records."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Final, NamedTuple

LONGEST_LINE: Final = 67_108_864
"""Bytes: as long as a record may be made to be by READINGS_MAX_RECORD_BYTES. Beyond it a file is not made of lines."""
_HEAD: Final = 65_536
_CHUNK: Final = 1_048_576
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class UnreadableFileError(ValueError):
    """The file as a whole cannot be taken. The message says why in one line, and holds nothing of what it holds."""


class Given(NamedTuple):
    """One record of a file."""

    value: bytes
    """As given; a row of CSV as the JSON object that it stands for."""
    fault: str | None = None
    """Why it is no record at all: then it is malformed, and `value` is what stood there."""


class Content:
    """What an open file holds. `read` tells how many of its `size` bytes were handed out."""

    def __init__(self, stream: BinaryIO, *, opened_at: datetime) -> None:
        self.opened_at = opened_at
        self.read = 0
        self._stream = stream
        self._stamp = self._stamp_now()
        self.size = self._stamp[0]
        stream.seek(0)
        content = sha256()
        while chunk := stream.read(_CHUNK):
            content.update(chunk)
        self.sha256 = content.hexdigest()
        stream.seek(0)
        self._begin = len(_BYTE_ORDER_MARK) if stream.read(len(_BYTE_ORDER_MARK)) == _BYTE_ORDER_MARK else 0

    def head(self) -> bytes:
        """Its beginning: enough to tell what it is."""
        self._stream.seek(self._begin)
        return self._stream.read(_HEAD)

    def whole(self) -> bytes:
        self._stream.seek(self._begin)
        return self._stream.read()

    def lines(self) -> Iterator[bytes]:
        """Its lines from the first on, ends included, one at a time.

        :raises UnreadableFileError: when one is too long for the memory that a load may take.
        """
        self._stream.seek(self._begin)
        self.read = self._begin
        number = 0
        while line := self._stream.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise UnreadableFileError(f"line {number} is longer than {LONGEST_LINE} bytes")
            self.read += len(line)
            yield line

    def check_unchanged(self) -> None:
        """Nothing, if the file is still the one that was hashed.

        :raises UnreadableFileError: otherwise: what comes next would be stored under the name of another content.
        """
        if self._stamp_now() != self._stamp:
            raise UnreadableFileError("it changed while it was read; load it again when it is complete")

    def _stamp_now(self) -> tuple[int, int]:
        standing = os.fstat(self._stream.fileno())
        return standing.st_size, standing.st_mtime_ns


@contextmanager
def opened(path: Path) -> Iterator[Content]:
    """The content of the file, or of a pipe, which is copied to a nameless file on disk first.

    :raises UnreadableFileError: when it cannot be opened or read.
    """
    opened_at = datetime.now(UTC)
    try:
        with path.open("rb") as file:
            if file.seekable():
                yield Content(file, opened_at=opened_at)
                return
            with TemporaryFile() as copy:
                shutil.copyfileobj(file, copy)
                copy.flush()
                yield Content(copy, opened_at=opened_at)
    except OSError as error:
        raise UnreadableFileError(error.strerror or type(error).__name__) from None
