"""TimescaleDB itself, compiled to WASM, from the packages that `tests/timescale/package-lock.json` names.

One session, whoever connects, so one connection at a time, and no COPY: `tests/test_timescale.py` inserts instead.
"""

import signal
from pathlib import Path

from ingest.demo.kept_server import HOST, KeptServer
from tests.fetched import program
from tests.node_packages import installed

PACKAGES = Path(__file__).parent / "timescale"


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
        return [program("node"), str(PACKAGES / "server.mjs"), str(self.port), str(installed(PACKAGES))]

    def _is_ready(self, folder: Path) -> bool:
        return "ready" in self._log_of_this_start()
