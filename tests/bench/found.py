"""What a benchmark found: tables of figures, and whether the targets hold."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

Row = dict[str, Any]
"""Column to figure, in order; None: it could not be measured here."""


@dataclass(frozen=True)
class Target:
    what: str
    measured: float
    limit: float
    at_most: bool = True
    """The limit is the greatest that is allowed; else the least."""

    @property
    def met(self) -> bool:
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit

    def __str__(self) -> str:
        bound = "at most" if self.at_most else "at least"
        return (
            f"{'met   ' if self.met else 'MISSED'}  {self.what}: {_shown(self.measured)}, {bound} {_shown(self.limit)}"
        )


@dataclass
class Found:
    tables: dict[str, list[Row]] = field(default_factory=dict)
    """By title."""
    targets: list[Target] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n\n".join(
            [*(f"{title}\n{_table(rows)}" for title, rows in self.tables.items()), "\n".join(map(str, self.targets))]
        ).rstrip()

    def as_json(self) -> dict[str, Any]:
        return {"tables": self.tables, "targets": [{**asdict(one), "met": one.met} for one in self.targets]}


def medians(rows: Iterable[Row]) -> Row:
    """Column by column, of several runs; what is no number is as in the first of them."""
    rows = list(rows)
    return {name: _median([row[name] for row in rows]) for name in rows[0]}


def ratio(ours: float | None, bare: float | None) -> float | None:
    return None if ours is None or not bare else round(ours / bare, 2)


def saved(found: Mapping[str, Any], path: str) -> None:
    Path(path).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _median(values: Sequence[Any]) -> Any:
    return median(values) if all(isinstance(value, int | float) for value in values) else values[0]


def _table(rows: Sequence[Row]) -> str:
    lines = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    words = [isinstance(value, str) for value in rows[0].values()]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(line, widths, words, strict=True)
        ).rstrip()
        for line in lines
    )


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
