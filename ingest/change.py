"""What a transaction did to the ledger, counted by what became of the records."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from schemas.judgement import Accepted, Entry, Judgement

READING: Final = "reading"
STATE: Final = "state"


class Change(NamedTuple):
    """Lines by fate: `reading`, `state`, or a rejection's reason. Added less removed is what stands."""

    added: Counter[str]
    removed: Counter[str]


def fates(entries: Iterable[Entry[Judgement]]) -> Counter[str]:
    """How many of them are readings, and how many are set aside for each reason."""
    return Counter(
        [READING if isinstance(entry.judgement, Accepted) else str(entry.judgement.reason) for entry in entries]
    )
