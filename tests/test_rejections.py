"""Refused records written out, mended and given again."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from ingest.cli.app import app
from ingest.content import NoRecord
from ingest.refused_record import StandsAlready, as_given_again, line_of
from schemas.judgement import Entry, Rejected
from schemas.reasons import Reason
from schemas.record import Place
from tests.build import NOON, SOURCE, envelope
from tests.conftest import execute
from tests.service import readings
from tests.test_pieces import Store, reading


def line(payload: bytes) -> dict[str, Any]:
    """As it comes back from a file."""
    entry = Entry(Place(SOURCE, 0, 5), NOON, Rejected(Reason.INVALID, "payload: x", payload=payload))
    return json.loads(json.dumps(line_of(entry)))


def stands(given: bytes) -> bool:
    return isinstance(given, StandsAlready)


def again(said: dict[str, Any], **layout: Any) -> bytes:
    return as_given_again([json.dumps(said, **layout).encode()])[0]


PAYLOADS = [
    b"",
    b"junk",
    b"\xff\xfe",
    b"{}",
    b"5",
    b'"text"',
    b"null",
    b'{"a":1,"a":2}',
    b'{"a":"\\ud800"}',
    b'{"a":NaN,"b":1e999}',
    b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    '{"n":"Zoë","x":1.10,"big":123456789012345678901234567890}'.encode(),
    envelope(),
]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_nobody_has_changed_is_the_record_that_stands(payload: bytes) -> None:
    assert stands(again(line(payload)))
    assert stands(again(line(payload), indent=2, sort_keys=True)), "however it is laid out"


@given(st.binary(max_size=40))
def test_any_bytes_survive_the_file(payload: bytes) -> None:
    assert stands(again(line(payload)))


def test_a_line_with_another_value_is_a_record_of_an_archive_received_when_the_first_one_was() -> None:
    said = line(envelope(heartRate="60"))
    said["record"]["payload"]["heartRate"] = 60
    mended = again(said)
    assert not stands(mended)
    assert json.loads(mended) == json.loads(envelope()) | {"receivedAt": "2026-07-01T12:00:00Z"}
    assert again(line(b"junk") | {"record": "{}"}) == b"{}"
    assert again(line(b"\xff") | {"recordBase64": "e30="}) == b"{}"


def test_what_is_no_base64_is_malformed_and_says_why() -> None:
    broken = again(line(b"\xff") | {"recordBase64": "?"})
    assert isinstance(broken, NoRecord)
    assert broken.fault == "recordBase64: must be base64"


@pytest.mark.parametrize("value", [envelope(), b"junk", b'{"digest":"x"}', b'["digest"]', b'{"digest":1,'])
def test_any_other_line_is_the_record_itself(value: bytes) -> None:
    (given,) = as_given_again([value])
    assert given is value


async def run(url: str, *arguments: object) -> tuple[int, str, str]:
    env = {"READINGS_DATABASE_URL": url, "READINGS_LOG_LEVEL": "error", "PATH": "/usr/bin:/bin"}
    async with readings("rejections", *map(str, arguments), env=env) as process:
        return await process.ended()


@pytest.mark.thorough
async def test_exported_mended_and_replayed_it_is_a_reading_and_the_rest_stays_as_it_is(
    migrated: str, tmp_path: Path
) -> None:
    """Once mended it is stored once, however often the file is given; what was not touched changes nothing."""
    store = await Store(migrated).open()
    values = [reading(0), reading(1, heartRate="61"), b"junk", reading(3, heartRate="63"), None, reading(0)]
    await store.give(store.batch(values))
    await store.database.close()
    exported = tmp_path / "refused.ndjson"
    code, out, err = await run(migrated, "export", "--output", exported)
    assert (code, out, err) == (0, "", "5 refused records written\n")
    lines = [json.loads(text) for text in exported.read_text().splitlines()]
    assert [(one["offset"], one["reason"]) for one in lines] == [
        (1, "invalid"), (2, "malformed"), (3, "invalid"), (4, "malformed"), (5, "duplicate"),
    ]  # fmt: skip
    code, out, err = await run(migrated, "export", "--reason", "invalid", "--since", "2026-07-01T12:00:00Z")
    assert [json.loads(text)["offset"] for text in out.splitlines()] == [1, 3]
    for arguments in (("--until", "2026-07-01T12:00:00Z"), ("--device", "9")):
        assert (await run(migrated, "export", *arguments))[1] == ""
    code, _, err = await run(migrated, "export", "--output", exported)
    assert (code, "cannot be written" in err) == (2, True)

    lines[0]["record"]["payload"]["heartRate"] = 61
    exported.write_text("".join(json.dumps(one) + "\n" for one in lines))
    code, out, err = await run(migrated, "replay", exported, "--dry-run", "--json")
    assert (code, json.loads(out)["readings"], json.loads(out)["rejected"]) == (0, 1, {}), err
    for expected in ((1, 4), (0, 5)):
        code, out, err = await run(migrated, "replay", exported, "--json")
        told = json.loads(out)
        assert (code, told["readings"], told["already_there"], told["rejected"]) == (0, *expected, {}), err

    connection = await asyncpg.connect(migrated)
    try:
        found = await connection.fetch("SELECT heart_rate_bpm, reading_timestamp, received_at FROM readings ORDER BY 2")
        refused = await connection.fetchval("SELECT count(*) FROM rejections")
        position = await connection.fetch(
            "SELECT next_offset, repeated FROM source_positions JOIN sources USING (source_id) WHERE source LIKE 'archive:%'"
        )
    finally:
        await connection.close()
    assert [tuple(row) for row in found] == [(60, NOON, NOON), (61, NOON + timedelta(seconds=1), NOON)]
    assert refused == 5, "the first one was refused, and stays so"
    assert [tuple(row) for row in position] == [(5, 4)]


@pytest.mark.thorough
async def test_what_the_database_refused_is_given_again_when_it_would_take_it(migrated: str, tmp_path: Path) -> None:
    """As it stands, bytes that are no JSON included; once, however often, and what was refused first stays so."""
    refuse = {
        "readings": "CHECK (heart_rate_bpm <> 61)",
        "rejections": "CHECK (payload <> 'junk' OR reason = 'unstorable')",
    }
    for table, rule in refuse.items():
        await execute(migrated, f"ALTER TABLE {table} ADD CONSTRAINT ours {rule}")
    store = await Store(migrated).open()
    await store.give(store.batch([reading(0), reading(1, heartRate=61), b"junk", None, reading(2, heartRate=61)]))
    await store.database.close()
    for table in refuse:
        await execute(migrated, f"ALTER TABLE {table} DROP CONSTRAINT ours")
    exported = tmp_path / "refused.ndjson"
    code, _, err = await run(migrated, "export", "--reason", "unstorable", "--as-new", "-o", exported)
    assert (code, err) == (0, "3 refused records written\n")
    for expected in ((2, 0, {"malformed": 1}), (0, 3, {})):
        code, out, err = await run(migrated, "replay", exported, "--json")
        told = json.loads(out)
        assert (code, told["readings"], told["already_there"], told["rejected"]) == (0, *expected), err
    connection = await asyncpg.connect(migrated)
    try:
        found = await connection.fetch("SELECT reason::text, count(*) FROM rejections GROUP BY 1 ORDER BY 1")
        receipts = await connection.fetchval("SELECT count(DISTINCT received_at) FROM readings")
    finally:
        await connection.close()
    assert [tuple(row) for row in found] == [("malformed", 2), ("unstorable", 3)]
    assert receipts == 1, "received when it was received first"


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        (SOURCE, [0]),
        ("readings.raw", [0, 1]),
        ("kafka:readings.raw@2", [1]),
        ("archive:abc…", [3, 4]),
        ("archive:abcd", [3]),
    ],
)
async def test_a_source_is_asked_for_by_its_name_its_topic_or_its_beginning(
    migrated: str, name: str, taken: list[int]
) -> None:
    await execute(
        migrated,
        f"""INSERT INTO sources (source, holds)
            SELECT unnest(ARRAY['{SOURCE}', '{SOURCE}@2', '{SOURCE}.more', 'archive:abcd', 'archive:abce']), 'readings';
            INSERT INTO rejections (source_id, source_partition, source_offset, reason, payload)
            SELECT source_id, 0, row_number() OVER (ORDER BY source_id) - 1, 'malformed', '' FROM sources""",
    )
    code, out, _ = await run(migrated, "export", "--source", name)
    assert (code, [json.loads(text)["offset"] for text in out.splitlines()]) == (0, taken)


async def test_a_source_that_is_not_there_is_told_and_is_no_empty_file(migrated: str, tmp_path: Path) -> None:
    told = "readings: there is no source readings.row; see: readings status\n"
    file = tmp_path / "refused.ndjson"
    assert await run(migrated, "export", "--source", "readings.row", "-o", file) == (1, "", told)
    assert not file.exists()


def test_the_help_of_replay_is_of_what_was_refused() -> None:
    told = CliRunner().invoke(app, ["rejections", "replay", "--help"], env={"COLUMNS": "200"}).output
    assert "Each line is one refused record." in told
    assert "Store archived readings" not in told
