"""What is told of one record: its fate, the steps that led there, and the registry records behind them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from schemas.judgement import Entry, Judgement
from schemas.reasons import Reason
from schemas.record import Place
from schemas.states import State
from schemas.wire import EARLIEST_INSTANT
from sinks.ledger import Gap
from sinks.whereabouts import Position


class By(NamedTuple):
    """The registry record that says it, and from when on that counts."""

    place: Place
    effective_at: datetime
    recorded_at: datetime


class Step(NamedTuple):
    """What one rule found."""

    rule: int | None
    """None where no rule of the law was asked."""
    says: str
    by: By | None = None


class Fate(StrEnum):
    """What became of a record."""

    READING = "reading"
    REJECTION = "rejection"
    STATE = "state"
    GAP = "gap"
    NOT_TAKEN = "not_taken"
    BEFORE_THE_FIRST = "before_the_first"
    CARRIER = "carrier"
    """It carried a record of an archive through the backfill topic, which stands at its own place."""
    DROPPED = "dropped"
    """It stands nowhere, in a partition of which retention dropped rows or an archive repeated records."""
    MISSING = "missing"
    """It stands nowhere, and nothing is counted that could have been it: conservation does not hold."""


class Rival(NamedTuple):
    """One of those with the same natural key, in the order of rule 9."""

    place: Place
    received_at: datetime | None
    became: str
    """`reading`, or the reason that it is set aside for."""


@dataclass(frozen=True, slots=True)
class Explanation:
    place: Place
    position: Position
    fate: Fate
    entry: Entry[Judgement] | None = None
    """The line of the ledger as it stands, of a reading or a rejection."""
    steps: list[Step] = field(default_factory=list)
    rivals: list[Rival] = field(default_factory=list)
    """The first is the reading, itself included."""
    should_be: Reason | None = None
    """What the rules come to now; None is a reading. It is what stands, unless `differs`."""
    differs: bool = False
    """What stands is not what the rules come to: corrections are pending, or the store is damaged."""
    pending: int = 0
    """Corrections that are not worked off yet."""
    state: State | None = None
    gap: Gap | None = None


def said(moment: datetime) -> str:
    """RFC 3339 in UTC; the earliest is "always"."""
    return "always" if moment == EARLIEST_INSTANT else moment.isoformat().replace("+00:00", "Z")
