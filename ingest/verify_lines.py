"""Every line of the ledger judged again, from itself and the histories: it has to give itself."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple

from enrich.judge import judge, judge_again, unregistered_mentions
from enrich.law import Law
from enrich.rank import rank, set_aside
from enrich.registry import Registry
from ingest.check import Check
from ingest.learn import asked
from schemas.envelope import understand
from schemas.judgement import Accepted, Entry, Judgement, Rejected
from schemas.reading import Reading
from schemas.reasons import Reason
from schemas.record import Place, Record
from sinks.database import Connection
from sinks.scan import (
    Line,
    Mention,
    Sample,
    columns_of,
    mentions_lacking,
    readings_scanned,
    rejections_scanned,
    standing_under,
)
from sinks.tally import Tally

_BY_BYTES: Final = frozenset(
    {Reason.MALFORMED, Reason.UNKNOWN_READING_TYPE, Reason.INVALID, Reason.TIMESTAMP_IMPLAUSIBLE}
)
_SET_ASIDE: Final = frozenset({Reason.DUPLICATE, Reason.CONFLICTING_DUPLICATE})


class Judges(NamedTuple):
    """What everything is judged by: the registry of the snapshot that the rows are read in, and the law."""

    registry: Registry
    law: Law


async def check_readings(
    connection: Connection, tallies: Sequence[Tally], judges: Judges, sample: Sample | None, tell: Callable[[int], None]
) -> list[Check]:
    """:param tell: is told how many rows were looked at since it was told last."""
    readings = Check("readings", "every reading, judged again from itself and the histories, gives itself", "readings")
    noted = Check("mentions", "whatever a reading names and the registry does not tell of it is noted", "mentions")
    async for page in readings_scanned(connection, tallies, sample):
        mentions: dict[Mention, Place] = {}
        judged = await asked(connection, judges.registry, partial(_all_again, page, judges))
        for (line, accepted), (entry, mentioned) in zip(page, judged, strict=True):
            if entry.judgement is not accepted or accepted.key.subject != line.row["subject"]:
                _compare(readings, line, entry)
            mentions |= dict.fromkeys(mentioned, line.place)
        for mention in sorted(await mentions_lacking(connection, list(mentions)), key=mentions.__getitem__):
            subject, identifier, patient_id = mention
            named = f"patient {patient_id}" if identifier is None else "an identifier of nobody's"
            noted.found(
                _where(mentions[mention]), "unregistered_mentions", f"subject {subject} with {named} is not noted"
            )
        readings.looked_at += len(page)
        noted.looked_at += len(mentions)
        judges.registry.forget_nobodies()
        tell(len(page))
    return [readings, noted]


async def check_rejections(
    connection: Connection, tallies: Sequence[Tally], judges: Judges, sample: Sample | None, tell: Callable[[int], None]
) -> list[Check]:
    """:param tell: is told how many rows were looked at since it was told last."""
    refused = Check(
        "rejections", "every rejection, judged again from its payload and the histories, gives itself", "rejections"
    )
    outranked = Check("winners", "what rule 9 set aside ranks behind a reading that stands, and says why", "rejections")
    async for page in rejections_scanned(connection, tallies, sample):
        competing: list[tuple[Line, Entry[Accepted]]] = []
        by_rules = [line for line in page if line.row["reason"] != Reason.UNSTORABLE]  # those the database refused
        judged = await asked(connection, judges.registry, partial(_all_judged, by_rules, judges))
        for line, judgement in zip(by_rules, judged, strict=True):
            if isinstance(judgement, Accepted) and line.row["reason"] in _SET_ASIDE:
                competing.append((line, Entry(line.place, line.received_at, judgement)))
            elif judgement is None:
                refused.found(_where(line.place), "payload", f"no reading can be understood, but {line.row['reason']}")
            else:
                _compare(refused, line, Entry(line.place, line.received_at, judgement))
        standing = await standing_under(connection, {entry.judgement.key for _, entry in competing})
        for line, entry in competing:
            winner = standing.get(entry.judgement.key)
            if winner is None:
                outranked.found(_where(line.place), "reason", f"{line.row['reason']}, but no reading has its key")
            elif rank(entry) < rank(winner):
                outranked.found(_where(line.place), "reason", f"ranks before the reading {_where(winner.place)}")
            else:
                _compare(outranked, line, set_aside(entry, winner))
        refused.looked_at += len(page)
        outranked.looked_at += len(competing)
        judges.registry.forget_nobodies()
        tell(len(page))
    return [refused, outranked]


def _all_again(page: Iterable[tuple[Line, Accepted]], judges: Judges) -> list[tuple[Entry[Judgement], list[Mention]]]:
    """What each reading comes to, the same judgement if nothing differs, and whom it names that nobody told of."""

    def again(line: Line, accepted: Accepted) -> Entry[Judgement]:
        entry: Entry[Judgement] = Entry(line.place, line.received_at, accepted)
        return judge_again(entry, first_seen=line.source.first_seen, registry=judges.registry, law=judges.law)

    return [(again(*one), unregistered_mentions(one[1], judges.registry)) for one in page]


def _all_judged(lines: Iterable[Line], judges: Judges) -> list[Judgement | None]:
    return [_judged(line, judges) for line in lines]


def _judged(line: Line, judges: Judges) -> Judgement | None:
    """What the payload comes to by rules 1 to 8; None where it should be understood and is not."""
    received_at, first_seen = line.received_at, line.source.first_seen
    payload = line.row["payload"]
    reason = Reason(line.row["reason"])
    if reason in _BY_BYTES:
        record = Record(line.place, received_at, payload)
        return judge(record, first_seen=first_seen, registry=judges.registry, law=judges.law).judgement
    reading = understand(payload, max_bytes=len(payload), max_depth=judges.law.max_depth)
    if not isinstance(reading, Reading):
        return None
    entry: Entry[Judgement] = Entry(line.place, received_at, Rejected(reason, reading=reading))
    return judge_again(entry, first_seen=first_seen, registry=judges.registry, law=judges.law).judgement


def _compare(check: Check, line: Line, again: Entry[Judgement]) -> None:
    """Note each column that would be another one. A row of one table that belongs into the other differs as a whole."""
    columns = line.columns
    match again.judgement:
        case Accepted() if "reason" in columns:
            check.found(_where(line.place), "reason", f"{line.row['reason']}, but it should be a reading")
            return
        case Rejected(reason=reason) if "reason" not in columns:
            check.found(_where(line.place), None, f"a reading, but it should be a rejection: {reason}")
            return
    expected = columns_of(again, line.source)
    unlike = [name for name, stands in columns.items() if stands != expected[name]]
    for number, name in enumerate(unlike):
        says = f"{_said(columns[name])}, but should be {_said(expected[name])}"
        told = "not in its canonical form" if name == "payload" else says
        check.found(_where(line.place), name, told, counting=number == 0)


def _said(value: object) -> str:
    return "none" if value is None else str(value)


def _where(place: Place) -> str:
    return " ".join(map(str, place))
