"""Values: equal by what they say, whole after a pickle, and silent about what may be personal. Compiled as they stand."""

import copy
import pickle
from datetime import UTC, datetime

import pytest

from enrich.as_of import Said
from enrich.law import Law
from enrich.registry import DeviceAsOf, PatientAsOf, Timeline
from schemas.envelope import NotUnderstood, understand
from schemas.judgement import Accepted, Entry, Rejected
from schemas.kinds import Kind
from schemas.reading import Reading
from schemas.reasons import Reason
from schemas.record import Place, Record
from schemas.states import About, State
from schemas.value import Value
from tests.build import envelope

AT = datetime(2026, 3, 8, 7, tzinfo=UTC)
PLACE = Place("kafka:readings.raw", 2, 12)
SECRET = b"91355-secret"


def reading() -> Reading:
    read = understand(envelope(), max_bytes=10_000, max_depth=32)
    assert isinstance(read, Reading)
    return read


def every_value() -> list[Value]:
    """One of each class, made anew, and no two of its attributes alike."""
    rejected = Rejected(Reason.INVALID, "payload.weight: Field required", Kind.WEIGHT, reading(), 5, 6, 7, SECRET)
    state = State(
        About.PATIENT, 6, {"zipCode": SECRET.decode()}, AT, AT.replace(hour=8), True, AT.replace(hour=9), PLACE
    )
    return [
        Record(PLACE, AT, SECRET, carrier=Record(Place("kafka:readings.backfill", 1, 3), AT, SECRET)),
        reading(),
        Accepted(reading(), 5, 6, 7, "America/New_York", -18_000),
        rejected,
        Entry(PLACE, AT, rejected),
        NotUnderstood(Reason.INVALID, "payload: Field required", Kind.WEIGHT),
        state,
        Said(AT, SECRET.decode(), state),
        DeviceAsOf("withPatient", True, 6, 7),
        PatientAsOf("America/New_York", 7),
        Timeline((AT,), (PatientAsOf(None, None), PatientAsOf("America/New_York", 7))),
    ]


def test_the_law_is_whole_after_a_pickle() -> None:
    law = Law(blocked_statuses=frozenset({"lost"}), max_depth=7)
    for again in (pickle.loads(pickle.dumps(law)), copy.copy(law), copy.deepcopy(law)):
        assert again == law


def test_every_class_of_values_is_here() -> None:
    assert {type(value) for value in every_value()} == set(Value.__subclasses__())


@pytest.mark.parametrize("number", range(len(every_value())), ids=[type(value).__name__ for value in every_value()])
def test_a_value_is_what_it_says(number: int) -> None:
    value, alike = every_value()[number], every_value()[number]
    others = [other for other in every_value() if type(other) is not type(value)]
    assert value is not alike
    assert value == alike
    assert value not in others
    for again in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
        assert again == value
        assert again.said() == value.said()
    assert SECRET.decode() not in repr(value)
    assert repr(value).count(",") >= len(value.said()) - 1
    try:
        assert hash(value) == hash(alike)
    except TypeError:
        assert isinstance(value, State | Said)  # what it says is a dictionary
