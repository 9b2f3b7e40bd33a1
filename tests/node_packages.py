"""Servers for tests that run on Node: installed once from a lock file, and kept."""

import shutil
from pathlib import Path

from tests.fetched import fetched_once, program

INSTALLED = Path(__file__).parents[1] / ".node-packages"
INSTALL_WITHIN_S = 300


def installed(packages: Path) -> Path:
    """A folder with the node_modules of the lock file in `packages`; installed once for each version of it."""
    lock = packages / "package-lock.json"

    def install(folder: Path) -> list[str]:
        folder.mkdir()
        for file in (lock, packages / "package.json"):
            shutil.copy(file, folder)
        return [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]

    return fetched_once(lock, INSTALLED, install, registry="npm's registry", within_s=INSTALL_WITHIN_S)
