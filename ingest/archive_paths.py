"""The files that an operator means: named, matched, or all of a folder."""

from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path


def files_of(paths: Iterable[str]) -> list[Path]:
    """The files, each once, in the order given; those of a folder or a pattern by name.

    A name that matches nothing stays as it is: to open it tells that it is not there.
    """
    return list(dict.fromkeys(path for given in paths for path in _files(given)))


def _files(given: str) -> Iterator[Path]:
    pattern = has_magic(given) and not Path(given).exists()
    matched = sorted(glob(given, recursive=True)) if pattern else [given]  # noqa: PTH207 - its pattern may be absolute
    for name in matched or [given]:
        path = Path(name)
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file, within=path))
        else:
            yield path


def _hidden(file: Path, *, within: Path) -> bool:
    """Whether it is no data: `.DS_Store`, `_SUCCESS` and what lies in `.git`."""
    return any(part.startswith((".", "_")) for part in file.relative_to(within).parts)
