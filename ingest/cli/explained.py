"""An explanation in words, for an auditor, and as JSON, for a program."""

from datetime import datetime
from typing import Any, Final

from ingest.explanation import Explanation, Fate, Step, said
from schemas.judgement import Entry, Judgement, Rejected
from schemas.record import Place
from sinks.carried import AWAITED
from sinks.ledger import FILTERED

_PLAINLY: Final = {
    Fate.READING: "a reading",
    Fate.CARRIER: "taken: it carried a record of an archive, told by its headers, which stands at its own place",
    Fate.MISSING: "taken, and it stands nowhere: this must not be; run: readings verify",
}
_GAPS: Final = {
    FILTERED: "left out by --since or --until, and still to be had",
    AWAITED: "passed over by others that came through the backfill topic, and still to be had",
}


def explanation_in_words(found: Explanation) -> list[str]:
    """What became of it, then a line a finding."""
    lines = [f"{_where(found.place)}: {_became(found)}"]
    if found.entry is not None:
        lines.append(_received(found.entry))
    lines += [_step_in_words(step) for step in found.steps]
    if len(found.rivals) > 1:
        lines += [
            f"  {number}. {_where(rival.place)}, received {_at(rival.received_at)}: {rival.became}"
            for number, rival in enumerate(found.rivals, 1)
        ]
    if found.differs:
        lines.append(f"By what is known now it should be {_due(found)}: {_why_it_differs(found)}.")
    return lines


def explanation_as_json(found: Explanation) -> dict[str, Any]:
    """The same for a program."""
    said_of_all: dict[str, Any] = {
        **found.place._asdict(),
        "became": found.fate,
        "in_words": _became(found),
        "first_offset": found.position.first_offset,
        "next_offset": found.position.next_offset,
    }
    if found.state is not None:
        return said_of_all | {
            "about": found.state.about,
            "id": found.state.subject_id,
            "counts_from": said(found.state.effective_at),
            "recorded_at": said(found.state.recorded_at),
            "fields": sorted(found.state.says),
        }
    if found.gap is not None:
        gap = {"first_offset": found.gap.first_offset, "next_offset": found.gap.next_offset, "kind": found.gap.kind}
        return said_of_all | {"gap": gap}
    if found.entry is None:
        return said_of_all
    judgement, reading = found.entry.judgement, found.entry.judgement.reading
    return said_of_all | {
        "reason": judgement.reason if isinstance(judgement, Rejected) else None,
        "detail": judgement.detail if isinstance(judgement, Rejected) else None,
        "received_at": None if found.entry.received_at is None else said(found.entry.received_at),
        "reading_timestamp": None if reading is None else said(reading.reading_timestamp),
        "reading_type": None if reading is None else reading.kind,
        "device_id": judgement.device_id,
        "patient_id": judgement.patient_id,
        "customer_id": judgement.customer_id,
        "steps": [_step_as_json(step) for step in found.steps],
        "same_key": [
            {**place._asdict(), "received_at": None if received_at is None else said(received_at), "became": became}
            for place, received_at, became in found.rivals
        ],
        "should_be": found.should_be or "reading",
        "differs": found.differs,
        "pending_corrections": found.pending,
    }


def _became(found: Explanation) -> str:
    position, gap, state = found.position, found.gap, found.state
    match found.fate:
        case Fate.READING | Fate.CARRIER | Fate.MISSING as fate:
            return _PLAINLY[fate]
        case Fate.REJECTION:
            assert found.entry is not None
            assert isinstance(found.entry.judgement, Rejected)
            reason = found.entry.judgement.reason
            return f"set aside as {reason}. {reason.sentence}"
        case Fate.STATE:
            assert state is not None
            told = f"a state of {state.about} {state.subject_id}, counting from {said(state.effective_at)}"
            return f"{told}, recorded {said(state.recorded_at)}; it says {', '.join(sorted(state.says)) or 'nothing'}"
        case Fate.GAP:
            assert gap is not None
            why = _GAPS.get(gap.kind, "never given to us")
            return f"{why}: it lies in a gap from {gap.first_offset} to {gap.next_offset - 1} ({gap.kind})"
        case Fate.NOT_TAKEN if position.next_offset is None:
            return "not taken yet: nobody has begun its partition"
        case Fate.NOT_TAKEN:
            beyond = ", if the archive goes so far" if found.place.in_archive else ""
            return f"not taken yet{beyond}: the next to take is {position.next_offset}"
        case Fate.BEFORE_THE_FIRST:
            return f"never asked for: the first that was there is {position.first_offset}"
        case Fate.CARRIER:
            return (
                "it carried a record of an archive, told by its headers archive and record, which stands at its place"
            )
        case Fate.DROPPED:
            counts = f"{position.expired} were dropped by retention and {position.repeated} were repeats"
            return f"taken, and it stands nowhere: of this partition {counts}"


def _received(entry: Entry[Judgement]) -> str:
    reading = entry.judgement.reading
    received = f"received {_at(entry.received_at)}"
    return received if reading is None else f"{received}, taken {said(reading.reading_timestamp)}, {reading.kind}"


def _step_in_words(step: Step) -> str:
    rule = f"rule {step.rule}" if step.rule else "      "
    if step.by is None:
        return f"  {rule}  {step.says}"
    counts = f"counting from {said(step.by.effective_at)}, recorded {said(step.by.recorded_at)}"
    return f"  {rule}  {step.says} By {_where(step.by.place)}, {counts}."


def _step_as_json(step: Step) -> dict[str, Any]:
    by = None
    if step.by is not None:
        counts_from, recorded_at = said(step.by.effective_at), said(step.by.recorded_at)
        by = {**step.by.place._asdict(), "counts_from": counts_from, "recorded_at": recorded_at}
    return {"rule": step.rule, "says": step.says, "by": by}


def _due(found: Explanation) -> str:
    stands = found.entry is not None and isinstance(found.entry.judgement, Rejected)
    due = f"set aside as {found.should_be}" if found.should_be else "a reading"
    same = stands == (found.should_be is not None)
    return f"{due}, with other columns" if same else due


def _why_it_differs(found: Explanation) -> str:
    return f"{found.pending} corrections are pending" if found.pending else "run: readings verify"


def _at(moment: datetime | None) -> str:
    return "at a moment that is not known" if moment is None else said(moment)


def _where(place: Place) -> str:
    return " ".join(map(str, place))
