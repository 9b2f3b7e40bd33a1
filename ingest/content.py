"""The content of a file: opened once, read twice, for the hash that names it and then for its records."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from io import BufferedReader
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import IO, Final, Self

from ingest.packing import BROKEN, unpacked

LONGEST_LINE: Final = 67_108_864
"""Bytes: as long as a record may be made to be by READINGS_MAX_RECORD_BYTES. Beyond it a file is not made of lines."""
_HEAD: Final = 65_536
_CHUNK: Final = 1_048_576
_BLOCK: Final = 262_144
"""Bytes of some hundred records: few enough to be still at hand when the next step comes to them."""
_MOST: Final = 1_000
"""Records: each may be an object of its own, however small."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

Watch = Callable[[int, int], None]
"""Is told, as a file is read, how many of its bytes as they lie on disk, and of how many. What it raises ends that."""


class UnreadableFileError(ValueError):
    """The file as a whole cannot be taken. The message says why in one line, and holds nothing of what it holds."""


class NoRecord(bytes):
    """What stands in a file where a record should; `fault` says why it is none."""

    fault: str

    def __new__(cls, value: bytes, fault: str) -> Self:
        self = super().__new__(cls, value)
        self.fault = fault
        return self


def in_blocks(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Some at a time, as many as are read of a file at once."""
    block, size = list[bytes](), 0
    for record in records:
        block.append(record)
        size += len(record)
        if size >= _BLOCK or len(block) == _MOST:
            yield block
            block, size = [], 0
    if block:
        yield block


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

    def lines(self) -> Iterator[list[bytes]]:
        """Its lines from the first on, without their ends (LF), some at a time.

        :raises UnreadableFileError: when one is too long for the memory that a load may take.
        """
        stream, ended, begun, length = self._stream(), 0, list[bytes](), 0
        with _read_through():
            while chunk := stream.read(_BLOCK):
                first, *others = chunk.split(b"\n")
                begun.append(first)
                length += len(first)
                if length > LONGEST_LINE:  # those that begin and end within what is read at once are shorter
                    raise UnreadableFileError(f"line {ended + 1} is longer than {LONGEST_LINE} bytes")
                self.tell()
                if others:
                    lines = [b"".join(begun), *others]
                    begun = [lines.pop()]
                    ended, length = ended + len(lines), len(begun[0])
                    yield lines
        if length:
            yield [b"".join(begun)]

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
