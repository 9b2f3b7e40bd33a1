"""Archives in object storage: `s3://`, `gs://`, `az://`; needs the extra `cloud`.

Credentials are looked for where the clouds' own clients look for them: the environment, and the machine's role.
An object is copied to a nameless file on disk first: it crosses the network once, and cannot change while it is read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from glob import has_magic
from tempfile import TemporaryFile
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from ingest.content import Content, UnreadableFileError, Watch, copy_into

SCHEMES: Final = ("s3://", "gs://", "az://", "file://")
_CHUNK: Final = 8_388_608


class Object(NamedTuple):
    store: Any
    root: str
    """The URL of the store."""
    key: str


def is_remote(name: str) -> bool:
    return name.startswith(SCHEMES)


def objects_of(url: str) -> list[str]:
    """The object by that URL, those that its pattern matches (a `*` goes across `/`), or all that lie below it.

    :raises UnreadableFileError: when the storage cannot be asked.
    """
    with _understood():
        store, root, key = _object(url)
        if has_magic(key):
            begin = key[: min(key.index(one) for one in "*?[" if one in key)].rpartition("/")[0]
            return [root + one for one in _below(store, begin) if fnmatchcase(one, key)]
        below = _below(store, key.rstrip("/"))
        return [root + one for one in below] or [url]


@contextmanager
def copied(url: str, *, watch: Watch = lambda _read, _size: None) -> Iterator[Content]:
    """The content of an object.

    :raises UnreadableFileError: when it cannot be had.
    """
    opened_at = datetime.now(UTC)
    with TemporaryFile(buffering=0) as copy:
        with _understood():
            import obstore  # noqa: PLC0415 - an extra

            store, _, key = _object(url)
            got = obstore.get(store, key)
            size = got.meta["size"]
            copy_into(copy, got.stream(min_chunk_size=_CHUNK), watch=lambda written: watch(written, size))
        yield Content(copy, opened_at=opened_at, watch=watch)


def _below(store: Any, prefix: str) -> list[str]:
    import obstore  # noqa: PLC0415 - an extra

    return sorted(found["path"] for page in obstore.list(store, prefix=prefix or None) for found in page)


def _object(url: str) -> Object:
    from obstore.store import from_url  # noqa: PLC0415 - an extra

    parts = urlsplit(url, allow_fragments=False)
    root = f"{parts.scheme}://{parts.netloc}/"
    return Object(from_url(root), root, unquote(parts.path).lstrip("/"))


@contextmanager
def _understood() -> Iterator[None]:
    """Inside, whatever the storage answers but what was asked for becomes one line; its own words hold URLs and ids."""
    try:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra
    except ImportError:
        raise UnreadableFileError("object storage, which needs: pip install 'device-readings[cloud]'") from None
    try:
        yield
    except UnreadableFileError:
        raise
    except FileNotFoundError:
        raise UnreadableFileError("No such object") from None
    except (BaseError, OSError, ValueError) as error:
        raise UnreadableFileError(f"the object storage does not give it ({type(error).__name__})") from None
