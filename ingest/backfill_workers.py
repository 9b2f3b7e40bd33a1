"""Several processes, a file each at a time: judging takes a core, and a run may have more than one."""

import asyncio
import multiprocessing as mp
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue

from ingest.backfill import DONE, Step
from ingest.backfill_run import Manner, Report, backfill
from ingest.logs import set_up_logs
from ingest.settings import Settings, SettingsError
from ingest.zip_zones import zones_of
from sinks.errors import OperatorError, SinkError

_LOOK_EVERY_S = 0.2


async def backfill_in_processes(
    files: list[str],
    settings: Settings,
    *,
    workers: int,
    manner: Manner,
    stop: asyncio.Event,
    tell: Callable[[Step], None],
) -> Report:
    """As `ingest.backfill_run.backfill`, with so many processes; what ends one of them ends all."""
    context = mp.get_context("spawn")
    queue = context.Queue()
    for file in [*files, *[None] * workers]:
        queue.put(file)
    working: dict[Connection, SpawnProcess] = {}
    for _ in range(workers):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(queue, theirs, settings, manner), daemon=True)
        process.start()
        theirs.close()
        working[ours] = process
    report = Report()
    told_to_stop = False
    while working:
        if (stop.is_set() or report.ended_by is not None) and not told_to_stop:
            told_to_stop = True
            for process in working.values():
                process.terminate()  # SIGTERM: the batch in hand is finished
        for connection in await asyncio.to_thread(wait, list(working), _LOOK_EVERY_S):
            assert isinstance(connection, Connection)
            try:
                said = connection.recv()
            except EOFError:
                process = working.pop(connection)
                await asyncio.to_thread(process.join)
                if process.exitcode and not told_to_stop:
                    report.ended_by = OperatorError(f"a worker ended with {process.exitcode}; run the same again")
                continue
            if isinstance(said, Step):
                tell(said)
            else:
                report.outcomes += said.outcomes
                report.ended_by = report.ended_by or said.ended_by
    queue.cancel_join_thread()
    report.outcomes.sort(key=lambda outcome: files.index(outcome.file))
    return report


def _work(queue: "Queue[str | None]", results: Connection, settings: Settings, manner: Manner) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the first process says what it means
    set_up_logs(settings.log_format, settings.log_level)

    async def run() -> Report:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        zones = zones_of(settings.uszipcode_database)
        return await backfill(iter(queue.get, None), settings, zones, manner=manner, stop=stop, tell=_Teller(results))

    try:
        try:
            report = asyncio.run(run())
        except (SettingsError, SinkError) as error:
            report = Report(ended_by=error)
        results.send(report)
    except BrokenPipeError:
        os._exit(1)  # nobody is there any more to be told


class _Teller:
    """Tells the first process, from whatever thread; how far a file is read only now and then."""

    def __init__(self, results: Connection) -> None:
        self._results, self._lock, self._told_at = results, threading.Lock(), 0.0

    def __call__(self, step: Step) -> None:
        with self._lock:
            if step.change is None and step.doing != DONE and time.monotonic() - self._told_at < _LOOK_EVERY_S:
                return
            self._told_at = time.monotonic()
            self._results.send(step)
