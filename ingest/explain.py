"""`readings explain`: what became of one record, and which rule and which registry record decided it."""

from typing import Final

from enrich.judge import judge_again
from enrich.law import Law
from enrich.zones import Zones
from ingest.broker import topic_of
from ingest.explain_rank import by_rule_9, ranked_with, rule_9
from ingest.explain_rules import Known, Walk, walk
from ingest.explanation import Explanation, Fate, Rival, Step
from ingest.law_parameters import check_parameters, parameters
from ingest.ready import ready_database
from ingest.settings import Settings
from schemas.judgement import Accepted, Entry, Judgement, Rejected
from schemas.reading import Reading
from schemas.reasons import Reason
from schemas.record import ARCHIVE, Place
from schemas.states import About
from sinks.corrections import pending_corrections
from sinks.database import Connection
from sinks.errors import OperatorError
from sinks.told import owners_of, states_of
from sinks.whereabouts import (
    Position,
    archives_like,
    competing_for,
    gap_at,
    position_at,
    reading_at,
    rejection_at,
    told_at,
)

_RULE_OF: Final = {Reason.MALFORMED: 1, Reason.UNKNOWN_READING_TYPE: 2, Reason.INVALID: 3}


async def explain(settings: Settings, zones: Zones, *, source: str, partition: int, offset: int) -> Explanation | None:
    """What became of the record at that place; None if there is no such source.

    :param source: as in the table `sources`; or the name of a topic, or the beginning of an archive's.
    :raises OperatorError: when several archives begin so.
    :raises AwayError: when the database was not reached in time; :raises SchemaError: when there is no schema.
    :raises SettingsError: when what is stored was judged by other law parameters.
    """
    async with ready_database(settings, "explain") as database:
        await check_parameters(database, parameters(settings.law, zones))
        async with database.transaction(isolation="repeatable_read", readonly=True) as connection:
            name = await _name(connection, source)
            return await _found(connection, name, partition, offset, settings=settings, zones=zones)


async def _name(connection: Connection, source: str) -> str:
    """The whole name of an archive that is told by its beginning, as `readings status` shows it."""
    if not source.startswith(ARCHIVE):
        return source
    named = await archives_like(connection, source.removesuffix("…"))
    if len(named) > 1:
        raise OperatorError(f"several archives begin with {source}: {' and '.join(named)}")
    return named[0] if named else source


async def _found(
    connection: Connection, name: str, partition: int, offset: int, *, settings: Settings, zones: Zones
) -> Explanation | None:
    law = settings.law
    position = await position_at(connection, name, partition)
    if position is None:
        return None
    place = Place(position.source.name, partition, offset)
    if position.first_offset is None or position.next_offset is None or offset >= position.next_offset:
        return Explanation(place, position, Fate.NOT_TAKEN)
    if offset < position.first_offset:
        return Explanation(place, position, Fate.BEFORE_THE_FIRST)
    refused = await rejection_at(connection, position.source, place)
    if refused is not None:
        return await _explained(connection, refused, position, law, zones)
    told = await told_at(connection, position.source, place)
    if told is not None:
        state = next(state for state in await states_of(connection, *told) if state.place == place)
        return Explanation(place, position, Fate.STATE, state=state)
    gap = await gap_at(connection, position.source, place)
    if gap is not None:
        return Explanation(place, position, Fate.GAP, gap=gap)
    reading = await reading_at(connection, position.source, place)  # at last: it reads the table through
    if reading is not None:
        return await _explained(connection, reading, position, law, zones)
    if position.repeated and not place.in_archive and topic_of(place.source) == settings.backfill_topic:
        return Explanation(place, position, Fate.CARRIER)
    dropped = position.expired + position.repeated > 0
    return Explanation(place, position, Fate.DROPPED if dropped else Fate.MISSING)


async def _explained(
    connection: Connection, entry: Entry[Judgement], position: Position, law: Law, zones: Zones
) -> Explanation:
    place, stands = entry.place, entry.judgement
    fate = Fate.READING if isinstance(stands, Accepted) else Fate.REJECTION
    pending = await pending_corrections(connection)
    if isinstance(stands, Rejected) and stands.reading is None:
        steps = _not_understood(stands, asked_by_law=position.holds == "readings")
        return Explanation(place, position, fate, entry, steps, should_be=stands.reason, pending=pending)
    reading = stands.reading
    assert reading is not None, "only what was not understood keeps none"
    known = await _known(connection, reading)
    registry, first_seen = known.registry(zones), position.source.first_seen
    again = judge_again(entry, first_seen=first_seen, registry=registry, law=law)
    walked = walk(Walk(reading, entry.received_at, first_seen, known, law, zones))
    assert walked.agrees_with(again.judgement), "the walk stands on the functions that judge"
    steps, rivals, due = [*_understood(reading), *walked.steps], [], again
    if isinstance(again.judgement, Accepted):
        competing = await competing_for(connection, [again.judgement.key])
        ranked = ranked_with(Entry(place, entry.received_at, again.judgement), competing)
        due = by_rule_9(place, ranked)
        words = {line.place: _word(line) for line in (*competing, entry)}
        rivals = [Rival(one.place, one.received_at, words[one.place]) for one in ranked]
        steps.append(rule_9(place, ranked))
    return Explanation(
        place, position, fate, entry, steps, rivals, should_be=_reason(due), differs=due != entry, pending=pending
    )


async def _known(connection: Connection, reading: Reading) -> Known:
    """The states of every device and patient that the rules may ask about."""
    owned = {one.identifier: one for one in await owners_of(connection, reading.identifiers_named)}
    devices = ({one.device_id for one in owned.values()} | {reading.device_id_named or 0}) - {0}
    told = {device_id: await states_of(connection, About.DEVICE, device_id) for device_id in sorted(devices)}
    patients = {state.says.get("patientId") or 0 for states in told.values() for state in states}
    patients = (patients | {reading.patient_id_named or 0}) - {0}
    return Known(told, {one: await states_of(connection, About.PATIENT, one) for one in sorted(patients)}, owned)


def _not_understood(stands: Rejected, *, asked_by_law: bool) -> list[Step]:
    """The steps to one of rules 1 to 3, or to what no rule of the law decided; what the reason means is told above."""
    why = f"Refused: {stands.detail}." if stands.detail else "Refused."
    rule = _RULE_OF.get(stands.reason) if asked_by_law else None
    passed = [Step(1, "The bytes are one JSON object."), Step(2, f"Its type is reading.{stands.kind}.")]
    return [
        *(step for step in passed if rule is not None and step.rule is not None and step.rule < rule),
        Step(rule, why),
    ]


def _understood(reading: Reading) -> list[Step]:
    return [
        Step(1, "The bytes are one JSON object."),
        Step(2, f"Its type is reading.{reading.kind}."),
        Step(3, "Every field keeps the schema."),
    ]


def _word(line: Entry[Judgement]) -> str:
    return _reason(line) or "reading"


def _reason(line: Entry[Judgement]) -> Reason | None:
    return line.judgement.reason if isinstance(line.judgement, Rejected) else None
