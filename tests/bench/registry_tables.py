"""A fleet's registry, straight into the tables: a million devices in the time that telling of them would take for ten
thousand. That it is what the topics would have told is held by tests/test_bench.py.
"""

from datetime import datetime

import asyncpg

from enrich.zip_table import load_table
from tests.bench.parts import TIMEOUT_S
from tests.bench.traffic import FIRST_PATIENT, FIRST_RECEIVED, KNOWN_SINCE, SITED_SINCE, ZIP_STEP, Fleet

DEVICES, PATIENTS = "kafka:registry.devices", "kafka:registry.patients"
_SOURCES = """
INSERT INTO sources (source, holds) SELECT unnest($1::text[]), 'registry' RETURNING source_id
"""
_POSITIONS = """
INSERT INTO source_positions (source_id, source_partition, first_offset, next_offset) VALUES ($1, 0, 0, $2)
"""
_COLUMNS = """(source_id, source_partition, source_offset, {about}_id, says, effective_at, blocking_effective_at,
    effective_at_sent, recorded_at, registry_version)"""
_FIRST_STATES = f"""
INSERT INTO device_states {_COLUMNS.format(about="device")}
SELECT $1, 0, n - 1, n, jsonb_build_object(
        'deviceIdentifiers', jsonb_build_array(jsonb_build_object('type', 'serial', 'value', 'S' || lpad(n::text, 7, '0'))),
        'currentStatus', CASE WHEN n % 10 < $3 THEN 'withPatient' ELSE 'customerStock' END,
        'patientId', CASE WHEN n % 10 < $3 THEN {FIRST_PATIENT} + n END,
        'customerId', n % 7 + 1), $4, $4, true, $5, 1
FROM generate_series(1, $2::integer) AS n
"""
_SECOND_STATES = f"""
INSERT INTO device_states {_COLUMNS.format(about="device")}
SELECT $1, 0, $2 + n - 1, n, jsonb_build_object('siteId', n % 400 + 1), $3, $3, true, $4, 1
FROM generate_series(1, $2::integer) AS n
"""
_IDENTIFIERS = """
INSERT INTO device_identifiers
    (identifier, device_id, effective_at, recorded_at, source, source_partition, source_offset, registry_version)
SELECT 'S' || lpad(n::text, 7, '0'), n, $2, $3, $4, 0, n - 1, 1 FROM generate_series(1, $1::integer) AS n
"""
_PATIENT_STATES = f"""
INSERT INTO patient_states {_COLUMNS.format(about="patient")}
SELECT $1, 0, row_number() OVER (ORDER BY n) - 1, {FIRST_PATIENT} + n, jsonb_build_object(
        'zipCode', ($6::text[])[n::bigint * {ZIP_STEP} % cardinality($6::text[]) + 1],
        'country', 'USA', 'customerId', n % 7 + 1), $4, $4, true, $5, 1
FROM generate_series(1, $2::integer) AS n WHERE n % 10 < $3
"""


async def load_registry(url: str, fleet: Fleet) -> None:
    """All that the fleet tells of its devices and patients, as version 1, into a migrated database without any."""
    known, sited = (datetime.fromisoformat(since) for since in (KNOWN_SINCE, SITED_SINCE))
    connection = await asyncpg.connect(url, command_timeout=TIMEOUT_S)
    try:
        async with connection.transaction():
            devices, patients = [row[0] for row in await connection.fetch(_SOURCES, [DEVICES, PATIENTS])]
            told = fleet.devices, fleet.held_of_ten, known, FIRST_RECEIVED
            await connection.execute(_FIRST_STATES, devices, *told)
            if fleet.states == 2:
                await connection.execute(_SECOND_STATES, devices, fleet.devices, sited, FIRST_RECEIVED)
            await connection.execute(_IDENTIFIERS, fleet.devices, known, FIRST_RECEIVED, DEVICES)
            await connection.execute(_PATIENT_STATES, patients, *told, list(load_table().zips()))
            await connection.execute("UPDATE registry_version SET version = 1")
            for source, table in ((devices, "device_states"), (patients, "patient_states")):
                count = await connection.fetchval(f"SELECT count(*) FROM {table}")
                await connection.execute(_POSITIONS, source, count)
        # So that the server does neither of its own while readings are measured.
        await connection.execute("VACUUM ANALYZE device_states, patient_states, device_identifiers")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
