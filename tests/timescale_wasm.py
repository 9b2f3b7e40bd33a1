"""TimescaleDB itself, compiled to WASM, from the packages that `tests/timescale/package-lock.json` names.

One session, whoever connects, so one connection at a time, and no COPY: `tests/test_timescale.py` inserts instead.
"""

import hashlib
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from ingest.demo.kept_server import HOST, KeptServer

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / "tests" / "timescale"
INSTALLED = ROOT / ".node-packages"
INSTALL_WITHIN_S = 240


class TimescaleMissingError(RuntimeError):
    """TimescaleDB cannot be had here; the text says what is missing."""


def installed() -> Path:
    """The folder with node_modules; installed once for each version of the lock file, and kept."""
    lock = PACKAGES / "package-lock.json"
    folder = INSTALLED / hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    if folder.is_dir():
        return folder
    INSTALLED.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=INSTALLED) as unfinished:
        whole = Path(unfinished) / "whole"
        whole.mkdir()
        for file in (lock, PACKAGES / "package.json"):
            shutil.copy(file, whole)
        command = [program("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(whole)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_WITHIN_S, check=False)
        except subprocess.TimeoutExpired:
            raise TimescaleMissingError(f"lacks an answer of npm's registry within {INSTALL_WITHIN_S} s") from None
        if done.returncode != 0:
            faults = [line for line in done.stderr.splitlines() if "error" in line] or ["npm failed"]
            raise TimescaleMissingError(f"lacks packages that npm's registry did not give: {faults[0]}")
        if not folder.is_dir():  # another session may have been first
            whole.rename(folder)
    return folder


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise TimescaleMissingError(f"lacks the program {name} (on Debian: nodejs, npm)")
    return found


class Timescale(KeptServer):
    """A database in memory, gone when the server stops; the extension's own schema is `timescaledb`."""

    name = "timescale"
    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        super().__init__(start_timeout_s=60.0)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{HOST}:{self.port}/postgres"

    def _command(self, folder: Path) -> list[str]:
        return [program("node"), str(PACKAGES / "server.mjs"), str(self.port), str(installed())]

    def _is_ready(self, folder: Path) -> bool:
        return "ready" in self._log_of_this_start()
