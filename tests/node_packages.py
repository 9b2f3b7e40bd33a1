"""Servers for tests that run on Node: installed once from a lock file, and kept."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

INSTALLED = Path(__file__).parents[1] / ".node-packages"
INSTALL_WITHIN_S = 300


class NodeMissingError(RuntimeError):
    """A server that runs on Node cannot be had here; the text says what is missing."""


def installed(packages: Path) -> Path:
    """A folder with the node_modules of the lock file in `packages`; installed once for each version of it."""
    lock = packages / "package-lock.json"
    folder = INSTALLED / hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    if folder.is_dir():
        return folder
    INSTALLED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=INSTALLED) as unfinished:
        whole = Path(unfinished) / "whole"
        whole.mkdir()
        for file in (lock, packages / "package.json"):
            shutil.copy(file, whole)
        command = [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(whole)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_WITHIN_S, check=False)
        except subprocess.TimeoutExpired:
            raise NodeMissingError(f"lacks an answer of npm's registry within {INSTALL_WITHIN_S} s") from None
        if done.returncode != 0:
            faults = [line for line in done.stderr.splitlines() if "error" in line] or ["npm failed"]
            raise NodeMissingError(f"lacks packages that npm's registry did not give: {faults[0]}")
        if not folder.is_dir():  # another session may have been first
            whole.rename(folder)
    return folder


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NodeMissingError(f"lacks the program {name} (on Debian: nodejs, npm)")
    return found
