"""How far a long command is, on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_TELL_EVERY_S: Final = 5.0


@contextmanager
def progress(doing: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """What is to be told how much is done, and of how much: `dropped: 5 of 9 rows`."""
    if not sys.stderr.isatty():
        told_at = monotonic()

        def tell_in_lines(done: int, of: int) -> None:
            nonlocal told_at
            if monotonic() - told_at >= _TELL_EVERY_S:
                told_at = monotonic()
                typer.echo(f"{doing}: {done} of {of} {unit}", err=True)

        yield tell_in_lines
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
