"""The files that an operator means: named, matched, or all of a folder, on disk or in object storage."""

from collections.abc import Iterable
from glob import glob, has_magic
from pathlib import Path

from ingest.content import UnreadableFileError
from ingest.object_storage import is_remote, objects_of


def files_of(paths: Iterable[str]) -> list[str]:
    """The files, each once, in the order given; those of a folder or a pattern by name.

    A name that matches nothing stays as it is: to open it tells what is wrong with it.
    """
    return list(dict.fromkeys(file for given in paths for file in (_objects(given) or _files(given))))


def _objects(given: str) -> list[str]:
    if not is_remote(given):
        return []
    try:
        return objects_of(given) or [given]
    except UnreadableFileError:
        return [given]


def _files(given: str) -> list[str]:
    pattern = has_magic(given) and not Path(given).exists()
    matched = sorted(glob(given, recursive=True)) if pattern else []  # noqa: PTH207 - its pattern may be absolute
    return [file for name in matched or [given] for file in (_in_folder(Path(name)) if Path(name).is_dir() else [name])]


def _in_folder(folder: Path) -> list[str]:
    """All that is data: not `.DS_Store`, not `_SUCCESS`, nothing in `.git`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [str(path) for path in files if not any(part[0] in "._" for part in path.relative_to(folder).parts)]
