"""Readings in the binary format of COPY: compiled, for two thirds of what asyncpg takes to encode and send them.

Source: https://www.postgresql.org/docs/current/sql-copy.html (Binary Format), and what `recv` of each type reads:
numbers big-endian, instants in µs since 2000-01-01 UTC, text as UTF-8, an array as its dimensions and members.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from librt.strings import BytesWriter, write_f64_be, write_i16_be, write_i32_be, write_i64_be

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
"""Those of `READING_COLUMNS`, in another order: the key comes first, since by it the rows are sorted."""

_BEGINNING: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_TEXT_OID: Final = 25


NO_SUCH_VALUE: Final = (OverflowError, TypeError, ValueError)
"""What is raised for a value that its column does not hold."""


def row_of(entry: Entry[Accepted], sources: Mapping[str, Source]) -> bytes | None:
    """One row of `packed`; None where a value is none that its column holds: `packed` will tell."""
    try:
        return _row(entry, sources[entry.place.source].source_id)
    except NO_SUCH_VALUE:
        return None


def packed(entries: Iterable[Entry[Accepted]], sources: Mapping[str, Source]) -> bytes:
    """Rows of `PACKED_COLUMNS`, sorted by subject and time, as `COPY … FROM STDIN (FORMAT binary)` takes them.

    :raises OverflowError, TypeError, ValueError: where a value is none that its column holds.
    """
    rows = [entry.row or _row(entry, sources[entry.place.source].source_id) for entry in entries]
    rows.sort()
    return b"".join([_BEGINNING, *rows, _END])


def _row(entry: Entry[Accepted], source_id: int) -> bytes:
    place, accepted = entry.place, entry.judgement
    reading = accepted.reading
    columns = _COLUMNS[reading.kind]
    row = BytesWriter()
    write_i16_be(row, len(PACKED_COLUMNS))
    _bigint(row, accepted.subject)
    _instant(row, reading.reading_timestamp)
    _boolean(row, reading.manual)
    _bigint(row, place.offset)
    _integer(row, place.partition)
    _integer(row, source_id)
    row.write(columns.kind)
    _instant(row, entry.received_at)
    _bigint(row, accepted.device_id)
    _bigint(row, accepted.patient_id)
    _bigint(row, accepted.customer_id)
    _bigint(row, reading.reading_id)
    _bigint(row, reading.device_id_named)
    _bigint(row, reading.patient_id_named)
    _integer(row, reading.device_time_zone_offset)
    _integer(row, accepted.patient_time_zone_offset)
    _text(row, accepted.patient_time_zone)
    _texts(row, reading.identifiers_named or None)
    if len(reading.measures) != len(columns.write):
        raise ValueError("more measures than the kind has, or fewer")  # COPY would take the next row for the rest of it
    for number, value in enumerate(reading.measures):
        row.write(columns.nulls_before[number])
        columns.write[number](row, value)
    row.write(columns.nulls_behind)
    return row.getvalue()


def _integer(row: BytesWriter, value: int | None) -> None:
    if value is None:
        row.write(_NULL)
    else:
        write_i32_be(row, 4)
        write_i32_be(row, value)


def _bigint(row: BytesWriter, value: int | None) -> None:
    if value is None:
        row.write(_NULL)
    else:
        write_i32_be(row, 8)
        write_i64_be(row, value)


def _double(row: BytesWriter, value: float | None) -> None:
    if value is None:
        row.write(_NULL)
    else:
        write_i32_be(row, 8)
        write_f64_be(row, value)


def _boolean(row: BytesWriter, value: bool | None) -> None:
    if value is None:
        row.write(_NULL)
    else:
        write_i32_be(row, 1)
        row.append(value)


def _instant(row: BytesWriter, at: datetime | None) -> None:
    if at is None:
        row.write(_NULL)
    else:
        write_i32_be(row, 8)
        us = _us(at)
        write_i64_be(row, -(2**63) if us == _EARLIEST_US else 2**63 - 1 if us == _LATEST_US else us)


def _us(at: datetime) -> int:
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_EARLIEST_US: Final = _us(EARLIEST_INSTANT)
_LATEST_US: Final = _us(LATEST_INSTANT)
"""These stand for infinity, of which -2**63 and 2**63 - 1 tell PostgreSQL."""


def _text(row: BytesWriter, value: str | None) -> None:
    if value is None:
        row.write(_NULL)
    else:
        said = value.encode()
        write_i32_be(row, len(said))
        row.write(said)


def _texts(row: BytesWriter, values: Sequence[str] | None) -> None:
    if values is None:
        row.write(_NULL)
        return
    said = [value.encode() for value in values]
    dimensions = 1 if said else 0
    write_i32_be(row, 12 + 8 * dimensions + sum([4 + len(one) for one in said]))
    write_i32_be(row, dimensions)
    write_i32_be(row, 0)  # no member is null
    write_i32_be(row, _TEXT_OID)
    if said:
        write_i32_be(row, len(said))
        write_i32_be(row, 1)  # the first has that number
    for one in said:
        write_i32_be(row, len(one))
        row.write(one)


_Write = Callable[[BytesWriter, Any], None]
_NO_INTEGERS: Final[dict[str, _Write]] = {
    "heart_rate_variability_ms": _double,
    "heart_rate_variability_duration_ms": _bigint,
    "heart_rate_variability_algorithm": _text,
    "before_meal": _boolean,
    "after_meal": _boolean,
    "weight_lb": _double,
    "temperature_f": _double,
    "peak_expiratory_flow_l_min": _double,
    "fev1_l": _double,
    "bed_times": _texts,
    "get_up_times": _texts,
    "sleep_duration": _text,
}
"""How measures are written that are no integers."""


class _Columns:
    """How a kind and its measures are written, with the nulls of all others between them."""

    def __init__(self, kind: Kind) -> None:
        names, ours = list(MEASURES), MEASURES_OF[kind]
        places = [-1, *[names.index(name) for name in ours], len(names)]
        nulls = [_NULL * (after - before - 1) for before, after in pairwise(places)]
        said = kind.encode()
        self.kind: Final = len(said).to_bytes(4, "big") + said
        self.nulls_before: Final = nulls[:-1]
        self.nulls_behind: Final = nulls[-1]
        self.write: Final[list[_Write]] = [_NO_INTEGERS.get(name, _integer) for name in ours]


_COLUMNS: Final = {kind: _Columns(kind) for kind in Kind}
