"""How a file is packed, told by its first bytes: not at all, gzip, or Zstandard."""

import gzip
import io
import sys
import zlib
from typing import Final

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP: Final = b"\x1f\x8b"
ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"
BROKEN: Final = (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError)
"""What reading raises where a packed file is cut off or damaged."""
_BUFFER: Final = 262_144


def unpacked(descriptor: int) -> io.BufferedReader:
    """What an open file holds, from the beginning on; several packed parts follow each other. Closing it does not."""
    file = io.FileIO(descriptor, closefd=False)
    file.seek(0)
    head = file.read(len(ZSTANDARD))
    file.seek(0)
    if head.startswith(GZIP):
        return io.BufferedReader(gzip.GzipFile(fileobj=file, mode="rb"), _BUFFER)
    if head == ZSTANDARD:
        return io.BufferedReader(zstd.ZstdFile(file, mode="rb"), _BUFFER)
    return io.BufferedReader(file, _BUFFER)
