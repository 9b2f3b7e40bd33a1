"""Anything at all comes in: it becomes a reading or a rejection, never an exception, and it can be stored.

Hypothesis prints what it needs to play a failure again: the example, and a `@reproduce_failure` line for it. `FUZZ=20`
in the environment tries twenty times as much.
"""

import json
import os
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from enrich.judge import judge
from enrich.law import Law
from enrich.offsets import offset_s
from enrich.registry import Registry
from enrich.zones import table_zones
from ingest.batch import Batch
from ingest.broker import topic_of
from ingest.correct import correct
from ingest.registry_feed import store_states, topic_state
from ingest.store import store
from schemas.envelope import NotUnderstood, understand
from schemas.judgement import Accepted, Entry, Judgement, Rejected
from schemas.kinds import Kind
from schemas.payloads import PAYLOADS
from schemas.reading import Reading, canonical_envelope
from schemas.reasons import Reason
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import About, State
from schemas.wire import EARLIEST_INSTANT
from sinks.database import Database
from sinks.ledger import Move, Source, begin_partition, open_source
from sinks.rows import READING_COLUMNS, REJECTION_COLUMNS, reading_of, reading_row, rejection_row
from tests import oracle
from tests.both_ways import told, told_of_line
from tests.build import LAW, NEW_YEAR, NOON, SOURCE, at, device, patient, record, registry, wire_names
from tests.knowing import learned

# To print an example that did not hold, Hypothesis writes out the strategy too, long strings and all.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")
FUZZ = float(os.environ.get("FUZZ", "1"))
thorough = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
GIVEN_AS_IT_CAME = {Reason.MALFORMED, Reason.UNKNOWN_READING_TYPE, Reason.INVALID, Reason.TIMESTAMP_IMPLAUSIBLE}


# --- JSON of any shape ----------------------------------------------------------------------------------------------


class Token(str):
    """Text that stands in a document as it is: numbers that no Python value writes, and what is no JSON at all."""

    __slots__ = ()


class Pairs(list):  # type: ignore[type-arg]
    """An object whose keys may repeat."""


def written(value: Any, *, ascii_only: bool = True) -> str:
    """JSON, or what the value makes of it."""
    match value:
        case Token():
            return str(value)
        case Pairs():
            members = value
        case dict():
            members = list(value.items())
        case list():
            return "[" + ",".join(written(item, ascii_only=ascii_only) for item in value) + "]"
        case _:
            return json.dumps(value, ensure_ascii=ascii_only)
    text = ((json.dumps(name, ensure_ascii=ascii_only), written(said, ascii_only=ascii_only)) for name, said in members)
    return "{" + ",".join(f"{name}:{said}" for name, said in text) + "}"


def to_bytes(value: Any, *, ascii_only: bool = True) -> bytes:
    return written(value, ascii_only=ascii_only).encode("utf-8", "surrogatepass")


ASTRAL_255 = "".join(chr(0x1F300 + number * 7919 % 0x600) for number in range(255))
"""As long as an identifier may be, in characters and in bytes, and nothing that PostgreSQL could compress."""
TOKENS = [
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e-400", "-0", "-0.0", "88.0", "1E2", "6.0e1", "1.7976931348623157e308"),
    *("9007199254740991.0", "9007199254740993.0", "9.007199254740993e15", "88.00000000000000000001", "2147483647.0", "1e18"),
    *("9" * 400, "1" + "0" * 4_999, "9223372036854775807.0", "9223372036854775808", "00", "+1", ".5", "1.", "0x1f", "1_0"),
    *("TRUE", "undefined", "'a'", "\ufeff1", "", "1 1", "nul", '"\\u0000"', '"\\ud800"', '"\\ud83d\\uddff"', '"\x00"', "{", "]"),
]  # fmt: skip
NUMBERS = [0, 1, -1, 60, 255, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30]
NUMBERS += [0.0, 0.1, 60.5, 5e-324, 1e308, -43_201, 50_401]  # type: ignore[list-item]
STRINGS = [
    *("", " ", "S1", "serial", "mgdl", "MGDL", "c", "Fahrenheit", "19137", "19137-0001", "USA", "１９１３７", "decommissioned"),
    *("\x00", "a\x00b", "\ud800", "\udfff\ud800", "\uffff", "\x7f\x85\u2028", "\u202eabc", "e\u0301", "\\u0000", "NULL"),
    *("{1,2}", "'; DROP TABLE readings; --", '"\\', "\\N\t\\.\n", "infinity", "-infinity", "K", "ſpo2", "İ", "𝟙"),
    *(ASTRAL_255, ASTRAL_255 + "x", "x" * 255, "x" * 256, ASTRAL_255 * 30, "\U0010ffff" * 70_000),
]  # fmt: skip
TIMES = [
    *("2026-07-01T12:00:00Z", "2026-07-01t08:00:00.123456789-04:00", "2026-07-02T12:00:00Z", "2026-07-02T12:00:00.000001Z"),
    *("2001-01-01T00:00:00Z", "2000-12-31T23:59:59.999999Z", "1582-10-10T00:00:00Z", "0000-01-01T00:00:00Z"),
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-12:00"),
    *("10000-01-01T00:00:00Z", "-2026-07-01T12:00:00Z", "2026-07-01T24:00:00Z", "2026-07-01T12:00:60Z", "2026-07-01T12:00Z"),
    *("2026-02-29T00:00:00Z", "2028-02-29T00:00:00+23:59", "2026-07-01T12:00:00+24:00", "2026-07-01T12:00:00-00:00"),
    *("2026-07-01T12:00:00", "2026-07-01 12:00:00Z", "2026-07-01T12:00:00,5Z", "2026-07-01T12:00:00Z\n", "infinity", "now"),
    *("2026-07-01T12:00:00." + "9" * 5_000 + "Z", "٢٠٢٦-07-01T12:00:00Z", "1782907200", "2026-W27-3T12:00:00Z"),
]  # fmt: skip
IDENTIFIERS = ["S1", "S2", "s1", "S1 ", "nobody's", ASTRAL_255, "\u0301", "x" * 255]
IDS = [1, 2, 3, 4, 99, 2**63 - 1, 1.0]


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


ODD: list[Any] = [
    *map(Token, TOKENS),
    Token("[" * 3_000 + "]" * 3_000),
    *NUMBERS,
    *STRINGS,
    *TIMES,
    *(None, True, False, [], {}, [None], [[]], {"id": 1}, {"value": "S1"}, Pairs([("id", 1), ("id", "x")])),
    *(nested(depth) for depth in (60, 62, 64, 65, 190)),
    *(["x"] * 3_000, ["\x00"], [""] * 20, [ASTRAL_255] * 20, [{"value": name} for name in IDENTIFIERS]),
]

ODD_AS_WRITTEN = [to_bytes(value) for value in ODD] + [to_bytes(value, ascii_only=False) for value in STRINGS]

scalars = (
    st.sampled_from(ODD[: 1 + len(TOKENS) + len(NUMBERS) + len(STRINGS) + len(TIMES) + 3])
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=12)
    | st.sampled_from(IDS + IDENTIFIERS)
)
any_json = st.recursive(
    scalars | st.sampled_from(ODD),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(), max_size=6), inner, max_size=4)
        | st.lists(st.tuples(st.sampled_from(["id", "type", "payload", "a"]), inner), max_size=4).map(Pairs)
    ),
    max_leaves=6,
)
offsets = st.timedeltas(timedelta(days=-40_000), timedelta(days=40_000))
instants = st.sampled_from(
    [NOON, None, datetime(1970, 1, 1, tzinfo=UTC), datetime(2001, 1, 1, tzinfo=UTC), at("9998-12-31")]
) | st.datetimes(NOON.replace(tzinfo=None) - timedelta(days=3), NOON.replace(tzinfo=None) + timedelta(days=3)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)


# --- what a sender might have meant ---------------------------------------------------------------------------------

MEASURES: dict[str, dict[str, Any]] = {
    "heartRate": {"heartRate": 60},
    "heartRateVariability": {
        "heartRateVariability": 41.5,
        "heartRate": 60,
        "heartRateVariabilityDuration": 300_000,
        "heartRateVariabilityAlgorithmType": "sdnn",
    },
    "bloodPressure": {"systolic": 120, "diastolic": 80, "heartRate": 60},
    "bloodGlucose": {"glucose": 99, "glucoseUnit": "mgdl", "beforeMeal": True, "afterMeal": False},
    "bloodOxygen": {"bloodOxygen": 97, "bloodOxygenUnit": "spO2", "heartRate": 60},
    "weight": {"weight": 150.5, "weightUnit": "lbs"},
    "temperature": {"temperature": 37.1, "temperatureUnit": "celsius"},
    "peakFlow": {
        "peakExpiratoryFlow": 400,
        "forcedExpiratoryVolumeInOneSecond": 2.5,
        "forcedExpiratoryVolume": 2.4,
    },
    "sleepMatActivity": {
        "bedTime": ["20:00~06:00"],
        "getUpTime": [],
        "duration": "8h",
        "bodyTurnOver": 3,
        "heartRate": 50,
        "respiration": 12,
    },
    "sleepMatDuration": {
        "deepSleep": 90,
        "lightSleep": 200,
        "rem": 80,
        "duration": "6h",
        "bodyTurnOver": 3,
        "heartRate": 50,
        "respiration": 12,
    },
}
EVERY_NAME = {
    "id": 5,
    "readingTimestamp": "2026-07-01T12:00:00Z",
    "deviceId": 1,
    "deviceIdentifier": "S1",
    "device": {"id": 1, "deviceIdentifiers": [{"type": "serial", "value": "S1"}]},
    "patientId": 7,
    "patient": {"id": 7},
    "deviceTimeZoneOffset": -14_400,
    "manual": False,
}
DEVICE_STATE = {
    "deviceId": 50,
    "deviceIdentifiers": [{"type": "serial", "value": "S50"}, {"value": "T50"}],
    "currentStatus": "withPatient",
    "disabledReadings": False,
    "patientId": 70,
    "siteId": 3,
    "platformSite": False,
    "customerId": 1,
    "note": "a note",
    "effectiveAt": "2026-01-05T14:00:00Z",
    "recordedAt": "2026-01-05T14:00:01Z",
}
PATIENT_STATE = {
    "patientId": 70,
    "externalIdentifier": "mrn-7",
    "zipCode": "19137",
    "country": "USA",
    "customerId": 1,
    "effectiveAt": "2026-01-05T14:00:00Z",
    "recordedAt": "2026-01-05T14:00:01Z",
}


def whole(kind: str) -> dict[str, Any]:
    """A valid envelope of the kind that says every field there is."""
    return {"id": 9, "type": f"reading.{kind}", "payload": {**deepcopy(EVERY_NAME), **deepcopy(MEASURES[kind])}}


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in the document at which something else may stand."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(inner, (*path, step))


def with_anything_anywhere(document: Any, where: Iterable[tuple[Any, ...]]) -> Iterator[bytes]:
    """The document once with every odd value in every one of these places."""
    for path in where:
        around = to_bytes(put(document, path, Token("@@")))
        for value in ODD_AS_WRITTEN:
            yield around.replace(b"@@", value)


GONE = Token("take the field away")


def own_places(kind: str) -> list[tuple[Any, ...]]:
    """What a kind has for itself; weights stand for what all have in common."""
    return [path for path in paths(whole(kind)) if kind == "weight" or path[-1] in MEASURES[kind]]


def put(document: Any, path: Sequence[Any], value: Any) -> Any:
    """The document with `value` at the path, or as it is if there is no such place any more."""
    changed = node = deepcopy(document)
    *before, last = path
    for step in before:
        if not is_in(node, step):
            return changed
        node = node[step]
    if value is GONE:
        if is_in(node, last):
            del node[last]
    elif isinstance(node, dict) or is_in(node, last):
        node[last] = value
    return changed


def is_in(node: Any, step: Any) -> bool:
    match node:
        case dict():
            return step in node
        case list() if not isinstance(node, Pairs):
            return step in range(len(node))
        case _:
            return False


@st.composite
def meant_well(draw: st.DrawFn, bases: Sequence[dict[str, Any]]) -> bytes:
    """A valid message with up to four things changed, and now and then its bytes too."""
    document: Any = draw(st.sampled_from(bases))
    places = list(paths(document))
    for _ in range(draw(st.integers(0, 4))):
        path = draw(st.sampled_from(places))
        likely = {"deviceId": IDS, "id": IDS, "patientId": [7, 8, 70, 71, None], "deviceIdentifier": IDENTIFIERS, "value": IDENTIFIERS,
                  "readingTimestamp": TIMES, "effectiveAt": TIMES, "recordedAt": TIMES}.get(path[-1])  # fmt: skip
        value = draw(st.sampled_from(likely) | any_json if likely else st.just(GONE) | any_json)
        document = put(document, path, value)
    if draw(st.booleans()):  # a moment of its own: not every reading has the same natural key
        moment = NOON + timedelta(seconds=draw(st.integers(-200_000, 90_000)))
        document = put(document, ("payload", "readingTimestamp"), moment.isoformat())
    value = to_bytes(document, ascii_only=draw(st.booleans()))
    return draw(_hurt(value)) if draw(st.integers(0, 9)) == 0 else value


def _hurt(value: bytes) -> st.SearchStrategy[bytes]:
    """One to three bytes of it cut out, doubled or replaced."""
    where = st.integers(0, max(0, len(value) - 1))
    piece = st.binary(max_size=3)
    return st.tuples(where, st.integers(0, 3), piece).map(
        lambda cut: value[: cut[0]] + cut[2] + value[cut[0] + cut[1] :]
    )


STATES = {About.DEVICE: DEVICE_STATE, About.PATIENT: PATIENT_STATE}
ENVELOPES = [whole(kind) for kind in MEASURES]
BY_ONE_NAME = [
    put({**whole(kind), "payload": {**MEASURES[kind], "readingTimestamp": "2026-07-01T12:00:00Z"}}, ("payload", name), value)
    for kind in MEASURES
    for name, value in (("deviceId", 1), ("deviceIdentifier", "S1"), ("patientId", 7), ("device", {"id": 2}))
]  # fmt: skip
raw_values: st.SearchStrategy[bytes | None] = (
    meant_well(ENVELOPES)
    | meant_well(BY_ONE_NAME)
    | st.builds(to_bytes, any_json, ascii_only=st.booleans())
    | st.builds(lambda payload: to_bytes({"type": "reading.weight", "payload": payload}), any_json)
    | st.binary(max_size=60)
    | st.none()
)
registry_values: st.SearchStrategy[bytes | None] = (
    meant_well([DEVICE_STATE, {"deviceId": 1}, {"deviceId": 1, "patientId": 7, "note": "n", "effectiveAt": "2026-07-01T00:00:00Z"}])
    | meant_well([PATIENT_STATE, {"patientId": 7, "zipCode": "96701"}])
    | st.builds(to_bytes, any_json)
    | st.none()
)  # fmt: skip


# --- judged ---------------------------------------------------------------------------------------------------------

KNOWN_DEVICES = [
    device(1, deviceIdentifiers=[{"value": "S1"}], patientId=7, customerId=1),
    device(2, deviceIdentifiers=[{"value": "S2"}, {"value": ASTRAL_255}], currentStatus="decommissioned", offset=1),
    device(3, disabledReadings=True, offset=2),
    device(2**63 - 1, customerId=2, offset=3),
]
KNOWN_PATIENTS = [
    patient(7, zipCode="19137", country="USA", customerId=1),
    patient(8, zipCode="96701", customerId=2, offset=1),
]
KNOWN = registry(*KNOWN_DEVICES, *KNOWN_PATIENTS)


def judged(value: bytes | None, received: datetime | None = NOON, known: Registry = KNOWN) -> Judgement:
    return judge(record(value, received=received), first_seen=NOON, registry=known, law=LAW).judgement


COURT = oracle.Court(
    oracle.registry_of(
        [
            oracle.RegistryRecord(
                state.about,
                f"kafka:{state.about}",
                0,
                number,
                NEW_YEAR,
                False,
                to_bytes({f"{state.about}Id": state.subject_id, **state.says}),
            )
            for number, state in enumerate([*KNOWN_DEVICES, *KNOWN_PATIENTS])
        ],
        oracle.Law(),
        oracle.Store(),
    ),
    oracle.Law(),
    lambda zip_code, country: table_zones().of(zip_code, country).zone,
    offset_s,
    lambda _: NOON,
)
"""The law again, by brute force and from the contract alone, with the same registry."""


def by_oracle(value: bytes | None, received: datetime | None) -> tuple[str, dict[str, Any]]:
    """What becomes of the record, and the columns of its row."""
    row: dict[str, Any] = {}
    try:
        COURT.judge(oracle.Record(SOURCE, 0, 0, received, value), row, [])
    except oracle.RefusedError as refused:
        return refused.args[0], {name: row.get(name) for name in oracle.UNDERSTOOD}
    return "accepted", row


def by_product(judgement: Judgement) -> tuple[str, dict[str, Any]]:
    place, sources = Place(SOURCE, 0, 0), {SOURCE: Source(1, SOURCE, NOON)}
    if isinstance(judgement, Accepted):
        row = reading_row(Entry(place, None, judgement), sources)
        return "accepted", dict(zip(READING_COLUMNS, row, strict=True))
    row = rejection_row(Entry(place, None, judgement), sources)
    return str(judgement.reason), dict(zip(REJECTION_COLUMNS, row, strict=True))


def agree(value: bytes | None, received: datetime | None, judgement: Judgement) -> None:
    """The product and the oracle say the same of the record, in every column."""
    reason, row = by_product(judgement)
    oracles_reason, oracles_row = by_oracle(value, received)
    if reason != oracles_reason and told_otherwise(value or b""):
        return
    assert reason == oracles_reason, getattr(judgement, "detail", None)
    assert {name: _plain(row[name]) for name in oracles_row} == {n: _plain(said) for n, said in oracles_row.items()}


def told_otherwise(value: bytes) -> bool:
    """Where the oracle reads numbers and years that the product's parsers do not: each is refused, or rounds to a whole number.

    The year 0000, more than 4,300 digits, and fractions or exponents that a double does not hold exactly.
    """
    numbers = [number.decode() for number in re.findall(rb"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", value)]
    inexact = [number for number in numbers if not number.lstrip("-").isdigit() and float(number).is_integer()]
    return (
        b"0000-" in value
        or any(len(number) > 4_300 for number in numbers)
        or any(abs(float(number)) >= 2**53 or Decimal(number) != Decimal(float(number)) for number in inexact)
    )


def _plain(value: Any) -> Any:
    """No identifier named is null."""
    return (list(value) or None) if isinstance(value, list | tuple) else value


def stands_to_reason(value: bytes | None, judgement: Judgement, received: datetime | None = NOON) -> None:
    """What holds for every judgement, whatever was given."""
    agree(value, received, judgement)
    for tell in (told, told_of_line):
        at_once, in_steps = tell(value or b"")
        assert at_once == in_steps
    reading = judgement.reading
    if reading is not None:
        canonical = canonical_envelope(reading)
        assert understand(canonical, max_bytes=len(canonical), max_depth=LAW.max_depth) == reading
    if isinstance(judgement, Accepted):
        assert judgement.key
        return
    assert isinstance(judgement, Rejected)
    if judgement.reason in GIVEN_AS_IT_CAME:
        assert judgement.payload == (value or b"")
    else:
        assert reading is not None
        assert judgement.payload == canonical_envelope(reading)


@pytest.mark.parametrize("kind", list(Kind))
def test_any_value_in_any_place_of_any_kind_ends_as_a_reading_or_a_rejection(kind: Kind) -> None:
    """Every place, nested ones too, times every odd value: nothing here is left to chance, and an oracle agrees."""
    assert set(MEASURES[kind]) | set(EVERY_NAME) == wire_names(PAYLOADS[f"reading.{kind}"])
    base = whole(kind)
    assert isinstance(judged(to_bytes(base)), Accepted)
    for value in with_anything_anywhere(base, [*own_places(kind), ("nobody's field",)]):
        stands_to_reason(value, judged(value))


@settings(thorough, max_examples=int(500 * FUZZ))
@given(value=raw_values, received=instants)
@example(value=to_bytes(Pairs([("type", "reading.weight"), ("payload", 1), ("payload", {})])), received=None)
@example(value=to_bytes(Pairs([("a", "\x00"), ("a", 1)])), received=None)
@example(value=to_bytes(Pairs([("a", nested(64)), ("a", nested(63))])), received=None)
@example(value=to_bytes(Pairs([("a", "[" * 70), ("a", '\\"{' * 70)])), received=None)
def test_whatever_the_bytes_they_end_as_a_reading_or_a_rejection(
    value: bytes | None, received: datetime | None
) -> None:
    stands_to_reason(value, judged(value, received), received)


@settings(thorough, max_examples=int(250 * FUZZ))
@given(value=registry_values, about=st.sampled_from(About), told_at=instants, from_file=st.booleans())
def test_whatever_the_registry_is_told_it_is_a_state_or_set_aside(
    value: bytes | None, about: About, told_at: datetime | None, from_file: bool
) -> None:
    told = understand_state(
        about,
        record(value),
        told_at=told_at or NOON,
        from_file=from_file,
        max_bytes=LAW.max_bytes,
        max_depth=LAW.max_depth,
    )
    agree_on_the_state(value, about, told_at or NOON, told, from_file=from_file)
    if isinstance(told, State):
        known = Registry(table_zones())
        known.learn([told, *KNOWN_DEVICES, *KNOWN_PATIENTS], dict.fromkeys(told.identifiers, 1), version=1)
        judged(to_bytes(ENVELOPES[0]), told_at, known)


@pytest.mark.parametrize("about", list(About))
def test_any_value_in_any_place_of_a_state_is_told_or_set_aside(about: About) -> None:
    for value in with_anything_anywhere(STATES[about], paths(STATES[about])):
        for from_file in (False, True):
            agree_on_the_state(value, about, NOON, _told(about, value, from_file=from_file), from_file=from_file)


def agree_on_the_state(
    value: bytes | None, about: About, told_at: datetime, told: State | NotUnderstood, *, from_file: bool
) -> None:
    given = oracle.RegistryRecord(about, SOURCE, 0, 0, told_at, from_file, value)
    said, refused = None, None
    try:
        said = oracle.registry_state(given, oracle.Law())
    except oracle.RefusedError as error:
        refused = error.args[0]
    if refused != (told.reason if isinstance(told, NotUnderstood) else None):
        assert told_otherwise(value or b""), (refused, told)
        return
    if said is None or isinstance(told, NotUnderstood):
        return
    says = {**told.says}
    if says.get("deviceIdentifiers"):
        says["deviceIdentifiers"] = [(one.get("type"), one["value"]) for one in says["deviceIdentifiers"]]
    always = None if from_file and not told.effective_at_sent else told.effective_at
    assert (told.subject_id, says, always, told.recorded_at, told.effective_at_sent) == (
        # "Always" is before any moment that can be sent, so the very first is kept as the next.
        *(
            said.id,
            said.said,
            said.effective_at and max(said.effective_at, FIRST_SENT),
            said.recorded_at,
            said.explicit,
        ),
    )


CANARIES = ["xyzzycanaryxyzzy", 918_273_645, 91_827.3645, "2026-07-01T12:00:00canary", "\U0001f426" * 300, True]
SEEN = ("xyzzy", "canary", "918273645", "91827.3645", "\U0001f426", "1f426")


@pytest.mark.parametrize(
    "base", [*ENVELOPES, DEVICE_STATE, PATIENT_STATE], ids=lambda base: str(base.get("type", "state"))
)
def test_what_is_said_of_a_fault_never_repeats_what_was_sent(base: dict[str, Any]) -> None:
    """A wrong value may be somebody's name, and a key anybody's: neither is in `detail`."""
    faults = 0
    for path in paths(base):
        for canary in (*CANARIES, *([canary] for canary in CANARIES), *({"xyzzy": canary} for canary in CANARIES)):
            for key in (path[-1], "xyzzycanary"):
                place = (*path[:-1], key)
                value = to_bytes(put(base, place, canary))
                for found in (judged(value), *(_told(about, value) for about in About)):
                    detail = getattr(found, "detail", None)
                    faults += detail is not None
                    assert not any(seen in (detail or "") for seen in SEEN), (place, canary, detail)
    assert faults > 100


def _told(about: About, value: bytes | None, *, from_file: bool = False) -> State | NotUnderstood:
    return understand_state(
        about, record(value), told_at=NOON, from_file=from_file, max_bytes=LAW.max_bytes, max_depth=LAW.max_depth
    )


# --- stored ---------------------------------------------------------------------------------------------------------

FIRST_SENT = EARLIEST_INSTANT + timedelta(microseconds=1)
REGISTRY = {about: f"kafka:registry.{about}s" for about in About}


class Pipeline:
    """The real functions and the real database, and one partition of each source, which grows."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, timeout_s=30)
        self.registry = Registry(table_zones())
        self.sources: dict[str, Source] = {}
        self.next = dict.fromkeys([SOURCE, *REGISTRY.values()], 0)

    async def open(self) -> None:
        async with self.database.transaction() as connection:
            for name in self.next:
                holds = "readings" if name == SOURCE else "registry"
                self.sources[name] = await open_source(connection, name, first_seen=NOON, holds=holds)
                await begin_partition(connection, self.sources[name], 0, 0)
        for about, states in ((About.DEVICE, KNOWN_DEVICES), (About.PATIENT, KNOWN_PATIENTS)):
            name = "deviceId" if about is About.DEVICE else "patientId"
            await self.tell(
                about, [(to_bytes({name: state.subject_id, **state.says}), at("2026-01-01")) for state in states]
            )

    async def tell(self, about: About, given: Sequence[tuple[bytes | None, datetime | None]]) -> None:
        """Registry messages, as the feed takes them."""

        def understand_it(one: Record) -> State | NotUnderstood:
            return topic_state(one, batch, devices_topic=topic_of(REGISTRY[About.DEVICE]), law=LAW)

        batch = self._batch(REGISTRY[about], given)
        await store_states(batch, understand_it, database=self.database)
        self._stored(batch)

    async def take(self, given: Sequence[tuple[bytes | None, datetime | None]]) -> Sequence[Record]:
        """Raw records, as the loop takes them."""
        batch = self._batch(SOURCE, given)
        await store(batch, database=self.database, registry=self.registry, law=LAW)
        self._stored(batch)
        return batch.records

    def _batch(self, name: str, given: Sequence[tuple[bytes | None, datetime | None]]) -> Batch:
        first = self.next[name]
        records = [
            Record(Place(name, 0, first + number), received, value) for number, (value, received) in enumerate(given)
        ]
        return Batch(records, [Move(self.sources[name], 0, first, first + len(records))], self.sources)

    def _stored(self, batch: Batch) -> None:
        self.next[batch.moves[0].source.name] += len(batch.records)


@pytest.fixture
async def pipeline(migrated: str) -> AsyncIterator[Pipeline]:
    made = Pipeline(migrated)
    await made.open()
    yield made
    await made.database.close()


async def test_any_value_in_any_place_can_be_stored(pipeline: Pipeline) -> None:
    """Every odd value in every column that takes it, and the registry's too; each reading at a moment of its own."""
    for about, state in STATES.items():
        await pipeline.tell(about, [(value, NOON) for value in with_anything_anywhere(state, paths(state))])
    values: list[bytes] = []
    for kind in MEASURES:
        base = put(whole(kind), ("payload", "readingTimestamp"), Token('"@T@"'))
        values += with_anything_anywhere(base, own_places(kind))
    moments = ((NOON - timedelta(seconds=number)).isoformat().encode() for number in range(len(values)))
    records = [(value.replace(b"@T@", moment), NOON) for value, moment in zip(values, moments, strict=True)]
    for first in range(0, len(records), 1_000):
        await holds(pipeline, await pipeline.take(records[first : first + 1_000]))
    stored = await pipeline.database.fetch("SELECT reading_type::text, count(*) FROM readings GROUP BY 1")
    assert {row["reading_type"] for row in stored} == set(Kind)
    assert sum(row["count"] for row in stored) > 900


messages = st.lists(st.tuples(registry_values, instants), max_size=4)


@pytest.mark.thorough
@settings(thorough, max_examples=int(80 * FUZZ))
@given(
    records=st.lists(st.tuples(raw_values, instants), min_size=1, max_size=12),
    devices=messages,
    patients=messages,
    registry_first=st.booleans(),
)
@example(
    records=[(to_bytes(base), NOON) for base in (*ENVELOPES, *BY_ONE_NAME)],
    devices=[(to_bytes(DEVICE_STATE | {"note": "\U0010ffff" * 200_000}), NOON)],
    patients=[(to_bytes(PATIENT_STATE | {"zipCode": "x" * 500_000}), NOON)],
    registry_first=True,
)
async def test_whatever_comes_out_can_be_stored(
    pipeline: Pipeline,
    records: list[tuple[bytes | None, datetime | None]],
    devices: list[tuple[bytes | None, datetime | None]],
    patients: list[tuple[bytes | None, datetime | None]],
    registry_first: bool,
) -> None:
    """Each record has its line in the ledger, which says in every column what was judged, and can be read again."""

    async def tell() -> None:
        await pipeline.tell(About.DEVICE, devices)
        await pipeline.tell(About.PATIENT, patients)

    if registry_first:
        await tell()
    given_records = await pipeline.take(records)
    await holds(pipeline, given_records)
    if not registry_first:
        await tell()
        while await correct(database=pipeline.database, registry=pipeline.registry, law=LAW):
            pass
    await holds(pipeline, given_records)


async def test_a_reading_at_the_end_of_time_can_be_read_again(pipeline: Pipeline) -> None:
    """`LATEST_INSTANT` stands for every instant beyond it; a record timestamp in microseconds is cut to that day too."""
    received = datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    value = to_bytes(put(whole("weight"), ("payload", "readingTimestamp"), "9999-12-31T23:59:59-12:00"))
    await holds(pipeline, await pipeline.take([(value, received)]))
    await holds(pipeline, await pipeline.take([(value, received)]))


async def holds(pipeline: Pipeline, given_records: Sequence[Record]) -> None:
    counted = await pipeline.database.fetch(
        "SELECT (SELECT count(*) FROM readings) + (SELECT count(*) FROM rejections) + (SELECT count(*) FROM device_states)"
        " + (SELECT count(*) FROM patient_states) AS rows, (SELECT sum(next_offset - first_offset) FROM source_positions) AS taken"
    )
    assert counted[0]["rows"] == counted[0]["taken"]
    for view in ("devices", "patients", *(re.sub("([A-Z])", r"_\1", kind).lower() + "_readings" for kind in Kind)):
        await pipeline.database.fetch(f"SELECT * FROM {view}")
    offset = given_records[0].place.offset
    stored = {
        entry.place: entry
        for row in await pipeline.database.fetch(
            "SELECT r.*, s.source FROM readings r JOIN sources s USING (source_id) WHERE source_offset >= $1", offset
        )
        for entry in [reading_of(row)]
    }
    set_aside = {
        Place(row["source"], row["source_partition"], row["source_offset"]): row
        for row in await pipeline.database.fetch(
            "SELECT r.*, r.reason::text AS word, s.source FROM rejections r JOIN sources s USING (source_id)"
            " WHERE source_offset >= $1 AND source = $2",
            *(offset, SOURCE),
        )
    }
    known = await learned(pipeline.database)  # the pipeline's own has forgotten whoever was told of since
    for one in given_records:
        assert (one.place in stored) != (one.place in set_aside)
        judgement = judge(one, first_seen=NOON, registry=known, law=LAW).judgement
        if one.place in stored:
            assert stored[one.place].judgement == judgement
            assert stored[one.place].received_at == one.received_at
            continue
        row = set_aside[one.place]
        if isinstance(judgement, Rejected):
            assert (row["word"], row["detail"], row["payload"]) == (
                judgement.reason,
                judgement.detail,
                judgement.payload,
            )
        else:
            assert row["word"] in (Reason.DUPLICATE, Reason.CONFLICTING_DUPLICATE)
            assert row["payload"] == canonical_envelope(judgement.reading)
        if judgement.reading is not None and row["word"] != Reason.TIMESTAMP_IMPLAUSIBLE:
            again = understand(row["payload"], max_bytes=len(row["payload"]), max_depth=Law().max_depth)
            assert isinstance(again, Reading)
            assert again == judgement.reading
