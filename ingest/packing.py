"""How a file is packed, told by its first bytes: not at all, gzip, or Zstandard."""

import io
import sys
from typing import Final, cast

from isal import igzip
from isal.igzip_lib import IsalError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP: Final = b"\x1f\x8b"
ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"
_ISAL: Final = cast("type[Exception]", IsalError)  # its stub takes it for an instance
BROKEN: Final = (EOFError, igzip.BadGzipFile, _ISAL, zstd.ZstdError)
"""What reading raises where a packed file is cut off or damaged."""
_BUFFER: Final = 262_144


def unpacked(descriptor: int) -> io.BufferedReader:
    """What an open file holds, from the beginning on; several packed parts follow each other. Closing it does not."""
    file = io.FileIO(descriptor, closefd=False)
    file.seek(0)
    head = file.read(len(ZSTANDARD))
    file.seek(0)
    if head.startswith(GZIP):
        # For a third of what Python's own takes: an archive is unpacked twice, to hash it and to read it.
        unzipped = igzip.IGzipFile(fileobj=file, mode="rb")  # type: ignore[no-untyped-call]  # the package annotates it not
        return io.BufferedReader(unzipped, _BUFFER)
    if head == ZSTANDARD:
        return io.BufferedReader(zstd.ZstdFile(file, mode="rb"), _BUFFER)
    return io.BufferedReader(file, _BUFFER)
