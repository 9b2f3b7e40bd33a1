"""Readings in the binary format of COPY, packed by `struct`: half of what asyncpg takes to encode value by value.

Source: https://www.postgresql.org/docs/current/sql-copy.html (Binary Format), and what `recv` of each type reads:
numbers big-endian, instants in µs since 2000-01-01 UTC, text as UTF-8, an array as its dimensions and members.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import MAXYEAR, UTC, datetime
from functools import lru_cache, partial
from itertools import chain, pairwise
from struct import Struct
from typing import Any, Final

from schemas.judgement import Accepted, Entry
from schemas.kinds import Kind
from schemas.reading import MEASURES, MEASURES_OF
from schemas.wire import EARLIEST_INSTANT, LATEST_INSTANT
from sinks.ledger import Source

PACKED_COLUMNS: Final = (
    "subject",
    "reading_timestamp",
    "manual",
    "source_offset",
    "source_partition",
    "source_id",
    "reading_type",
    "received_at",
    "device_id",
    "patient_id",
    "customer_id",
    "reading_id",
    "device_id_named",
    "patient_id_named",
    "device_time_zone_offset",
    "patient_time_zone_offset",
    "patient_time_zone",
    "identifiers_named",
    *MEASURES,
)
"""Those of `READING_COLUMNS`, in another order: what every reading has comes first, for one `Struct` to pack."""

_BEGINNING: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_TEXT_OID: Final = 25

_always: Final = Struct(">h iq iq i? iq ii ii").pack
_bigint: Final = Struct(">iq").pack
_integer: Final = Struct(">ii").pack
_length: Final = Struct(">i").pack
_array_of_one: Final = Struct(">iiiiiii").pack

_EDGES: Final = {EARLIEST_INSTANT: -(2**63), LATEST_INSTANT: 2**63 - 1}
"""They stand for ±infinity."""


def packed(entries: Iterable[Entry[Accepted]], sources: Mapping[str, Source]) -> bytes:
    """Rows of `PACKED_COLUMNS`, sorted by subject and time, as `COPY … FROM STDIN (FORMAT binary)` takes them.

    :raises struct.error, ValueError: where a value is none that its column holds.
    """
    rows, width = [], len(PACKED_COLUMNS)
    for entry in entries:
        place, accepted, received_at = entry.place, entry.judgement, entry.received_at
        reading, device_id, patient_id = accepted.reading, accepted.device_id, accepted.patient_id
        customer_id, reading_id, device_named = accepted.customer_id, reading.reading_id, reading.device_id_named
        patient_named, device_offset = reading.patient_id_named, reading.device_time_zone_offset
        zone, patient_offset = accepted.patient_time_zone, accepted.patient_time_zone_offset
        row = (
            # What every reading has, the key first: by it the rows are sorted.
            _always(width, 8, accepted.subject, 8, _us(reading.reading_timestamp), 1, reading.manual, 8, place.offset,
                    4, place.partition, 4, sources[place.source].source_id),
            _KINDS[reading.kind],
            _NULL if received_at is None else _bigint(8, _us(received_at)),
            _NULL if device_id is None else _bigint(8, device_id),
            _NULL if patient_id is None else _bigint(8, patient_id),
            _NULL if customer_id is None else _bigint(8, customer_id),
            _NULL if reading_id is None else _bigint(8, reading_id),
            _NULL if device_named is None else _bigint(8, device_named),
            _NULL if patient_named is None else _bigint(8, patient_named),
            _NULL if device_offset is None else _integer(4, device_offset),
            _NULL if patient_offset is None else _integer(4, patient_offset),
            _NULL if zone is None else _zone(zone),
            _texts(reading.identifiers_named) if reading.identifiers_named else _NULL,
            _MEASURES[reading.kind](reading.measures),
        )  # fmt: skip
        rows.append(b"".join(row))
    rows.sort()
    return b"".join((_BEGINNING, *rows, _END))


def _us(at: datetime) -> int:
    if not 1 < at.year < MAXYEAR and at in _EDGES:
        return _EDGES[at]
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _text(value: str) -> bytes:
    said = value.encode()
    return _length(len(said)) + said


@lru_cache(maxsize=1_024)  # more than there are zones
def _zone(name: str) -> bytes:
    return _text(name)


def _texts(values: Sequence[str]) -> bytes:
    if len(values) == 1:  # as nearly always
        said = values[0].encode()
        size = len(said)
        return _array_of_one(24 + size, 1, 0, _TEXT_OID, 1, 1, size) + said
    dimensions = struct.pack(">ii", len(values), 1) if values else b""
    members = b"".join(map(_text, values))
    return struct.pack(">iiii", 12 + len(dimensions) + len(members), bool(values), 0, _TEXT_OID) + dimensions + members


_NO_INTEGERS: Final[dict[str, str | Callable[[Any], bytes]]] = {
    "heart_rate_variability_ms": "d",
    "heart_rate_variability_duration_ms": "q",
    "heart_rate_variability_algorithm": _text,
    "before_meal": "?",
    "after_meal": "?",
    "weight_lb": "d",
    "temperature_f": "d",
    "peak_expiratory_flow_l_min": "d",
    "fev1_l": "d",
    "bed_times": _texts,
    "get_up_times": _texts,
    "sleep_duration": _text,
}
"""How measures are packed that are no integers: by a function, or as `struct` calls it."""


def _packer(kind: Kind) -> Callable[[Sequence[Any]], bytes]:
    """Packs the measures of one kind, with the nulls in the columns of all others."""
    columns, ours = list(MEASURES), MEASURES_OF[kind]
    places = [columns.index(column) for column in ours]
    nulls = [_NULL * (after - before - 1) for before, after in pairwise([-1, *places, len(columns)])]
    codes = [_NO_INTEGERS.get(column, "i") for column in ours]
    packers = [_number(code) if isinstance(code, str) else code for code in codes]

    def one_by_one(measures: Sequence[Any]) -> bytes:
        said = [_NULL if value is None else pack(value) for pack, value in zip(packers, measures, strict=True)]
        return b"".join([*chain.from_iterable(zip(nulls, said, strict=False)), nulls[-1]])

    if not all(isinstance(code, str) for code in codes):
        return one_by_one
    # All are numbers: what stands before each, nulls and a length, is always the same.
    before = [some + _length(struct.calcsize(f">{code}")) for some, code in zip(nulls, codes, strict=False)]
    code = "".join(f"{len(some)}s{code}" for some, code in zip(before, codes, strict=True))
    pack = Struct(f">{code}{len(nulls[-1])}s").pack
    form: list[Any] = [*chain.from_iterable((some, None) for some in before), nulls[-1]]

    def all_at_once(measures: Sequence[Any]) -> bytes:
        if None in measures:
            return one_by_one(measures)
        form[1::2] = measures
        return pack(*form)

    return all_at_once


def _number(code: str) -> Callable[[Any], bytes]:
    number = Struct(f">i{code}")
    return partial(number.pack, number.size - 4)


_KINDS: Final = {kind: _text(kind) for kind in Kind}
_MEASURES: Final = {kind: _packer(kind) for kind in Kind}
