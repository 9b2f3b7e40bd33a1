"""Archives: stored as if they had come live, exactly once, whatever they are called and however often they are given."""

import gzip
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from backports import zstd

from tests.build import NOON, envelope, rfc3339
from tests.service import readings


def environment(url: str, **more: object) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("READINGS_")}
    ours = {"DATABASE_URL": url, "LOG_LEVEL": "error", "BATCH_RECORDS": 100, **more}
    return {**inherited, **{f"READINGS_{name}": str(value) for name, value in ours.items()}}


async def run(url: str, *arguments: str | Path, **more: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of `readings …`."""
    async with readings(*map(str, arguments), env=environment(url, **more)) as process:
        return await process.ended()


async def backfill(url: str, *arguments: str | Path, **more: object) -> dict[str, Any]:
    """What the run says of itself; it must end well."""
    code, out, err = await run(url, "backfill", "--json", *arguments, **more)
    assert (code, err) == (0, "")
    return json.loads(out)


async def fetch(url: str, statement: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


def line(number: int, *, received: int | None = None, **said: Any) -> bytes:
    """A heart rate of device 1, `number` minutes after noon, received `received` minutes after noon."""
    document = json.loads(envelope(taken=NOON + timedelta(minutes=number), **said))
    at = number if received is None else received
    return json.dumps({"receivedAt": rfc3339(NOON + timedelta(minutes=at)), **document}).encode() + b"\n"


def lines(begin: int, end: int) -> bytes:
    return b"".join(line(number) for number in range(begin, end))


def file(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
async def clinic(migrated: str, tmp_path: Path) -> str:
    """A database that knows device 1 and its patient in Philadelphia, from a plain export without history."""
    export = [{"deviceId": 1, "patientId": 7, "currentStatus": "withPatient"}, {"patientId": 7, "zipCode": "19137"}]
    path = file(tmp_path, "registry/export.json", json.dumps(export).encode())
    assert (await run(migrated, "registry", "load", path))[0] == 0
    return migrated


# --- once ------------------------------------------------------------------------------------------------------------


async def test_a_second_run_stores_nothing_under_whatever_name_and_packing(clinic, tmp_path):
    plain = lines(0, 250) + b"\n \nno json\n"
    first = await backfill(clinic, file(tmp_path, "a.ndjson", plain))
    assert (first["readings"], first["rejected"], first["already_there"]) == (250, {"malformed": 1}, 0)
    before = await fetch(clinic, "SELECT xmin::text, ctid::text, * FROM readings")
    packed = [file(tmp_path, "b.gz", gzip.compress(plain)), file(tmp_path, "c.zst", zstd.compress(plain))]
    again = await backfill(clinic, tmp_path / "a.ndjson", *packed)
    assert (again["readings"], again["rejected"], again["already_there"]) == (0, {}, 3 * 251)
    assert await fetch(clinic, "SELECT xmin::text, ctid::text, * FROM readings") == before
    code, out, _ = await run(clinic, "backfill", tmp_path / "a.ndjson")
    assert (code, out.splitlines()[-1]) == (0, "nothing new: all of it is there already")


async def test_a_plain_export_of_today_gives_years_of_readings_their_patients_and_offsets(clinic, tmp_path):
    years = [
        json.dumps({"receivedAt": f"{year}-{month:02}-15T12:00:05Z", **json.loads(envelope(deviceId=1, readingTimestamp=f"{year}-{month:02}-15T12:00:00Z"))}).encode()
        for year in range(2016, 2026) for month in (1, 7)
    ]  # fmt: skip
    said = await backfill(clinic, file(tmp_path, "years.ndjson", b"\n".join(years)))
    assert (said["readings"], said["rejected"]) == (20, {})
    assert await fetch(
        clinic,
        "SELECT patient_id, patient_time_zone_offset, count(*) FROM readings GROUP BY 1, 2 ORDER BY 2",
    ) == [(7, -18_000, 10), (7, -14_400, 10)]
