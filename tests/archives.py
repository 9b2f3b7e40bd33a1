"""Archives of readings, and the command that stores them, as an operator would run it."""

import asyncio
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg

from enrich.zones import table_zones
from ingest.backfill_run import Manner, Report, settle
from ingest.backfill_run import backfill as run_backfill
from ingest.settings import Settings
from ingest.verify import verify
from tests import oracle
from tests.build import NOON, envelope, rfc3339
from tests.histories import History
from tests.service import readings


def environment(url: str, **more: object) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("READINGS_")}
    ours = {"DATABASE_URL": url, "LOG_LEVEL": "error", "BATCH_RECORDS": 100, **more}
    return {**inherited, **{f"READINGS_{name}": str(value) for name, value in ours.items()}}


async def run(url: str, *arguments: str | Path, **more: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of `readings …`, but for how far it was by then, on a slow machine."""
    async with readings(*map(str, arguments), env=environment(url, **more)) as process:
        code, out, err = await process.ended()
    return code, out, "".join(text for text in err.splitlines(keepends=True) if not text.startswith("backfill: "))


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


def archived(given_: History) -> tuple[list[bytes], list[oracle.RegistryRecord]]:
    """A history's readings as the lines of an archive, receipts of all of them told; and its registry."""
    values = []
    for record in oracle.by_place(given_.records):
        value = (record.value or b"").strip(b" \t\r\n")
        if value and b"\n" not in value and b"receivedAt" not in value and record.received_at is not None:
            said = rfc3339(record.received_at).encode()
            if value.startswith(b"{"):  # what is malformed otherwise tells no receipt, in an archive
                values.append(b'{"receivedAt":"%s",' % said + value[1:])
        elif value and b"\n" not in value:
            values.append(value)
    return values, list(given_.registry)


async def conserved(url: str) -> bool:
    """Whether each offset that was passed stands exactly once, or in a gap, and all else that `verify` looks at."""
    found = await verify(Settings(database_url=url), table_zones())
    assert found.holds, [check for check in found.checks if check.differ]
    return True


async def stored(url: str, *paths: Path, settings: dict[str, Any] | None = None, **manner: Any) -> Report:
    """What a run of the files does, in this process."""
    settings = Settings(**{"database_url": url, "batch_records": 100, **(settings or {})})
    files, how, stop = [str(path) for path in paths], Manner(accept_bad_input=True, **manner), asyncio.Event()
    report = await run_backfill(files, settings, table_zones(), manner=how, stop=stop, tell=lambda _: None)
    assert (report.ended_by, {one.error for one in report.outcomes}) == (None, {None} if files else set())
    if not (how.dry_run or how.to_topic):
        assert await settle(settings, table_zones(), stop=stop)
    return report
