"""What the views answer, told by hand: on PostgreSQL, on TimescaleDB as it comes, and there refreshed and columnar."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from enrich.law import Law
from enrich.zones import table_zones
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.law_parameters import adopt_parameters, parameters
from schemas.kinds import Kind
from sinks.database import Database
from sinks.migrate import migrate
from tests.build import at
from tests.conftest import ON_TIMESCALE, empty, fresh_database
from tests.fill import DEVICES, PATIENTS, fill
from tests.practice import EDT, EST, HST, MST, given, insert_what_is_copied, opened, told

POSTGRES, LIVE, REFRESHED = "postgres", "timescale", "timescale, refreshed and columnar"
on_every_engine = pytest.mark.parametrize(
    "practice",
    [POSTGRES, pytest.param(LIVE, marks=ON_TIMESCALE), pytest.param(REFRESHED, marks=ON_TIMESCALE)],
    indirect=True,
)

Ask = Callable[..., Awaitable[list[tuple[Any, ...]]]]


class Practice:
    """The practice in a database, and whoever asks it."""

    def __init__(self, url: str, *, refreshed: bool) -> None:
        self.url, self._refreshed = url, refreshed

    async def ask(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self.url)
        try:
            return [tuple(row) for row in await connection.fetch(query, *arguments)]
        finally:
            await connection.close()

    async def never_measured(self, patient: int) -> None:
        """One more patient in the registry."""
        since = "2025-01-01T00:00"
        await fill(self.url, told(PATIENTS, [(since, {"patientId": patient, "zipCode": "19137"})], partition=1), [])

    async def settle(self) -> None:
        """What TimescaleDB's policies do in the background, where they are looked at."""
        if self._refreshed:
            connection = await asyncpg.connect(self.url)
            try:
                await connection.execute("CALL refresh_continuous_aggregate('hourly_summaries_utc', NULL, NULL)")
                await connection.execute("SELECT compress_chunk(chunk) FROM show_chunks('readings') AS chunk")
            finally:
                await connection.close()


@pytest.fixture
async def practice(
    request: pytest.FixtureRequest,
    postgres_server: EmbeddedPostgres,
    migrated_template: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Practice]:
    if request.param == POSTGRES:
        async with fresh_database(postgres_server, migrated_template) as url:
            await opened(url)
            yield Practice(url, refreshed=False)
        return
    timescale = request.getfixturevalue("timescale")
    insert_what_is_copied(monkeypatch)
    await empty(timescale)
    database = Database(timescale.url, timeout_s=30)
    await migrate(database)
    await adopt_parameters(database, parameters(Law(), table_zones()))
    await database.close()
    await opened(timescale.url)
    made = Practice(timescale.url, refreshed=request.param == REFRESHED)
    await made.settle()
    yield made


def local(text: str) -> datetime:
    """`2025-03-09T23:30` on somebody's clock."""
    return datetime.fromisoformat(text)


def days(text: str) -> date:
    return date.fromisoformat(text)


# --- clocks -----------------------------------------------------------------------------------------------------------


@on_every_engine
async def test_each_reading_stands_on_the_patients_and_on_the_devices_own_clock(practice: Practice) -> None:
    """Offsets are those of the moment: the hour that comes twice is told apart by nothing else."""
    rows = await practice.ask(
        "SELECT patient_local_time, patient_time_zone_offset, device_local_time FROM blood_pressure_readings"
        " WHERE device_id = 1 ORDER BY reading_timestamp"
    )
    assert rows == [
        (local("2025-03-08T23:30"), EST, None),
        (local("2025-03-09T00:30"), EST, None),
        (local("2025-03-09T01:59"), EST, None),
        (local("2025-03-09T03:00"), EDT, local("2025-03-09T02:00")),
        (local("2025-03-09T23:30"), EDT, None),
        (local("2025-03-10T00:30"), EDT, None),
        (local("2025-11-02T00:30"), EDT, None),
        (local("2025-11-02T01:30"), EDT, None),
        (local("2025-11-02T01:30"), EST, None),
        (local("2025-11-02T23:30"), EST, None),
        (local("2025-11-03T00:30"), EST, None),
    ]


ONE_OF_EACH: dict[Kind, tuple[dict[str, Any], dict[str, Any]]] = {
    Kind.HEART_RATE: ({"heartRate": 61}, {"heart_rate_bpm": 61}),
    Kind.HEART_RATE_VARIABILITY: (
        {
            "heartRateVariability": 40.5,
            "heartRate": 62,
            "heartRateVariabilityDuration": 300_000,
            "heartRateVariabilityAlgorithmType": "sdnn",
        },
        {
            "heart_rate_variability_ms": 40.5,
            "heart_rate_bpm": 62,
            "heart_rate_variability_duration_ms": 300_000,
            "heart_rate_variability_algorithm": "sdnn",
        },
    ),
    Kind.BLOOD_PRESSURE: (
        {"systolic": 121, "diastolic": 81, "heartRate": 63},
        {"systolic_mmhg": 121, "diastolic_mmhg": 81, "heart_rate_bpm": 63},
    ),
    Kind.BLOOD_GLUCOSE: (
        {"glucose": 101, "glucoseUnit": "mgdl", "beforeMeal": True, "afterMeal": False},
        {"glucose_mg_dl": 101, "before_meal": True, "after_meal": False},
    ),
    Kind.BLOOD_OXYGEN: (
        {"bloodOxygen": 97, "bloodOxygenUnit": "spo2", "heartRate": 64},
        {"blood_oxygen_pct": 97, "heart_rate_bpm": 64},
    ),
    Kind.WEIGHT: ({"weight": 180.25, "weightUnit": "lbs"}, {"weight_lb": 180.25}),
    Kind.TEMPERATURE: ({"temperature": 98.5, "temperatureUnit": "F"}, {"temperature_f": 98.5}),
    Kind.PEAK_FLOW: (
        {"peakExpiratoryFlow": 132.5, "forcedExpiratoryVolumeInOneSecond": 0.75},
        {"peak_expiratory_flow_l_min": 132.5, "fev1_l": 0.75},
    ),
    Kind.SLEEP_MAT_ACTIVITY: (
        {
            "bedTime": ["2022-06-30/20:01"],
            "getUpTime": ["2022-07-01/06:00"],
            "duration": "9:59",
            "bodyTurnOver": 12,
            "heartRate": 55,
            "respiration": 14,
        },
        {
            "bed_times": ["2022-06-30/20:01"],
            "get_up_times": ["2022-07-01/06:00"],
            "sleep_duration": "9:59",
            "body_turn_over": 12,
            "heart_rate_bpm": 55,
            "respiration": 14,
        },
    ),
    Kind.SLEEP_MAT_DURATION: (
        {
            "deepSleep": 90,
            "lightSleep": 240,
            "rem": 80,
            "duration": "6:50",
            "bodyTurnOver": 11,
            "heartRate": 56,
            "respiration": 13,
        },
        {
            "deep_sleep_min": 90,
            "light_sleep_min": 240,
            "rem_min": 80,
            "sleep_duration": "6:50",
            "body_turn_over": 11,
            "heart_rate_bpm": 56,
            "respiration": 13,
        },
    ),
}


def view_of(kind: Kind) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind) + "_readings"


@on_every_engine
async def test_every_kind_has_a_view_of_its_own_columns_and_nothing_else(practice: Practice) -> None:
    taken = "2025-07-01T12:00"
    readings = [(taken, {"kind": kind, "deviceId": 11, **sent}) for kind, (sent, _) in ONE_OF_EACH.items()]
    await fill(practice.url, [], given(readings, partition=1))
    await practice.settle()
    assert ONE_OF_EACH.keys() == set(Kind)
    for kind, (_, stored) in ONE_OF_EACH.items():
        rows = await practice.ask(f"SELECT to_jsonb(v) FROM {view_of(kind)} v WHERE reading_timestamp = $1", at(taken))
        assert len(rows) == 1, kind
        columns = await practice.ask(
            "SELECT array_agg(attname::text ORDER BY attnum) FROM pg_attribute"
            f" WHERE attrelid = '{view_of(kind)}'::regclass AND attnum > 0"
        )
        row = await practice.ask(f"SELECT * FROM {view_of(kind)} WHERE reading_timestamp = $1", at(taken))
        assert dict(zip(columns[0][0], row[0], strict=True)) == {
            "device_id": 11,
            "patient_id": 77,
            "customer_id": 11,
            "reading_timestamp": at(taken),
            "patient_local_time": local("2025-07-01T02:00"),
            "device_local_time": None,
            "received_at": row[0][6],
            "manual": False,
            "patient_time_zone": "Pacific/Honolulu",
            "patient_time_zone_offset": HST,
            "device_time_zone_offset": None,
            "reading_id": None,
            **stored,
        }, kind


@on_every_engine
async def test_the_latest_reading_is_the_one_taken_last_and_not_the_one_that_came_last(practice: Practice) -> None:
    late = [("2025-02-01T12:00", {"kind": "weight", "deviceId": 2, "weight": 200.0, "weightUnit": "lbs"})]
    await fill(practice.url, [], given(late, partition=1))
    rows = await practice.ask(
        "SELECT patient_id, reading_type::text, patient_local_time, systolic_mmhg, weight_lb, glucose_mg_dl, device_id"
        " FROM latest_readings ORDER BY patient_id, reading_type"
    )
    assert rows == [
        (7, "bloodPressure", local("2025-11-03T00:30"), 148, None, None, 1),
        (7, "weight", local("2025-06-01T22:30"), None, 177.0, None, 2),
        (8, "bloodGlucose", None, None, None, 140, 3),
        (77, "bloodPressure", local("2025-03-19T23:30"), 130, None, None, 11),
        (77, "temperature", local("2025-03-15T02:00"), None, None, None, None),
    ]


# --- summaries --------------------------------------------------------------------------------------------------------

DAILY = """
SELECT reading_type::text, local_day, readings, manual_readings, systolic_mmhg_avg, systolic_mmhg_min, systolic_mmhg_max,
    weight_lb_avg
FROM daily_summaries WHERE patient_id = 7 ORDER BY local_day, reading_type
"""
DAYS_OF_7 = [
    ("bloodPressure", days("2025-03-08"), 1, 0, 120.0, 120, 120, None),
    ("bloodPressure", days("2025-03-09"), 4, 0, 125.0, 122, 128, None),
    ("bloodPressure", days("2025-03-10"), 1, 0, 130.0, 130, 130, None),
    ("weight", days("2025-03-11"), 2, 1, None, None, None, 181.0),
    ("weight", days("2025-03-13"), 1, 1, None, None, None, 182.5),
    ("weight", days("2025-05-31"), 1, 0, None, None, None, 179.0),
    ("weight", days("2025-06-01"), 2, 0, None, None, None, 177.5),
    ("bloodPressure", days("2025-11-02"), 4, 0, 143.0, 140, 146, None),
    ("bloodPressure", days("2025-11-03"), 1, 0, 148.0, 148, 148, None),
]


@on_every_engine
async def test_a_day_is_the_patients_own_with_23_or_25_hours_when_clocks_change(practice: Practice) -> None:
    assert await practice.ask(DAILY) == DAYS_OF_7


@on_every_engine
async def test_an_hour_that_comes_twice_stands_twice(practice: Practice) -> None:
    rows = await practice.ask(
        "SELECT local_hour, patient_time_zone_offset, zone_unknown, readings, systolic_mmhg_avg FROM hourly_summaries"
        " WHERE patient_id = 7 AND local_hour >= '2025-11-02' ORDER BY local_hour, patient_time_zone_offset DESC"
    )
    assert rows == [
        (local("2025-11-02T00:00"), EDT, False, 1, 140.0),
        (local("2025-11-02T01:00"), EDT, False, 1, 142.0),
        (local("2025-11-02T01:00"), EST, False, 1, 144.0),
        (local("2025-11-02T23:00"), EST, False, 1, 146.0),
        (local("2025-11-03T00:00"), EST, False, 1, 148.0),
    ]


@on_every_engine
async def test_where_the_zone_is_not_known_the_day_is_utcs_and_says_so(practice: Practice) -> None:
    rows = await practice.ask(
        "SELECT local_day, zone_unknown, readings, glucose_mg_dl_avg, glucose_mg_dl_min FROM daily_summaries"
        " WHERE patient_id = 8"
    )
    assert rows == [(days("2025-03-09"), True, 2, 120.0, 100)]


@on_every_engine
async def test_summaries_add_up_what_is_in_the_readings(practice: Practice) -> None:
    """Of everybody, by the hour of UTC: on TimescaleDB what is kept up to date, on PostgreSQL what is summed on the spot."""
    kept = await practice.ask(
        "SELECT patient_id, reading_type::text, hour_utc, sum(readings)::int, sum(heart_rate_bpm_sum)::int,"
        " sum(systolic_mmhg_sum)::int FROM hourly_summaries_utc GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    summed = await practice.ask(
        "SELECT patient_id, reading_type::text, date_trunc('hour', reading_timestamp), count(*)::int,"
        " sum(heart_rate_bpm)::int, sum(systolic_mmhg)::int FROM readings WHERE patient_id IS NOT NULL"
        " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    )
    assert kept == summed
    assert len(kept) == 39


@on_every_engine
async def test_a_late_reading_and_a_late_change_reach_the_summaries_however_old_they_are(practice: Practice) -> None:
    """The patient turns out to have lived in Phoenix from March on: days move, and nothing of the old ones is left."""
    late = [("2025-03-09T05:45", {"kind": "bloodPressure", "deviceId": 1, "systolic": 132, "diastolic": 80})]
    await fill(practice.url, [], given(late, partition=1))
    moved = told(PATIENTS, [("2025-03-05T00:00", {"patientId": 7, "zipCode": "85001"})], partition=1)
    await fill(practice.url, moved, [])
    await practice.settle()
    assert await practice.ask(f"SELECT * FROM ({DAILY}) AS d WHERE local_day < '2025-04-01'") == [
        ("bloodPressure", days("2025-03-08"), 4, 0, 124.5, 120, 132, None),
        ("bloodPressure", days("2025-03-09"), 3, 0, 128.0, 126, 130, None),
        ("weight", days("2025-03-11"), 2, 1, None, None, None, 181.0),
        ("weight", days("2025-03-13"), 1, 1, None, None, None, 182.5),
    ]
    offsets = await practice.ask(
        "SELECT DISTINCT patient_time_zone_offset FROM hourly_summaries WHERE patient_id = 7 AND local_hour < '2025-04-01'"
    )
    assert offsets == [(MST,)]


@on_every_engine
async def test_what_is_taken_back_leaves_the_summaries(practice: Practice) -> None:
    gone = told(DEVICES, [("2025-03-10T00:00", {"deviceId": 1, "currentStatus": "decommissioned"})], partition=1)
    await fill(practice.url, gone, [])
    await practice.settle()
    assert await practice.ask(DAILY) == [
        ("bloodPressure", days("2025-03-08"), 1, 0, 120.0, 120, 120, None),
        ("bloodPressure", days("2025-03-09"), 3, 0, 124.0, 122, 126, None),
        *DAYS_OF_7[3:7],
    ]


# --- reading days -----------------------------------------------------------------------------------------------------

DAYS = """
SELECT first_day, last_day, days, manual_days, zone_unknown, band FROM reading_days
WHERE patient_id = $1 AND first_day = ANY ($2) ORDER BY first_day
"""


@on_every_engine
async def test_days_are_counted_across_midnight_clock_changes_and_zones(practice: Practice) -> None:
    """Patient 7: the 8th, 9th, 10th and 11th of March are measured, the 11th and 13th typed in; 31 May and 1 June, the
    latter in two zones; 2 and 3 November. By UTC or by one offset all the year each of these would differ."""
    firsts = ["2025-02-06", "2025-02-07", "2025-02-11", "2025-03-08", "2025-03-09", "2025-03-11", "2025-03-12"]
    firsts += ["2025-03-13", "2025-03-14", "2025-05-02", "2025-05-03", "2025-06-01", "2025-06-02", "2025-10-05"]
    assert await practice.ask(DAYS, 7, [days(first) for first in firsts]) == [
        (days("2025-02-07"), days("2025-03-08"), 1, 0, False, "none"),
        (days("2025-02-11"), days("2025-03-12"), 4, 1, False, "2-15"),
        (days("2025-03-08"), days("2025-04-06"), 4, 2, False, "2-15"),
        (days("2025-03-09"), days("2025-04-07"), 3, 2, False, "2-15"),
        (days("2025-03-11"), days("2025-04-09"), 1, 2, False, "none"),
        (days("2025-03-12"), days("2025-04-10"), 0, 1, False, "none"),
        (days("2025-03-13"), days("2025-04-11"), 0, 1, False, "none"),
        (days("2025-05-02"), days("2025-05-31"), 1, 0, False, "none"),
        (days("2025-05-03"), days("2025-06-01"), 2, 0, False, "2-15"),
        (days("2025-06-01"), days("2025-06-30"), 1, 0, False, "none"),
        (days("2025-10-05"), days("2025-11-03"), 2, 0, False, "2-15"),
    ]


@on_every_engine
async def test_bands_begin_at_2_and_at_16_days(practice: Practice) -> None:
    """Patient 77 was measured on the twenty days from 28 February to 19 March in Honolulu, 1 to 20 March by UTC."""
    firsts = ["2025-01-29", "2025-01-30", "2025-01-31", "2025-02-28", "2025-03-04", "2025-03-05", "2025-03-18"]
    firsts += ["2025-03-19", "2025-03-20"]
    assert await practice.ask(DAYS, 77, [days(first) for first in firsts]) == [
        (days("2025-01-30"), days("2025-02-28"), 1, 0, False, "none"),
        (days("2025-01-31"), days("2025-03-01"), 2, 0, False, "2-15"),
        (days("2025-02-28"), days("2025-03-29"), 20, 0, False, "16+"),
        (days("2025-03-04"), days("2025-04-02"), 16, 0, False, "16+"),
        (days("2025-03-05"), days("2025-04-03"), 15, 0, False, "2-15"),
        (days("2025-03-18"), days("2025-04-16"), 2, 0, False, "2-15"),
        (days("2025-03-19"), days("2025-04-17"), 1, 0, False, "none"),
    ]


@on_every_engine
async def test_without_an_offset_the_day_is_utcs_and_zone_unknown_says_so(practice: Practice) -> None:
    """4:30 and 23:30 of one day by UTC, two days in New York."""
    assert await practice.ask(DAYS, 8, [days("2025-03-08"), days("2025-03-09"), days("2025-03-10")]) == [
        (days("2025-03-08"), days("2025-04-06"), 1, 0, True, "none"),
        (days("2025-03-09"), days("2025-04-07"), 1, 0, True, "none"),
    ]


@on_every_engine
async def test_every_first_day_is_counted_as_one_would_by_hand(practice: Practice) -> None:
    """All rows of all patients, against the days counted one by one."""
    measured: dict[tuple[int, bool], set[date]] = {}
    for patient, taken, offset, manual in await practice.ask(
        "SELECT patient_id, reading_timestamp, patient_time_zone_offset, manual FROM readings WHERE patient_id IS NOT NULL"
    ):
        measured.setdefault((patient, manual), set()).add((taken + timedelta(seconds=offset or 0)).date())
    expected = set()
    for patient in (7, 8, 77):
        first = days("2025-01-01")
        while first.year == 2025:
            span = {first + timedelta(days=n) for n in range(30)}
            counts = [len(span & measured.get((patient, manual), set())) for manual in (False, True)]
            if any(counts):
                expected.add((patient, first, *counts))
            first += timedelta(days=1)
    rows = await practice.ask("SELECT patient_id, first_day, days, manual_days FROM reading_days")
    assert len(rows) == len(expected)
    assert set(rows) == expected


@on_every_engine
async def test_a_period_of_everybody_is_what_reading_days_says_of_it(practice: Practice) -> None:
    """The function reads a month and a little, and the view everything."""
    firsts = [row[0] for row in await practice.ask("SELECT DISTINCT first_day FROM reading_days ORDER BY 1")]
    assert len(firsts) > 100
    columns = "patient_id, {}, last_day, days, manual_days, zone_unknown, band"
    period = f"SELECT {columns.format('f')} FROM unnest($1::date[]) AS f, reading_days_from(f) ORDER BY 2, 1"
    view = f"SELECT {columns.format('first_day')} FROM reading_days ORDER BY 2, 1"
    assert await practice.ask(period, firsts) == await practice.ask(view)
    assert await practice.ask("SELECT * FROM reading_days_from('2024-01-01')") == []


# --- devices, rejections, the ledger ----------------------------------------------------------------------------------


@on_every_engine
async def test_a_devices_silence_begins_when_anything_of_it_was_last_received(practice: Practice) -> None:
    """And what it sends although it is decommissioned counts from the last time that it became so."""
    rows = await practice.ask(
        "SELECT device_id, customer_id, patient_id, current_status, last_reading_at, last_refused_at, silent_since,"
        " blocked_since, refused_since_decommissioning FROM device_activity ORDER BY device_id"
    )
    minute, second = timedelta(minutes=1), timedelta(seconds=1)
    assert rows == [
        (
            1,
            1,
            7,
            "withPatient",
            at("2025-11-03T05:30"),
            at("2025-03-09T05:31") + second,
            at("2025-11-03T05:31"),
            None,
            0,
        ),
        (2, 1, 7, "withPatient", at("2025-06-02T05:30"), None, at("2025-06-02T05:31"), None, 0),
        (3, 1, 8, "withPatient", at("2025-03-09T23:30"), None, at("2025-03-09T23:31"), None, 0),
        (
            4,
            1,
            None,
            "decommissioned",
            at("2025-03-18T12:00"),
            at("2025-03-22T12:01"),
            at("2025-03-22T12:00") + minute,
            at("2025-03-20T00:00"),
            2,
        ),
        (11, 11, 77, "withPatient", at("2025-03-20T09:30"), None, at("2025-03-20T09:31"), None, 0),
    ]


@on_every_engine
async def test_rejections_are_counted_by_day_of_receipt_reason_kind_and_customer(practice: Practice) -> None:
    rows = await practice.ask(
        "SELECT day, reason::text, reading_type::text, customer_id, rejections, devices FROM rejections_daily ORDER BY 1, 2"
    )
    assert sorted(rows) == [
        (days("2025-03-09"), "conflicting_duplicate", "bloodPressure", 1, 1, 1),
        (days("2025-03-09"), "duplicate", "bloodPressure", 1, 1, 1),
        (days("2025-03-11"), "invalid", "weight", None, 1, 0),
        (days("2025-03-21"), "device_decommissioned", "heartRate", 1, 1, 1),
        (days("2025-03-22"), "device_decommissioned", "heartRate", 1, 1, 1),
    ]


@on_every_engine
async def test_the_ledger_tells_of_every_place_what_became_of_it(practice: Practice) -> None:
    rows = await practice.ask(
        "SELECT source, source_partition, source_offset, last_offset, became, detail, device_id, patient_id FROM ledger"
        " WHERE source_partition = 0 AND source_offset IN (0, 7, 42, 43) ORDER BY source, source_offset"
    )
    raw, devices, patients = "kafka:readings.raw", "kafka:registry.devices", "kafka:registry.patients"
    assert rows == [
        (raw, 0, 0, 0, "reading", None, 1, 7),
        (raw, 0, 7, 7, "reading", None, 2, 7),
        (raw, 0, 42, 42, "reading", None, None, 77),
        (raw, 0, 43, 43, "duplicate", None, 1, 7),
        (devices, 0, 0, 0, "device state", None, 1, None),
        (devices, 0, 7, 7, "device state", None, 4, None),
        (patients, 0, 0, 0, "patient state", None, None, 7),
    ]
    assert await practice.ask("SELECT count(*) FROM ledger") == [(46 + 8 + 5,)]
