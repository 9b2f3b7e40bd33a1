"""What tests stand on that pip does not bring: fetched once for each version of the file that names it, and kept."""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

_ON_DEBIAN: Final = {"java": "default-jre-headless", "mvn": "maven", "node": "nodejs", "npm": "npm"}


class MissingError(RuntimeError):
    """A server cannot be had here; the text says what is missing."""


def fetched_once(
    named_in: Path, kept: Path, command: Callable[[Path], list[str]], *, registry: str, within_s: float
) -> Path:
    """The folder under `kept` with what a file names.

    :param command: given a folder that is not there yet, how to fetch it into that folder; asked only the first time.
    """
    folder = kept / hashlib.sha256(named_in.read_bytes()).hexdigest()[:12]
    if folder.is_dir():
        return folder
    kept.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept) as unfinished:
        whole = Path(unfinished) / "whole"
        try:
            done = subprocess.run(command(whole), capture_output=True, text=True, timeout=within_s, check=False)
        except subprocess.TimeoutExpired:
            raise MissingError(f"lacks an answer of {registry} within {within_s} s") from None
        if done.returncode != 0:
            told = (done.stdout + done.stderr).splitlines()
            faults = [line for line in told if "error" in line.lower()] or [f"exit code {done.returncode}"]
            raise MissingError(f"lacks what {registry} did not give: {faults[0]}")
        if not folder.is_dir():  # another session may have been first
            whole.rename(folder)
    return folder


def program(name: str) -> str:
    """Where a program is that the system brings."""
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"lacks the program {name} (on Debian: {_ON_DEBIAN[name]})")
    return found
