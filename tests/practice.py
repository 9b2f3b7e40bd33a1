"""A small practice over a year: what analysts ask is asked of it, and every answer can be told by hand.

Patient 7 (customer 1) lives in New York, from 1 June at noon UTC in Phoenix, from 1 September in New York again: cuff 1
and scale 2. Patient 8 (customer 1) has no zip code: glucometer 3, whose clock is an hour off. Patient 77 (customer 11)
lives in Honolulu: cuff 11. Device 4 (customer 1) is decommissioned on 20 March and goes on sending.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from struct import unpack
from typing import Any

import asyncpg
import pytest

import sinks.readings
from schemas.record import Place, Record
from sinks.database import Connection
from tests.build import at, envelope
from tests.fill import DEVICES, PATIENTS, RAW, fill

EST, EDT, MST, HST = -18_000, -14_400, -25_200, -36_000


def told(source: str, messages: Iterable[tuple[str, dict[str, Any]]], *, partition: int = 0) -> list[Record]:
    """Messages of a registry topic, each effective and recorded at its moment."""
    return [
        Record(
            Place(source, partition, offset), at(since), json.dumps({**message, "effectiveAt": f"{since}:00Z"}).encode()
        )
        for offset, (since, message) in enumerate(messages)
    ]


YEAR = "2025-01-01T00:00"
REGISTRY = [
    *told(
        DEVICES,
        [
            (YEAR, {"deviceId": 1, "patientId": 7, "customerId": 1, "currentStatus": "withPatient"}),
            (YEAR, {"deviceId": 2, "patientId": 7, "customerId": 1, "currentStatus": "withPatient"}),
            (YEAR, {"deviceId": 3, "patientId": 8, "customerId": 1, "currentStatus": "withPatient"}),
            (YEAR, {"deviceId": 4, "customerId": 1, "currentStatus": "availableAtSite"}),
            (YEAR, {"deviceId": 11, "patientId": 77, "customerId": 11, "currentStatus": "withPatient"}),
            ("2025-02-01T00:00", {"deviceId": 4, "currentStatus": "decommissioned"}),
            ("2025-02-10T00:00", {"deviceId": 4, "currentStatus": "availableAtSite"}),
            ("2025-03-20T00:00", {"deviceId": 4, "currentStatus": "decommissioned"}),
        ],
    ),
    *told(
        PATIENTS,
        [
            (YEAR, {"patientId": 7, "zipCode": "19137", "customerId": 1}),
            (YEAR, {"patientId": 8, "customerId": 1}),
            (YEAR, {"patientId": 77, "zipCode": "96813", "customerId": 11}),
            ("2025-06-01T12:00", {"patientId": 7, "zipCode": "85001"}),
            ("2025-09-01T12:00", {"patientId": 7, "zipCode": "19137"}),
        ],
    ),
]

Given = tuple[str, dict[str, Any]]


def pressure(taken: str, systolic: int, diastolic: int, device: int = 1, **more: Any) -> Given:
    return taken, {"kind": "bloodPressure", "deviceId": device, "systolic": systolic, "diastolic": diastolic, **more}


def weight(taken: str, pounds: float, **more: Any) -> Given:
    return taken, {"kind": "weight", "deviceId": 2, "weight": pounds, "weightUnit": "lbs", **more}


def glucose(taken: str, value: int, **more: Any) -> Given:
    return taken, {"kind": "bloodGlucose", "deviceId": 3, "glucose": value, "glucoseUnit": "mgdl", **more}


READINGS: list[Given] = [
    # In New York the clock goes from 1:59 to 3:00 on 9 March: a day of 23 hours, 5:00 to 4:00 UTC.
    pressure("2025-03-09T04:30", 120, 80),  # 8 March 23:30
    pressure("2025-03-09T05:30", 122, 82),  # 9 March 0:30
    pressure("2025-03-09T06:59", 124, 84),  # 9 March 1:59
    pressure("2025-03-09T07:00", 126, 86, deviceTimeZoneOffset=EST),  # 9 March 3:00; the cuff still says 2:00
    pressure("2025-03-10T03:30", 128, 88),  # 9 March 23:30
    pressure("2025-03-10T04:30", 130, 90),  # 10 March 0:30, 9 March by winter time
    weight("2025-03-11T12:00", 180.5),
    weight("2025-03-11T12:30", 181.5, manual=True),
    weight("2025-03-13T12:00", 182.5, manual=True),
    # The move to Phoenix: 1 June ends there seven hours after UTC's.
    weight("2025-06-01T03:59", 179.0),  # 31 May 23:59 in New York
    weight("2025-06-01T06:00", 178.0),  # 1 June 2:00 in New York
    weight("2025-06-02T05:30", 177.0),  # 1 June 22:30 in Phoenix
    # In New York the hour from 1:00 comes twice on 2 November: a day of 25 hours, 4:00 to 5:00 UTC.
    pressure("2025-11-02T04:30", 140, 90),  # 2 November 0:30
    pressure("2025-11-02T05:30", 142, 92),  # 2 November 1:30
    pressure("2025-11-02T06:30", 144, 94),  # 2 November 1:30 again
    pressure("2025-11-03T04:30", 146, 96),  # 2 November 23:30, 3 November by summer time
    pressure("2025-11-03T05:30", 148, 98),  # 3 November 0:30
    # Nobody knows where patient 8 is.
    glucose("2025-03-09T04:30", 100, beforeMeal=True, deviceTimeZoneOffset=EST),
    glucose("2025-03-09T23:30", 140, afterMeal=True, deviceTimeZoneOffset=EST),
    # Honolulu, ten hours behind: twenty evenings at 23:30, from 28 February on.
    *(pressure(f"2025-03-{day:02}T09:30", 110 + day, 70, device=11) for day in range(1, 21)),
    # Device 4 is nobody's.
    ("2025-03-18T12:00", {"kind": "heartRate", "deviceId": 4, "heartRate": 60}),
    ("2025-03-21T12:00", {"kind": "heartRate", "deviceId": 4, "heartRate": 61}),
    ("2025-03-22T12:00", {"kind": "heartRate", "deviceId": 4, "heartRate": 62}),
    # Without a device, of a patient of the other customer.
    ("2025-03-15T12:00", {"kind": "temperature", "patientId": 77, "temperature": 98.6, "temperatureUnit": "F"}),
    # Sent again, the second time saying something else.
    pressure("2025-03-09T04:30", 120, 80),
    pressure("2025-03-09T05:30", 99, 82),
    ("2025-03-11T12:00", {"kind": "weight", "deviceId": 2}),
]


def given(readings: Sequence[Given] = READINGS, *, partition: int = 0) -> list[Record]:
    """Raw records, each received a minute after it was taken; what is sent again, a second later for each before it."""
    return [
        Record(
            Place(RAW, partition, n),
            at(taken) + timedelta(minutes=1, seconds=[one[0] for one in readings[:n]].count(taken)),
            envelope(taken=at(taken), **payload),
        )
        for n, (taken, payload) in enumerate(readings)
    ]


def insert_what_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """The WASM build of TimescaleDB takes no COPY: rows and packed rows alike are inserted, one by one."""
    monkeypatch.setattr(sinks.readings, "_copy", _insert)
    monkeypatch.setattr(asyncpg.Connection, "copy_to_table", _insert_packed)


async def _insert(connection: Connection, table: str, rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> None:
    values = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
    for row in rows:
        await connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})", *row)


async def _insert_packed(
    connection: Connection, table: str, *, source: bytes, columns: Sequence[str], **how: str
) -> None:
    assert how == {"format": "binary"}
    types = dict(
        await connection.fetch(
            "SELECT attname, atttypid::regtype::text FROM pg_attribute WHERE attrelid = $1::text::regclass", table
        )
    )
    read = [_FROM_BINARY.get(types[column], bytes.decode) for column in columns]
    rows = [
        [None if field is None else value(field) for value, field in zip(read, fields, strict=True)]
        for fields in _fields(bytes(source))
    ]
    await _insert(connection, table, rows, columns)


def _fields(packed: bytes) -> Iterator[list[bytes | None]]:
    """The fields of each row, as PostgreSQL's documentation of COPY has them."""
    stream = BytesIO(packed)
    assert stream.read(19) == b"PGCOPY\n\xff\r\n\0" + bytes(8)
    while (count := _number(stream.read(2))) != -1:
        lengths_and_fields = ((length := _number(stream.read(4)), stream.read(max(length, 0))) for _ in range(count))
        yield [None if length == -1 else field for length, field in lengths_and_fields]
    assert stream.read() == b""


def _number(field: bytes) -> int:
    return int.from_bytes(field, signed=True)


def _instant(field: bytes) -> datetime:
    return datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=_number(field))


def _texts(field: bytes) -> list[str]:
    """An array of text: dimensions, whether it holds nulls, the type's oid, length and lower bound, then members."""
    stream = BytesIO(field)
    (dimensions,) = unpack(">i8x", stream.read(12))
    count = unpack(">i4x", stream.read(8))[0] if dimensions else 0
    return [stream.read(_number(stream.read(4))).decode() for _ in range(count)]


_FROM_BINARY: dict[str, Callable[[bytes], Any]] = {
    "bigint": _number,
    "integer": _number,
    "smallint": _number,
    "boolean": lambda field: field == b"\1",
    "double precision": lambda field: unpack(">d", field)[0],
    "timestamp with time zone": _instant,
    "text[]": _texts,
}


async def opened(url: str) -> None:
    """Fill a database that has the schema and the law."""
    await fill(url, REGISTRY, given())
