"""The real service, as a process: started, stopped and watched as an operator would."""

import asyncio
import os
import secrets
import signal
import sys
from contextlib import suppress
from pathlib import Path

from ingest.demo.embedded_broker import EmbeddedBroker
from tests.canaries import heard

ROOT = Path(__file__).parents[1]


def environment(url: str, broker: EmbeddedBroker, topics: dict[str, str], **settings: object) -> dict[str, str]:
    """The settings of a consumer in a group of its own; sessions are short, since nobody waits for the dead here."""
    ours = {
        "DATABASE_URL": url,
        "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap,
        "KAFKA_GROUP_ID": secrets.token_hex(4),
        "KAFKA_SESSION_TIMEOUT_S": "2",
        "BATCH_RECORDS": "200",
        **settings,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("READINGS_")}
    return {**inherited, **topics, **{f"READINGS_{name}": str(value) for name, value in ours.items()}}


class Process:
    """A command of ours, its output kept."""

    def __init__(self, *arguments: str, env: dict[str, str]) -> None:
        self._arguments, self._env = arguments, env

    async def __aenter__(self) -> "Process":
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, *self._arguments, env=self._env, cwd=ROOT, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self._output = asyncio.ensure_future(self.process.communicate())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.send(signal.SIGKILL)
        _, err = await self._output
        assert not (lines := heard(err.decode())), f"personal data in a log: {lines}"

    def send(self, number: signal.Signals) -> None:
        """A signal, if it runs. asyncio's own would look first whether it has ended, and so take its exit code away."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    async def ended(self) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        out, err = await self._output
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), err.decode()


def readings(*arguments: str, env: dict[str, str]) -> Process:
    return Process("-c", "from ingest.cli import main; main()", *arguments, env=env)
