"""What the database says after the demo's run, asked in the SQL that anybody could type."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import asyncpg

from ingest.broker import source_name
from ingest.demo.clinic_readings import RawReading
from ingest.demo.clinic_registry import DECOMMISSIONED_AT, HANDED_OVER, MOVED_AT, MOVER, RETIRED, WEARABLES
from ingest.demo.clinic_stories import AUTUMN_NIGHT
from ingest.demo.publish import Placed
from ingest.settings import Settings
from schemas.reasons import Reason

Rows: TypeAlias = list[asyncpg.Record]

_OUTCOMES = """
SELECT source_partition, source_offset, NULL AS reason FROM readings JOIN sources USING (source_id) WHERE source = $1
UNION ALL
SELECT source_partition, source_offset, reason::text FROM rejections JOIN sources USING (source_id) WHERE source = $1
"""
_NIGHT = """
SELECT reading_timestamp, device_local_time, device_time_zone_offset,
    patient_local_time, patient_time_zone_offset, patient_time_zone, heart_rate_bpm
FROM heart_rate_readings
WHERE device_id = $1 AND reading_timestamp = ANY($2)
ORDER BY reading_timestamp
"""
_HANDED_OVER = """
SELECT reading_timestamp, received_at, patient_id,
    patient_local_time, patient_time_zone_offset, patient_time_zone
FROM blood_pressure_readings
WHERE device_id = $1 AND received_at BETWEEN '2026-10-27 11:00Z' AND '2026-10-29 21:00Z'
    AND (reading_timestamp NOT BETWEEN '2026-10-27 17:00Z' AND '2026-10-29 15:00Z')
ORDER BY received_at
"""
_MOVER = """
(SELECT reading_timestamp, received_at, patient_id,
    patient_local_time, patient_time_zone_offset, patient_time_zone
    FROM heart_rate_readings WHERE device_id = $1 AND reading_timestamp < $2 ORDER BY 1 DESC LIMIT 2)
UNION ALL
(SELECT reading_timestamp, received_at, patient_id,
    patient_local_time, patient_time_zone_offset, patient_time_zone
    FROM heart_rate_readings WHERE device_id = $1 AND reading_timestamp >= $2 ORDER BY 1 LIMIT 2)
ORDER BY reading_timestamp
"""
_DECOMMISSIONED = """
SELECT reading_timestamp, received_at, NULL AS reason FROM readings
WHERE device_id = $1 AND received_at BETWEEN $2 AND $3
UNION ALL
SELECT reading_timestamp, received_at, reason::text FROM rejections
WHERE device_id = $1 AND received_at BETWEEN $2 AND $3
ORDER BY received_at
"""

SQL_TO_TRY = {
    "What was wrong with the invalid ones?": """\
SELECT detail, count(*) FROM rejections WHERE reason = 'invalid' GROUP BY 1 ORDER BY 2 DESC;""",
    "The hour that came twice, on the clock of a patient in Philadelphia:": """\
SELECT reading_timestamp, patient_local_time, heart_rate_bpm FROM heart_rate_readings
WHERE patient_id = 1 AND patient_local_time >= '2026-11-01 01:00' AND patient_local_time < '2026-11-01 02:00'
ORDER BY reading_timestamp;""",
    "On how many of their own days was each patient measured, typed-in values aside?": """\
SELECT patient_id, count(DISTINCT patient_local_time::date) AS days FROM readings_local
WHERE NOT manual AND patient_local_time >= '2026-10-25' GROUP BY 1 ORDER BY 2 DESC, 1;""",
    "What a refused reading said:": """\
SELECT reason, received_at, convert_from(payload, 'UTF8')::jsonb -> 'payload' AS said
FROM rejections WHERE device_id = 571 ORDER BY received_at LIMIT 3;""",
    "How far is each partition taken? The position moves in the transaction that stores the rows:": """\
SELECT source, source_partition, first_offset, next_offset FROM source_positions JOIN sources USING (source_id)
ORDER BY 1, 2;""",
}


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of every raw reading, beside what it was made to become."""

    expected: Counter[Reason | None]
    found: Counter[Reason | None]
    """None is accepted."""
    otherwise: list[tuple[RawReading, str]]
    """Those that became something else, and what."""

    @property
    def as_made(self) -> bool:
        return not self.otherwise and self.expected == self.found


_REASONS = {str(reason): reason for reason in Reason}


async def outcomes(connection: "asyncpg.Connection[asyncpg.Record]", placed: Placed, settings: Settings) -> Outcomes:
    """Compare record by record: counts that agree by chance are no proof."""
    rows = await connection.fetch(_OUTCOMES, source_name(settings.raw_topic))
    became: dict[tuple[int, int], list[Reason | None]] = {}
    for partition, offset, reason in rows:
        became.setdefault((partition, offset), []).append(_REASONS.get(reason))
    return Outcomes(
        expected=Counter(reading.becomes for reading in placed.values()),
        found=Counter(reason for reasons in became.values() for reason in reasons),
        otherwise=[
            (reading, _in_words(became.get(place, [])))
            for place, reading in placed.items()
            if became.get(place) != [reading.becomes]
        ],
    )


def _in_words(reasons: Iterable[Reason | None]) -> str:
    return " and ".join(reason or "accepted" for reason in reasons) or "nothing at all"


_EASTERN_GOES_BACK = AUTUMN_NIGHT[0] + timedelta(hours=2)
_MOUNTAIN_GOES_BACK = AUTUMN_NIGHT[0] + timedelta(hours=4)
_NIGHT_WATCHED = (
    (501, _EASTERN_GOES_BACK, (-20, -10, 0, 10)),
    (502, _EASTERN_GOES_BACK, (-20, -10, 0, 10)),
    (505, _MOUNTAIN_GOES_BACK, (-10, 0)),
    (504, _MOUNTAIN_GOES_BACK, (-10, 0)),
    (509, _MOUNTAIN_GOES_BACK, (-10, 0)),
    (516, _EASTERN_GOES_BACK, (-10, 0)),
)
"""Device, the moment at which clocks went back there or near there, and minutes before and after it."""


async def night(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[int, Rows]:
    """A few readings on both sides of the moment at which clocks went back, by device."""
    return {
        device_id: await connection.fetch(
            _NIGHT, device_id, [went_back + timedelta(minutes=minute) for minute in minutes]
        )
        for device_id, went_back, minutes in _NIGHT_WATCHED
    }


async def handed_over(connection: "asyncpg.Connection[asyncpg.Record]") -> Rows:
    return await connection.fetch(_HANDED_OVER, HANDED_OVER.id)


async def mover(connection: "asyncpg.Connection[asyncpg.Record]") -> Rows:
    device_id = next(device.id for device in WEARABLES if device.held_by is MOVER)
    return await connection.fetch(_MOVER, device_id, MOVED_AT)


async def decommissioned(connection: "asyncpg.Connection[asyncpg.Record]") -> Rows:
    around = DECOMMISSIONED_AT - timedelta(hours=4), DECOMMISSIONED_AT + timedelta(hours=4)
    return await connection.fetch(_DECOMMISSIONED, RETIRED.id, *around)
