"""How far a backfill is, on stderr: bars on a terminal, a line now and then elsewhere."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ingest.backfill import DONE, STORING, Step
from ingest.change import READING

_TELL_EVERY_S: Final = 5.0
_REASONS: Final = 3


class Tally:
    """What the steps told by now come to."""

    def __init__(self, files: list[str], *, publishing: bool) -> None:
        self.files, self.done = len(files), 0
        self.sizes = {file: Path(file).stat().st_size for file in files if Path(file).is_file()}
        self.read: dict[str, int] = {}
        self.records = 0
        self.publishing = publishing
        self.became = Counter[str]()
        self._began: float | None = None

    def add(self, step: Step) -> None:
        if step.doing == DONE:
            self.done += 1
            self.read[step.file] = self.sizes.get(step.file, 0)
        elif step.doing == STORING:
            self._began = self._began or monotonic()
            self.sizes[step.file] = step.size
            self.read[step.file] = step.read
        if step.change is not None:
            self.records += step.records
            self.became.update(step.change.added)
            self.became.subtract(step.change.removed)

    @property
    def rate(self) -> float:
        """Records a second since the first was stored."""
        return 0.0 if self._began is None else self.records / max(monotonic() - self._began, 0.001)

    @property
    def share(self) -> float:
        """Of the bytes of all files that are known of."""
        return sum(self.read.values()) / max(sum(self.sizes.values()), 1)

    @property
    def left_s(self) -> float | None:
        if self._began is None or not self.records or self.share <= 0:
            return None
        return (monotonic() - self._began) * (1 - self.share) / self.share

    @property
    def counts(self) -> str:
        if self.publishing:
            return f"{self.records:,} published"
        refused = Counter({fate: lines for fate, lines in self.became.items() if fate != READING and lines > 0})
        most = ", ".join(f"{reason} {lines:,}" for reason, lines in refused.most_common(_REASONS))
        said = f"{self.became[READING]:,} readings, {refused.total():,} set aside"
        return said + (f" ({most}{', …' if len(refused) > _REASONS else ''})" if most else "")

    @property
    def line(self) -> str:
        left = "" if self.left_s is None else f", {self.left_s:.0f} s left"
        return f"{self.done} of {self.files} files, {self.share:.0%}: {self.counts}, {self.rate:,.0f} records/s{left}"


@contextmanager
def shown(files: list[str], *, publishing: bool = False) -> Iterator[Callable[[Step], None]]:
    """Inside, what is told is shown.

    :param publishing: records are published, and what becomes of them is not known here.
    """
    tally = Tally(files, publishing=publishing)
    if not sys.stderr.isatty():
        told_at = monotonic()

        def tell_in_lines(step: Step) -> None:
            nonlocal told_at
            tally.add(step)
            if monotonic() - told_at >= _TELL_EVERY_S:
                told_at = monotonic()
                doing = "" if step.doing in (DONE, STORING) else f"; {step.doing} {step.file}"
                typer.echo(f"backfill: {tally.line}{doing}", err=True)

        yield tell_in_lines
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        overall = bars.add_task("", total=1)
        tasks: dict[str, TaskID] = {}

        def tell_in_bars(step: Step) -> None:
            tally.add(step)
            if step.doing == DONE:
                if step.file in tasks:
                    bars.remove_task(tasks.pop(step.file))
            else:
                if step.file not in tasks:
                    tasks[step.file] = bars.add_task("", total=None)
                doing = "publishing" if publishing and step.doing == STORING else step.doing
                description = f"  {doing} {Path(step.file).name}"
                bars.update(tasks[step.file], description=description, completed=step.read, total=step.size)
            said = f"{tally.done} of {tally.files} files  {tally.counts}  {tally.rate:,.0f} records/s"
            bars.update(overall, description=said, completed=tally.share)

        yield tell_in_bars
