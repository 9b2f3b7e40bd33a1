"""The content of a file: opened once, read twice, for the hash that names it and then for its records."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from io import BufferedReader
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO, Final, NamedTuple

from ingest.packing import BROKEN, unpacked

LONGEST_LINE: Final = 67_108_864
"""Bytes: as long as a record may be made to be by READINGS_MAX_RECORD_BYTES. Beyond it a file is not made of lines."""
_HEAD: Final = 65_536
_CHUNK: Final = 1_048_576
_TELL_EVERY: Final = 1_000
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

Watch = Callable[[int, int], None]
"""Is told, as a file is read, how many of its bytes as they lie on disk, and of how many. What it raises ends that."""


class UnreadableFileError(ValueError):
    """The file as a whole cannot be taken. The message says why in one line, and holds nothing of what it holds."""


class Given(NamedTuple):
    """One record of a file."""

    value: bytes
    """As given; a row of CSV as the JSON object that it stands for."""
    fault: str | None = None
    """Why it is no record at all: then it is malformed, and `value` is what stood there."""
    stands: bool = False
    """It is a record that the ledger has already, at a place of its own."""


class Content:
    """What an open file holds, unpacked. `read` tells how many of its `size` bytes on disk were read this time.

    :raises UnreadableFileError: here already, when a packed file is cut off or damaged: it is not taken in part.
    """

    def __init__(self, file: IO[bytes], *, opened_at: datetime, watch: Watch = lambda _read, _size: None) -> None:
        self.opened_at = opened_at
        self.read = 0
        self.descriptor = file.fileno()
        self._watch = watch
        self._stamp = self._stamp_now()
        self.size = self._stamp[0]
        content, self.unpacked_size = sha256(), 0
        with _read_through():
            stream = unpacked(self.descriptor)
            while chunk := stream.read(_CHUNK):
                content.update(chunk)
                self.unpacked_size += len(chunk)
                self.tell()
        self.sha256 = content.hexdigest()
        begins = unpacked(self.descriptor).read(len(_BYTE_ORDER_MARK))
        self._begin = len(_BYTE_ORDER_MARK) if begins == _BYTE_ORDER_MARK else 0

    def head(self) -> bytes:
        """Its beginning: enough to tell what it is."""
        return self._stream().read(_HEAD)

    def whole(self) -> bytes:
        return self._stream().read()

    def lines(self) -> Iterator[bytes]:
        """Its lines from the first on, ends included, one at a time.

        :raises UnreadableFileError: when one is too long for the memory that a load may take.
        """
        stream = self._stream()
        with _read_through():
            for number in count(1):
                line = stream.readline(LONGEST_LINE + 1)
                if len(line) > LONGEST_LINE:
                    raise UnreadableFileError(f"line {number} is longer than {LONGEST_LINE} bytes")
                if number % _TELL_EVERY == 0 or not line:
                    self.tell()
                if not line:
                    return
                yield line

    def check_unchanged(self) -> None:
        """Nothing, if the file is still the one that was hashed.

        :raises UnreadableFileError: otherwise: what comes next would be stored under the name of another content.
        """
        if self._stamp_now() != self._stamp:
            raise UnreadableFileError("it changed while it was read; load it again when it is complete")

    def _stream(self) -> BufferedReader:
        stream = unpacked(self.descriptor)
        stream.read(self._begin)
        return stream

    def tell(self) -> None:
        self.read = os.lseek(self.descriptor, 0, os.SEEK_CUR)
        self._watch(self.read, self.size)

    def _stamp_now(self) -> tuple[int, int]:
        standing = os.fstat(self.descriptor)
        return standing.st_size, standing.st_mtime_ns


@contextmanager
def _read_through() -> Iterator[None]:
    try:
        yield
    except BROKEN:
        raise UnreadableFileError("a packed file that is cut off or damaged") from None


def copy_into(
    copy: IO[bytes], chunks: Iterable[bytes], *, watch: Callable[[int], None] = lambda _written: None
) -> None:
    """Write all of it: on a disk that fills, a file takes less than it is given, and says no more than how much.

    :param watch: is told how many bytes are written by now.
    :raises UnreadableFileError: when there is no room for it.
    """
    for chunk in chunks:
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[copy.write(rest) :]
        except OSError as error:
            raise UnreadableFileError(
                f"it cannot be copied to the temporary folder {gettempdir()} (TMPDIR names another): {error.strerror}"
            ) from None
        watch(copy.tell())


@contextmanager
def opened(path: Path, *, watch: Watch = lambda _read, _size: None) -> Iterator[Content]:
    """The content of the file, or of a pipe, which is copied to a nameless file on disk first.

    :raises UnreadableFileError: when it cannot be opened or read.
    """
    opened_at = datetime.now(UTC)
    try:
        with path.open("rb", buffering=0) as file:
            if file.seekable():
                yield Content(file, opened_at=opened_at, watch=watch)
                return
            with TemporaryFile(buffering=0) as copy:
                copy_into(copy, iter(partial(file.read, _CHUNK), b""))
                yield Content(copy, opened_at=opened_at, watch=watch)
    except OSError as error:
        raise UnreadableFileError(error.strerror or type(error).__name__) from None
