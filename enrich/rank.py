"""The law, rule 9: of all accepted readings with one natural key the first received is the reading."""

from collections.abc import Iterable
from datetime import datetime

from schemas.judgement import Accepted, Entry, ReadingKey, Rejected
from schemas.reading import Reading, canonical_envelope
from schemas.reasons import Reason
from schemas.record import Place
from schemas.wire import EARLIEST_INSTANT


def rank(entry: Entry[Accepted]) -> tuple[bool, datetime, Place]:
    """First received first, unknown last, then by place."""
    return (entry.received_at is None, entry.received_at or EARLIEST_INSTANT, entry.place)


def ranked_by_key(entries: Iterable[Entry[Accepted]]) -> dict[ReadingKey, list[Entry[Accepted]]]:
    """The entries by natural key, the winner of each first."""
    by_key: dict[ReadingKey, list[Entry[Accepted]]] = {}
    for entry in entries:
        by_key.setdefault(entry.judgement.key, []).append(entry)
    for same in by_key.values():
        if len(same) > 1:
            same.sort(key=rank)
    return by_key


def reason_beside(winner: Reading, other: Reading) -> Reason:
    """Why `other` is set aside while `winner` is the reading."""
    return Reason.DUPLICATE if other.says_the_same_as(winner) else Reason.CONFLICTING_DUPLICATE


def set_aside(entry: Entry[Accepted], winner: Entry[Accepted]) -> Entry[Rejected]:
    """What becomes of an accepted reading that another one precedes."""
    accepted = entry.judgement
    rejected = Rejected(
        reason_beside(winner.judgement.reading, accepted.reading),
        None,
        accepted.reading.kind,
        accepted.reading,
        accepted.device_id,
        accepted.patient_id,
        accepted.customer_id,
        payload=canonical_envelope(accepted.reading),
    )
    return Entry(entry.place, entry.received_at, rejected)
