"""Keeps one server: starts it, passes signals on to it, and ends it when whoever asked for it is gone.

Run as a script, of the standard library alone: `python -I -S keeper.py '{"command": [...], …}'`. The server's process
id goes to stdout. Each line on stdin is the number of a signal for the server. The end of stdin means that the process
at its other end has died, in whatever way: the server is stopped, and the temporary folder, if any, removed.

Why a process and not PR_SET_PDEATHSIG in the server alone: that signal comes when the *thread* that started the child
ends, so a server started by `asyncio.to_thread` would die with its pool. The keeper starts the server from its only
lasting thread, so there PR_SET_PDEATHSIG is right, and covers the death of the keeper itself (on Linux).
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

_PR_SET_PDEATHSIG: Final = 1


def _dies_with_the_keeper(stop_signal: int) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    keeper = os.getpid()

    def in_the_child() -> None:
        # Runs after the change of user, which would have cleared the request.
        libc.prctl(_PR_SET_PDEATHSIG, stop_signal, 0, 0, 0)
        if os.getppid() != keeper:
            os._exit(1)

    return in_the_child


def keep(wish: dict[str, Any]) -> None:
    account: dict[str, Any] = {}
    if wish["uid"] is not None:
        account = {"user": wish["uid"], "group": wish["gid"], "extra_groups": []}
    log = sys.stderr.fileno()
    try:
        server = subprocess.Popen(  # noqa: S603 - the command comes from our own parent
            wish["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=wish["folder"],
            env=wish["env"],
            preexec_fn=_dies_with_the_keeper(wish["stop_signal"]),  # noqa: PLW1509 - no other thread is running yet
            **account,
        )
    except OSError as error:
        print(f"{wish['command'][0]} could not be started: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(127)
    print(server.pid, flush=True)  # noqa: T201 - what the parent reads

    left_alone = threading.Event()

    def follow_the_server_out() -> None:
        status = server.wait()
        if left_alone.is_set() and wish["temporary_folder"]:
            shutil.rmtree(wish["temporary_folder"], ignore_errors=True)
        os._exit(status if status >= 0 else 128 - status)

    farewell = threading.Thread(target=follow_the_server_out, daemon=True)
    farewell.start()
    for line in sys.stdin:
        server.send_signal(int(line))

    left_alone.set()
    server.send_signal(wish["stop_signal"])
    farewell.join(wish["stop_timeout_s"])
    server.send_signal(signal.SIGKILL)
    farewell.join()


if __name__ == "__main__":
    keep(json.loads(sys.argv[1]))
