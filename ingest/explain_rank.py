"""Rule 9 of one record: those that have its natural key, in their order, and what that makes of it."""

from collections.abc import Iterable

from enrich.rank import rank, set_aside
from ingest.explanation import Step, said
from schemas.judgement import Accepted, Entry, Judgement, Rejected
from schemas.reasons import Reason
from schemas.record import Place


def ranked_with(entry: Entry[Accepted], competing: Iterable[Entry[Judgement]]) -> list[Entry[Accepted]]:
    """Those with the same natural key, the first received first."""
    others = [as_accepted(line) for line in competing if line.place != entry.place]
    return sorted([entry, *others], key=rank)


def as_accepted(line: Entry[Judgement]) -> Entry[Accepted]:
    """A line as it was before rule 9."""
    match line.judgement:
        case Accepted() as accepted:
            pass
        case Rejected(reading=reading, device_id=device_id, patient_id=patient_id, customer_id=customer_id):
            assert reading is not None, "what rule 9 set aside keeps its canonical envelope"
            accepted = Accepted(reading, device_id, patient_id, customer_id, None, None)
    return Entry(line.place, line.received_at, accepted)


def by_rule_9(place: Place, ranked: list[Entry[Accepted]]) -> Entry[Judgement]:
    """What becomes of the one at `place`."""
    winner = ranked[0]
    mine = next(entry for entry in ranked if entry.place == place)
    due: Entry[Accepted] | Entry[Rejected] = mine if mine is winner else set_aside(mine, winner)
    return Entry(place, due.received_at, due.judgement)


def rule_9(place: Place, ranked: list[Entry[Accepted]]) -> Step:
    """The same in words."""
    key = ranked[0].judgement.key
    whose = f"device {key.subject}" if key.subject > 0 else f"patient {-key.subject}"
    of = f"of {whose}, {key.kind} and {said(key.reading_timestamp)}"
    if len(ranked) == 1:
        return Step(9, f"It is the only one {of}.")
    number = [entry.place for entry in ranked].index(place) + 1
    if number == 1:
        return Step(9, f"Of {len(ranked)} {of} it is the first received: it is the reading.")
    same = set_aside(ranked[number - 1], ranked[0]).judgement.reason is Reason.DUPLICATE
    first = f"{' '.join(map(str, ranked[0].place))} came first, and says {'the same' if same else 'otherwise'}"
    return Step(9, f"Of {len(ranked)} {of} it is number {number}: {first}.")
