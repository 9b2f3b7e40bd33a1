"""The product's rules 1 to 9 over all that was ever given, without a database: what `oracle.store` is, of the product.

Rules and ranks are the product's own, and so are the rows; only who owns an identifier is told by `build.registry`, as
the database does that.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import datetime

from enrich.as_of import changes
from enrich.judge import judge
from enrich.law import Law
from enrich.rank import ranked_by_key, set_aside
from schemas.judgement import told_apart
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import About, State
from sinks.ledger import Source
from sinks.rows import READING_COLUMNS, REJECTION_COLUMNS, reading_row, rejection_row
from tests import build, oracle


def store(
    records: Iterable[oracle.Record],
    registry: Iterable[oracle.RegistryRecord],
    law: oracle.Law,
    first_seen: Callable[[str], datetime],
) -> oracle.Store:
    """What must be stored, in the oracle's words."""
    out, law_, states = oracle.Store(), Law(**asdict(law)), []
    for told in oracle.by_place(registry):
        state = understand_state(
            About(told.kind),
            Record(Place(*told.place), told.timestamp, told.value),
            told_at=told.timestamp,
            from_file=told.from_file,
            max_bytes=law.max_bytes,
            max_depth=law.max_depth,
        )
        if isinstance(state, State):
            states.append(state)
        else:
            received_at = None if told.from_file else told.timestamp
            out.rejections[told.place] = oracle.rejection(state.reason, received_at, {})
            out.payloads[told.place] = told.value
    for about, subject_id in {(state.about, state.subject_id) for state in states}:
        of_one = [state for state in states if (state.about, state.subject_id) == (about, subject_id)]
        out.states |= {state.place: state for state in changes(of_one)}
    known = build.registry(*states)

    given, entries = oracle.by_place(records), []
    for record in given:
        raw = Record(Place(*record.place), record.received_at, record.value)
        entries.append(judge(raw, first_seen=first_seen(record.source), registry=known, law=law_))
    accepted, rejected = told_apart(entries)
    for first, *others in ranked_by_key(accepted).values():
        row = reading_row(first, _Numbered())
        out.readings[first.place] = _line(dict(zip(READING_COLUMNS, row, strict=True)))
        rejected += [set_aside(other, first) for other in others]
    for entry in rejected:
        row = dict(zip(REJECTION_COLUMNS, rejection_row(entry, _Numbered()), strict=True))
        payload = row.pop("payload")
        if row["reason"] in oracle.RULES_1_TO_4:
            out.payloads[entry.place] = payload
        out.rejections[entry.place] = {
            name: value for name, value in _line(row).items() if name != "detail" and not name.startswith("source_")
        }
    return out


class _Numbered(dict):
    """Every source there is."""

    def __missing__(self, name: str) -> Source:
        return Source(0, name, datetime.min)


def _line(row: dict) -> dict:
    del row["source_id"]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in row.items()}


def unlike(product: oracle.Store, said: oracle.Store) -> list[str]:
    """Every place and column where the product says otherwise than the oracle: nothing named is null, or an empty list."""
    lines = [
        f"{table} of {place}: {there.get(place)} should be {line}"
        for table, there, should_be in (
            ("reading", _plain(product.readings), _plain(said.readings)),
            ("rejection", _plain(product.rejections), _plain(said.rejections)),
            ("payload", product.payloads, {place: value or b"" for place, value in said.payloads.items()}),
        )
        for place in there.keys() | should_be.keys()
        if (line := should_be.get(place)) != (there.get(place) or (b"" if table == "payload" else None))
    ]
    return lines + [f"change {place}" for place in product.states.keys() ^ said.states.keys()]


def _plain(lines: dict) -> dict:
    return {
        place: {name: value or None if name == "identifiers_named" else value for name, value in line.items()}
        for place, line in lines.items()
    }
