"""What a check looked at and what it found."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

FIRST: Final = 20
"""How many differences of one check are told; the rest is counted."""


class Difference(NamedTuple):
    where: str
    """A place (source, partition, offset), a partition, or what else the check is about."""
    column: str | None
    says: str
    """What stands there and what should; never a payload, a zip code, or a measure."""


@dataclass(slots=True)
class Check:
    """One promise, held against what is stored."""

    name: str
    promise: str
    unit: str
    """What it looks at, in the plural."""
    looked_at: int = 0
    differ: int = 0
    first: list[Difference] = field(default_factory=list)

    def found(self, where: str, column: str | None, says: str, *, counting: int = 1) -> None:
        """Note a difference."""
        self.differ += counting
        if len(self.first) < FIRST:
            self.first.append(Difference(where, column, says))
