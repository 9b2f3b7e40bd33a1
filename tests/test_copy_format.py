"""What is packed for COPY is what the row says: value by value, as PostgreSQL gives it back."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from schemas.judgement import Accepted, Entry
from schemas.kinds import Kind
from schemas.reading import MEASURES_OF, Reading
from schemas.record import Place
from schemas.wire import EARLIEST_INSTANT, LATEST_INSTANT
from sinks.copy_format import PACKED_COLUMNS, packed, row_of
from sinks.database import Database
from sinks.errors import RefusedRowError
from sinks.ledger import Source, open_source
from sinks.readings import insert_readings
from sinks.rows import READING_COLUMNS, reading_row
from tests.build import NOON, SOURCE

LEAST: dict[str, Any] = {
    "heart_rate_variability_duration_ms": -(2**63),
    "heart_rate_variability_algorithm": "",
    "bed_times": [],
    "get_up_times": [""],
    "sleep_duration": "7 Std 50 Min – gemütlich",
    "before_meal": False,
    "after_meal": True,
}
MOST: dict[str, Any] = {
    "heart_rate_variability_duration_ms": 2**63 - 1,
    "heart_rate_variability_algorithm": "sdnn",
    "bed_times": ["21:40~06:10", "", "ü"],
    "get_up_times": ["02:05~02:15", "x" * 70_000],
    "sleep_duration": "\x01'\\,\t\n",
    "before_meal": True,
    "after_meal": False,
}
DOUBLES = {"heart_rate_variability_ms", "weight_lb", "temperature_f", "peak_expiratory_flow_l_min", "fev1_l"}


def measures(kind: Kind, said: dict[str, Any], double: float, integer: int) -> tuple[Any, ...]:
    return tuple(said.get(name, double if name in DOUBLES else integer) for name in MEASURES_OF[kind])


def entries(kind: Kind) -> list[Entry[Accepted]]:
    """One that says the least, one that says the most, one that says everything, and some that leave one measure out."""
    full = measures(kind, MOST, -2.5e-300, 2**31 - 1)
    absent = [(*full[:number], None, *full[number + 1 :]) for number in range(len(full))]
    told: list[Accepted] = [
        Accepted(
            Reading(kind, moment, device, identifiers, patient, offset, bool(number % 2), number or None, said),
            device and device + 1,
            patient,
            None if patient is None else 2**63 - 1,
            None if offset is None else "America/Indiana/Tell_City",
            offset and -offset,
        )
        for number, (moment, device, identifiers, patient, offset, said) in enumerate(
            [
                (EARLIEST_INSTANT, 1, (), None, None, (None,) * len(full)),
                (LATEST_INSTANT, None, (), 7, 0, measures(kind, LEAST, 1e300, -(2**31))),
                (NOON, 2**63 - 2, ("S1", "ü" * 255, " "), 2**63 - 1, -43_200, full),
                (datetime.fromisoformat("1970-01-01T00:00:00.000001+00:00"), 5, ("S",), None, 50_400, full),
                *((NOON + timedelta(seconds=n), 9, ("S",), None, 1, said) for n, said in enumerate(absent)),
            ]
        )
    ]
    received = [None, EARLIEST_INSTANT, LATEST_INSTANT, NOON]
    return [
        Entry(Place(SOURCE, 2**31 - 1 - n, 2**63 - 1 - n), received[n % len(received)], one)
        for n, one in enumerate(told)
    ]


@pytest.mark.parametrize("kind", Kind)
async def test_what_is_packed_is_what_the_database_gives_back(migrated: str, kind: Kind) -> None:
    database = Database(migrated, timeout_s=10)
    given = entries(kind)
    async with database.transaction() as connection:
        source = await open_source(connection, SOURCE, first_seen=NOON)
        await insert_readings(connection, given, {SOURCE: source})
        found = await connection.fetch(f"SELECT {', '.join(READING_COLUMNS)} FROM readings ORDER BY source_offset DESC")
    await database.close()

    def told(row: Any) -> list[Any]:
        """Infinite moments come without a zone; what is several comes as a list."""
        values = [value.replace(tzinfo=NOON.tzinfo) if isinstance(value, datetime) else value for value in row]
        return [list(value) if isinstance(value, tuple) else value for value in values]

    assert [told(row) for row in found] == [told(reading_row(entry, {SOURCE: source})) for entry in given]


def test_every_column_is_packed() -> None:
    assert sorted(PACKED_COLUMNS) == sorted(READING_COLUMNS)


@pytest.mark.parametrize(
    ("device_id", "partition", "offset_s"), [(2**63, 0, 0), (-(2**63) - 1, 0, 0), (1, 2**31, 0), (1, 0, -(2**31) - 1)]
)
def test_what_no_column_holds_is_refused_and_never_wrapped_around(
    device_id: int, partition: int, offset_s: int
) -> None:
    reading = Reading(Kind.WEIGHT, NOON, device_id, (), None, None, False, None, (150.0,))
    entry = Entry(Place(SOURCE, partition, 0), NOON, Accepted(reading, device_id, None, None, None, offset_s))
    sources = {SOURCE: Source(1, SOURCE, NOON)}
    assert row_of(entry, sources) is None
    with pytest.raises(ValueError, match="convert"):
        packed([entry], sources)


@pytest.mark.parametrize(
    "said", [(), (150.0, 150.0), ("150",), (10**400,)], ids=["too few", "too many", "text", "huge"]
)
async def test_measures_that_its_columns_do_not_hold_refuse_a_reading(migrated: str, said: tuple[Any, ...]) -> None:
    reading = Reading(Kind.WEIGHT, NOON, 1, (), None, None, False, None, said)
    entry = Entry(Place(SOURCE, 0, 0), NOON, Accepted(reading, 1, None, None, None, None))
    database = Database(migrated, timeout_s=10)
    with pytest.raises(RefusedRowError, match=r"^readings: a value cannot be encoded for its column$"):
        async with database.transaction() as connection:
            await insert_readings(connection, [entry], {SOURCE: Source(1, SOURCE, NOON)})
    await database.close()
