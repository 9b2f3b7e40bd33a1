"""How long the questions of analysts take on many readings, and what the table costs on disk.

The readings are those of a year and of as many devices as make a thousand each; a patient a device, fifty customers.
They are made in the database itself and not by the pipeline: what is measured is asking. Without --url on the embedded
PostgreSQL; with one, on an empty database of that server, where TimescaleDB, when it is there, is refreshed, and columnar
where --columnar-before says so. --chunk-days compares chunks: what it costs the server to fill them, what to ask them.
"""

import argparse
import asyncio
import os
import sys
import time
from datetime import timedelta
from statistics import median

import asyncpg
import psutil

from enrich.law import Law
from enrich.zones import table_zones
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.law_parameters import adopt_parameters, parameters
from sinks.database import Database
from sinks.migrate import migrate

BEGINS, YEAR_S, BATCH = "2025-01-01Z", 365 * 86_400.0, 500_000
A_DEVICE, A_PATIENT, A_CUSTOMER, A_DAY, LAST = 17, 100_021, 3, "2025-11-12Z", "2025-12-31Z"


def _patient_of(device: str, devices: int) -> str:
    """In SQL: patients lie in another order than devices. A_PATIENT is that of A_DEVICE, of a hundred devices and of ten thousand."""
    return f"{device} * 9413 % {devices} + 100000"


def statements(rows: int, devices: int) -> list[str]:
    """What makes that many readings, in the order of time, as a stream brings them; and what belongs to them."""
    states = f"FROM generate_series(1, {devices}) AS n"
    effective = "'2024-01-01Z', '2024-01-01Z', true, '2024-01-01Z', 1"
    return [
        "INSERT INTO sources (source, holds) VALUES ('kafka:readings.raw', 'readings'), ('kafka:registry', 'registry')",
        f"""INSERT INTO device_states SELECT 2, 0, n, n, jsonb_build_object('patientId', {_patient_of("n", devices)},
            'customerId', n % 50 + 1, 'currentStatus', 'withPatient'), {effective} {states}""",
        f"""INSERT INTO patient_states SELECT 2, 1, n, {_patient_of("n", devices)},
            jsonb_build_object('zipCode', '19137', 'customerId', n % 50 + 1), {effective} {states}""",
        f"""INSERT INTO rejections (source_id, source_partition, source_offset, received_at, reason, device_id,
            customer_id, reading_timestamp, payload)
        SELECT 1, 1, n, taken, (ARRAY['duplicate', 'device_decommissioned'])[n % 2 + 1]::rejection_reason,
            n % {devices} + 1, n % 50 + 1, taken, '{{}}'
        FROM (SELECT n, timestamptz '{BEGINS}' + make_interval(secs => n * {YEAR_S} / {rows // 10}) AS taken
            FROM generate_series(0, {rows // 10 - 1}) AS n) AS made""",
        *(_readings(rows, devices, first, min(first + BATCH, rows)) for first in range(0, rows, BATCH)),
    ]


def _readings(rows: int, devices: int, first: int, end: int) -> str:
    return f"""
INSERT INTO readings (subject, reading_timestamp, received_at, device_id, patient_id, customer_id, source_offset,
    source_id, source_partition, reading_type, patient_time_zone_offset, manual, patient_time_zone, heart_rate_bpm,
    systolic_mmhg, diastolic_mmhg, weight_lb, glucose_mg_dl)
SELECT device, taken, taken + interval '1 minute', device, {_patient_of("device", devices)}, device % 50 + 1, n, 1, 0, kind,
    CASE WHEN taken >= '2025-03-09T07:00Z' AND taken < '2025-11-02T06:00Z' THEN -14400 ELSE -18000 END, n % 20 = 0,
    'America/New_York', CASE WHEN kind IN ('heartRate', 'bloodPressure') THEN 60 + n % 40 END,
    CASE kind WHEN 'bloodPressure' THEN 110 + n % 40 END, CASE kind WHEN 'bloodPressure' THEN 70 + n % 20 END,
    CASE kind WHEN 'weight' THEN 150 + n % 50 END, CASE kind WHEN 'bloodGlucose' THEN 90 + n % 80 END
FROM (
    SELECT n, n % {devices} + 1 AS device, timestamptz '{BEGINS}' + make_interval(secs => n * {YEAR_S} / {rows}) AS taken,
        (ARRAY['bloodPressure', 'weight', 'bloodGlucose', 'heartRate'])[(n % {devices}) % 4 + 1]::reading_kind AS kind
    FROM generate_series({first}, {end - 1}) AS n) AS made"""


QUESTIONS = {
    "a patient's week of one kind": f"SELECT * FROM blood_pressure_readings WHERE patient_id = {A_PATIENT}"
    f" AND reading_timestamp >= timestamptz '{A_DAY}' - interval '7 days' AND reading_timestamp < '{A_DAY}' ORDER BY reading_timestamp",
    "a patient's whole history": f"SELECT * FROM readings_local WHERE patient_id = {A_PATIENT} ORDER BY reading_timestamp",
    "a device's whole history": f"SELECT * FROM readings_local WHERE device_id = {A_DEVICE} ORDER BY reading_timestamp",
    "a device's last hundred readings": f"SELECT * FROM readings_local WHERE device_id = {A_DEVICE} ORDER BY reading_timestamp DESC LIMIT 100",
    "a device's week": f"SELECT * FROM readings_local WHERE device_id = {A_DEVICE}"
    f" AND reading_timestamp >= timestamptz '{A_DAY}' - interval '7 days' AND reading_timestamp < '{A_DAY}'",
    "everybody's hour": f"SELECT * FROM readings_local WHERE reading_timestamp >= '{A_DAY}'"
    f" AND reading_timestamp < timestamptz '{A_DAY}' + interval '1 hour'",
    "everybody's last hour": f"SELECT * FROM readings_local WHERE reading_timestamp >= '{LAST}'"
    f" AND reading_timestamp < timestamptz '{LAST}' + interval '1 hour'",
    "a patient's latest of each kind": f"SELECT * FROM latest_readings WHERE patient_id = {A_PATIENT}",
    "a patient's days, summed up": f"SELECT * FROM daily_summaries WHERE patient_id = {A_PATIENT} ORDER BY local_day",
    "a patient's reading days": f"SELECT * FROM reading_days WHERE patient_id = {A_PATIENT} AND first_day = '2025-10-20'",
    "a device's activity": f"SELECT * FROM device_activity WHERE device_id = {A_DEVICE}",
    "a day's rejections": "SELECT * FROM rejections_daily WHERE day = '2025-11-12'",
    "one record": "SELECT * FROM ledger WHERE source = 'kafka:readings.raw' AND source_partition = 0 AND source_offset = 54321",
}
"""Each in one statement, as the cookbook has them."""
OF_ALL = {
    "everybody's period from 1 October": "SELECT band, count(*) FROM reading_days_from('2025-10-01') GROUP BY 1",
    "everybody's latest": "SELECT count(*) FROM latest_readings",
    "silent devices": "SELECT count(*) FROM device_activity WHERE silent_since < '2025-12-30Z'",
}
"""Over everything there is: not promised to be quick, and told all the same."""


async def fill_many(connection: asyncpg.Connection, rows: int) -> None:
    """That many readings in a database with the schema, and what belongs to them."""
    for statement in statements(rows, devices=max(rows // 1_000, 100)):
        await connection.execute(statement, timeout=3_600)


async def filled(connection: asyncpg.Connection, rows: int, chunk: timedelta) -> tuple[float, str]:
    """Fill; processor seconds of the server's process, which is on this machine, and what the table takes on disk."""
    size = "pg_total_relation_size('readings')"
    if await connection.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'"):
        await connection.execute("SELECT set_chunk_time_interval('readings', $1::interval)", chunk)
        size = "hypertable_size('readings')"
    server = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()"))
    began = sum(server.cpu_times()[:2])
    await fill_many(connection, rows)
    return sum(server.cpu_times()[:2]) - began, await connection.fetchval(f"SELECT pg_size_pretty({size})")


async def settle(connection: asyncpg.Connection, *, columnar_before: str | None) -> None:
    """What happens in the background in days: summaries refreshed, old chunks columnar, statistics there."""
    if await connection.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'"):
        await connection.execute("CALL refresh_continuous_aggregate('hourly_summaries_utc', NULL, NULL)", timeout=7_200)
        if columnar_before is not None:
            compress = f"SELECT compress_chunk(c) FROM show_chunks('readings', older_than => '{columnar_before}'::timestamptz) AS c"
            await connection.execute(compress, timeout=7_200)
    await connection.execute("VACUUM ANALYZE", timeout=3_600)


async def asked_ms(connection: asyncpg.Connection, question: str, times: int) -> tuple[int, float, float]:
    """Rows, the median and the longest, in milliseconds; the first time, which plans and reads anew, not counted."""
    taken = []
    for _ in range(times + 1):
        began = time.perf_counter()
        rows = await connection.fetch(question, timeout=600)
        taken.append((time.perf_counter() - began) * 1_000)
    return len(rows), median(taken[1:]), max(taken[1:])


async def measured(url: str, rows: int, times: int, chunk: timedelta, columnar_before: str | None) -> None:
    database = Database(url, timeout_s=600)
    await migrate(database)
    await adopt_parameters(database, parameters(Law(), table_zones()))
    connection = await database.connection()
    if not await connection.fetchval("SELECT count(*) FROM sources"):
        print(f"filling {rows:,} readings", file=sys.stderr, flush=True)
        server_s, size = await filled(connection, rows, chunk)
        print(f"filled in {server_s:.0f} s of the server's processor: {size}", flush=True)
        await settle(connection, columnar_before=columnar_before)
    elif columnar_before is not None:
        await settle(connection, columnar_before=columnar_before)
    print(f"{await connection.fetchval('SELECT count(*) FROM readings'):,} readings")
    print(f"{'':42}{'rows':>8}{'median ms':>11}{'longest ms':>12}")
    for name, question in QUESTIONS.items():
        found, middle, longest = await asked_ms(connection, question, times)
        print(f"{name:42}{found:8}{middle:11.1f}{longest:12.1f}", flush=True)
    for name, question in OF_ALL.items():
        found, middle, longest = await asked_ms(connection, question, 1)
        print(f"{name:42}{found:8}{middle:11.1f}{longest:12.1f}", flush=True)
    print(f"load {' '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} processors")
    await database.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.questions", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument(
        "--url", help="an empty database, instead of the embedded one; one that was filled is not filled again"
    )
    parser.add_argument("--chunk-days", type=int, default=30, help="of TimescaleDB")
    parser.add_argument("--columnar-before", metavar="T", help="what is older becomes columnar")
    asked = parser.parse_args()
    chunk = timedelta(days=asked.chunk_days)
    if asked.url:
        asyncio.run(measured(asked.url, asked.rows, asked.times, chunk, asked.columnar_before))
        return 0
    with EmbeddedPostgres(settings={"shared_buffers": "2GB", "max_wal_size": "8GB", "fsync": "off"}) as server:
        asyncio.run(measured(server.url, asked.rows, asked.times, chunk, None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
