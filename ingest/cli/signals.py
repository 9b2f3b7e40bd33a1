"""How a command is told to stop."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Final

INTERRUPTED: Final = 130


def stop_on_signals(stop: asyncio.Event) -> Callable[[], int]:
    """The first SIGTERM or SIGINT asks to stop, the second ends at once; gives the exit code that is due."""
    received: list[signal.Signals] = []

    def on(number: signal.Signals) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on, number)
    return lambda: INTERRUPTED if signal.SIGINT in received else 0
