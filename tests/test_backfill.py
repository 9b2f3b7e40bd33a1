"""Archives: stored as if they had come live, exactly once, whatever they are called and however often they are given."""

import asyncio
import csv
import gzip
import io
import json
import os
import secrets
import signal
import sys
import time
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryFile
from typing import Any

import hypothesis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from enrich.offsets import offset_s
from enrich.zones import table_zones
from ingest import backfill_pace
from ingest.archive_columns import FIELDS
from ingest.archive_format import records_of
from ingest.backfill_pace import Pace
from ingest.backfill_run import Manner
from ingest.backfill_run import backfill as run_backfill
from ingest.consume import Consumer
from ingest.content import Content, UnreadableFileError
from ingest.object_storage import copied
from ingest.settings import Settings
from schemas.envelope import NotUnderstood, archived_received_at, understand_line
from schemas.payloads import PAYLOADS
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import About, State
from sinks.database import Database
from sinks.ledger import Source
from sinks.rows import READING_COLUMNS, REJECTION_COLUMNS
from tests import archives, oracle
from tests.archives import archived, backfill, conserved, environment, fetch, file, line, lines, run
from tests.build import LAW, NOON, envelope, rfc3339, wire_names
from tests.conftest import execute
from tests.fill import fill
from tests.histories import history
from tests.service import readings
from tests.test_law_against_oracle import differences, expected, rows, zone_of

HISTORIES = int(os.environ.get("HISTORIES", "60")) // 3


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


@pytest.mark.thorough
async def test_a_plain_export_of_today_gives_years_of_readings_their_patients_and_offsets(migrated, tmp_path):
    """No history is told: who has a device today had it always; one decommissioned today keeps its past, and no more."""
    export = [
        {"deviceId": 1, "patientId": 7, "currentStatus": "withPatient", "customerId": 4},
        {"deviceId": 2, "currentStatus": "decommissioned", "deviceIdentifiers": [{"type": "serial", "value": "S2"}]},
        {"patientId": 7, "zipCode": "19137", "customerId": 4},
        {"patientId": 8, "zipCode": "85001"},
    ]
    path = file(tmp_path, "registry/export.json", json.dumps(export).encode())
    assert (await run(migrated, "registry", "load", path))[0] == 0
    ((opened,),) = await fetch(migrated, "SELECT first_seen FROM sources")

    def taken(year: int, month: int, **named: Any) -> bytes:
        at = f"{year}-{month:02}-15T12:00"
        document = json.loads(envelope(readingTimestamp=f"{at}:00Z", **named))
        return json.dumps({"receivedAt": f"{at}:05Z", **document}).encode() + b"\n"

    months = [(year, month) for year in range(2016, 2026) for month in (1, 7)]
    named = ({"deviceId": 1}, {"deviceIdentifier": "S2"}, {"patientId": 8})
    years = b"".join(taken(*at, **names) for at in months for names in named)
    after = json.loads(envelope(taken=opened, deviceId=2)) | {"receivedAt": rfc3339(opened + timedelta(seconds=1))}
    said = await backfill(migrated, file(tmp_path, "years.ndjson", years + json.dumps(after).encode()))
    assert (said["readings"], said["rejected"]) == (60, {"device_decommissioned": 1})
    assert await fetch(
        migrated,
        """SELECT device_id, patient_id, customer_id, patient_time_zone_offset, count(*) FROM readings
           GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 4""",
    ) == [
        (1, 7, 4, -18_000, 10),
        (1, 7, 4, -14_400, 10),
        (2, None, None, None, 20),
        (None, 8, None, -25_200, 20),
    ]


# --- the law --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_archive_stream_or_both_in_any_order_come_to_what_the_oracle_says(migrated, tmp_path, seed):
    """Line for line and column for column; what was given twice is there twice, one of them a duplicate."""
    rng = Random(seed)
    values, registry = archived(history(seed))
    how = rng.choice(("archive", "stream", "half and half", "overlapping", "two archives"))
    cut, overlap = len(values) // 2, len(values) // 4
    parts = {
        "archive": [("a", values)],
        "stream": [("s", values)],
        "half and half": [("a", values[:cut]), ("s", values[cut:])],
        "overlapping": [("a", values[: cut + overlap]), ("s", values[cut - overlap :])],
        "two archives": [("a", values[: cut + overlap]), ("a", values[cut - overlap :])],
    }[how]
    registry_records = [Record(Place(*one.place), one.timestamp, one.value) for one in registry]
    raw, steps = [], []
    for number, (kind, values_) in enumerate(parts):
        content, lines_ = b"".join(value + b"\n" for value in values_), values_
        if kind == "a":
            path = file(tmp_path, f"{number}.ndjson", content)
            source = "archive:" + sha256(content).hexdigest()
            # A byte order mark at the beginning is the file's, and not its first record's.
            lines_ = [value.removeprefix(b"\xef\xbb\xbf").strip(b" \t") for value in values_[:1]] + values_[1:]
            if lines_:
                steps.append(partial(store_archive, migrated, path, rng))
        else:
            source = "kafka:readings.raw"
        told_raw = [Record(Place(source, 0, at), archived_received_at(value), value) for at, value in enumerate(lines_)]
        if kind == "s":
            steps.append(partial(fill, migrated, [], told_raw, corrected=False))
        raw += told_raw
    told = {Place(*one.place): one for one in registry}

    def understand(record: Record) -> State | NotUnderstood:
        one = told[record.place]
        return understand_state(About(one.kind), record, told_at=one.timestamp, from_file=one.from_file, max_bytes=LAW.max_bytes, max_depth=LAW.max_depth)  # fmt: skip

    steps.append(partial(fill, migrated, registry_records, [], understand=understand, corrected=False))
    rng.shuffle(steps)
    for step in steps:
        await step()
    await fill(migrated, [], [])  # works the corrections off
    seen = dict(await fetch(migrated, "SELECT source, first_seen FROM sources"))
    given_raw = [oracle.Record(*r.place, r.received_at, r.value) for r in raw]
    due = oracle.store(given_raw, registry, oracle.Law(), zone_of, offset_s, lambda source: seen.get(source, NOON))
    database = Database(migrated, timeout_s=30)
    sources = [Source(*row) for row in await database.fetch("SELECT source_id, source, first_seen FROM sources")]
    readings_ = await rows(database, "readings", READING_COLUMNS, sources)
    rejections = await rows(database, "rejections", REJECTION_COLUMNS, sources)
    await database.close()
    places = {r.place for r in given_raw}
    due_rejections = {place: row for place, row in expected(due.rejections).items() if place in places}
    stood = {place: row for place, row in rejections.items() if place in places}
    assert differences("readings", readings_, expected(due.readings)) == []
    assert differences("rejections", stood, due_rejections) == []


async def store_archive(url: str, path: Path, rng: Random) -> None:
    """A run of the file, in batches of a few records; at times over in a few runs."""
    settings = Settings(database_url=url, batch_records=rng.randint(1, 9))
    for limit in rng.choice(([None], [3, None], [1, 5, None])):
        manner = Manner(limit=limit, accept_bad_input=True)
        stop = asyncio.Event()
        report = await run_backfill([str(path)], settings, table_zones(), manner=manner, stop=stop, tell=lambda _: None)
        assert (report.ended_by, [one.error for one in report.outcomes]) == (None, [None])


# --- killed, stopped, twice at once ---------------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.timeout(900))])
@pytest.mark.parametrize("workers", [1, 2])
async def test_killed_at_random_it_goes_on_where_it_stood(clinic, tmp_path, kills, workers):
    """kill -9 of the process that was started, whatever it was doing."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    rng = Random(seed)
    content = [lines(begin, begin + 1_500) + b"no json\n" for begin in (0, 1_500, 3_000)]
    for number, part in enumerate(content):
        file(tmp_path, f"years/{number}.ndjson.gz", gzip.compress(part))
    arguments = ("backfill", str(tmp_path / "years"), "--workers", str(workers))
    for _ in range(kills):
        async with readings(*arguments, env=environment(clinic, BATCH_RECORDS=7)) as process:
            killer = asyncio.get_running_loop().call_later(rng.uniform(0.7, 2.0), process.send, signal.SIGKILL)
            code, _, err = await process.ended()
            killer.cancel()
        assert code in (0, -signal.SIGKILL), err
    last = await backfill(clinic, tmp_path / "years")
    assert last["readings"] + last["already_there"] + sum(last["rejected"].values()) == 4_503
    assert await fetch(clinic, "SELECT count(*), count(DISTINCT reading_timestamp) FROM readings") == [(4_500, 4_500)]
    assert await fetch(clinic, "SELECT reason::text, count(*) FROM rejections GROUP BY 1") == [("malformed", 3)]
    assert await conserved(clinic)


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [1, 2])
async def test_an_interrupted_run_says_so_and_the_next_goes_on(clinic, tmp_path, workers):
    paths = [file(tmp_path, f"{n}.ndjson", lines(n * 3_000, (n + 1) * 3_000)) for n in range(2)]
    slow = environment(clinic, BATCH_RECORDS=10)
    async with readings("backfill", *map(str, paths), "--rate", "400", "--workers", str(workers), env=slow) as process:
        while not await fetch(clinic, "SELECT 1 FROM readings LIMIT 1"):
            await asyncio.sleep(0.05)
        process.send(signal.SIGINT)
        code, _, err = await process.ended()
    assert (code, "goes on where it stood" in err) == (130, True)
    ((stood,),) = await fetch(clinic, "SELECT count(*) FROM readings")
    assert 0 < stood < 6_000
    said = await backfill(clinic, *paths)
    assert (said["readings"], said["already_there"]) == (6_000 - stood, stood)


@pytest.mark.thorough
async def test_two_runs_of_one_file_at_once_store_it_once(clinic, tmp_path):
    path = file(tmp_path, "a.ndjson", lines(0, 2_000))
    said = await asyncio.gather(*(backfill(clinic, path, BATCH_RECORDS=11) for _ in range(3)))
    assert sum(one["readings"] for one in said) == 2_000
    assert [one["readings"] + one["already_there"] for one in said] == [2_000] * 3
    assert await conserved(clinic)


# --- some of it -----------------------------------------------------------------------------------------------------


@pytest.mark.thorough
async def test_what_a_time_leaves_out_is_a_gap_and_is_taken_when_it_is_asked_for(clinic, tmp_path):
    """Conserved at every step, whatever the order of the windows; what cannot be read lies in every window."""
    numbers = list(range(300))
    Random(7).shuffle(numbers)
    path = file(tmp_path, "a.ndjson", b"".join(line(n) for n in numbers) + b"no json\n")
    windows = [(100, 200), (150, 250), (100, 200), (0, 10), (0, 300)]
    taken: set[int] = set()
    for begin, end in windows:
        since, until = (rfc3339(NOON + timedelta(minutes=n)) for n in (begin, end))
        said = await backfill(clinic, path, "--since", since, "--until", until, BATCH_RECORDS=13)
        new = set(range(begin, end)) - taken
        taken |= new
        assert (said["readings"], said["left_out"]) == (len(new), 300 - len(taken))
        assert await conserved(clinic)
    assert await fetch(clinic, "SELECT count(*) FROM source_gaps") == [(0,)]
    assert (await backfill(clinic, path))["already_there"] == 301


async def test_a_row_that_the_database_refuses_stands_alone_in_a_gap_too(clinic, tmp_path):
    """The batch comes apart where it fills a gap: each piece takes its part of the gap."""
    path = file(tmp_path, "a.ndjson", lines(0, 40))
    await backfill(clinic, path, "--since", rfc3339(NOON + timedelta(minutes=30)))
    for table in ("readings", "rejections"):
        await execute(clinic, f"ALTER TABLE {table} ADD CHECK (reading_timestamp <> '2026-07-01T12:17:00Z')")
    code, out, err = await run(clinic, "backfill", "--json", path)
    assert (code, json.loads(out)["readings"], json.loads(out)["rejected"]) == (0, 29, {"unstorable": 1}), err
    assert await fetch(clinic, "SELECT count(*) FROM source_gaps") == [(0,)]
    assert await fetch(clinic, "SELECT source_offset, reason::text FROM rejections") == [(17, "unstorable")]
    assert await conserved(clinic)


@pytest.mark.thorough
async def test_a_limit_takes_the_first_that_are_not_there_yet(clinic, tmp_path):
    paths = [file(tmp_path, "a.ndjson", lines(0, 25)), file(tmp_path, "b.ndjson", lines(25, 50))]
    for expected_ in (20, 20, 10, 0):
        assert (await backfill(clinic, *paths, "--limit", 20, BATCH_RECORDS=7))["readings"] == expected_
    assert await fetch(clinic, "SELECT count(*) FROM readings") == [(50,)]


@pytest.mark.thorough
async def test_a_dry_run_counts_what_the_run_will_and_writes_nothing(clinic, tmp_path):
    """Rule 9 included: within a file, between files, and against what stands and stood aside before."""
    rng = Random(3)
    live = [line(n, received=rng.randint(0, 9), heartRate=rng.choice((60, 61))) for n in (*range(20), *range(20))]
    stream = [Record(Place("kafka:readings.raw", 0, n), archived_received_at(one), one) for n, one in enumerate(live)]
    await fill(clinic, [], stream)
    for name in ("a", "b"):
        some = [line(rng.randrange(30), received=rng.randint(0, 9), heartRate=rng.choice((60, 61))) for _ in range(60)]
        file(tmp_path, f"in/{name}.ndjson", b"".join(some) + b"no json\n" + line(1, deviceId=9))
    file(tmp_path, "in/c.ndjson", (tmp_path / "in/a.ndjson").read_bytes())
    tables = "SELECT (SELECT count(*) FROM readings), (SELECT count(*) FROM rejections), (SELECT count(*) FROM sources)"
    before = await fetch(clinic, tables)
    rehearsed = await backfill(clinic, tmp_path / "in", "--dry-run", BATCH_RECORDS=7)
    assert await fetch(clinic, tables) == before
    real = await backfill(clinic, tmp_path / "in", BATCH_RECORDS=9)
    assert rehearsed | {"dry_run": False} == real
    assert real["already_there"] == 62
    assert {"duplicate", "conflicting_duplicate", "malformed", "unknown_device"} <= real["rejected"].keys()


# --- what a file may be ---------------------------------------------------------------------------------------------


FLAT = ["type", "receivedAt", "readingTimestamp", "deviceId", "systolic", "diastolic", "heartRate", "manual", "bedTime"]
ROWS = [
    ["reading.bloodPressure", "2026-07-01T12:00:05Z", "2026-07-01T12:00:00Z", 1, 120, 80, None, True, None],
    ["reading.heartRate", "2026-07-01T12:01:05Z", "2026-07-01T12:01:00Z", 1, None, None, 60, None, None],
    ["reading.heartRate", None, "2026-07-01T12:02:00Z", 99, None, None, 60, False, None],
    ["reading.ecg", None, "2026-07-01T12:03:00Z", 1, None, None, None, None, None],
]


def document(row: list[Any]) -> dict[str, Any]:
    said = {name: value for name, value in zip(FLAT, row, strict=True) if value is not None}
    top = {name: said.pop(name) for name in ("receivedAt", "type") if name in said}
    return top | {"payload": said}


def csv_of(header: list[str], rows_: list[list[Any]]) -> bytes:
    out = io.StringIO(newline="")
    cells = [["" if c is None else str(c).lower() if isinstance(c, bool) else str(c) for c in row] for row in rows_]
    csv.writer(out).writerows([header, *cells])
    return out.getvalue().encode()


def parquet_of(header: list[str], rows_: list[list[Any]], **types: pa.DataType) -> bytes:
    columns = {name: pa.array([row[at] for row in rows_], types.get(name)) for at, name in enumerate(header)}
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def said_by(content: bytes) -> list[Any]:
    """The records of an archive with this content."""
    with TemporaryFile() as stream:
        stream.write(content)
        stream.flush()
        opened = Content(stream, opened_at=NOON)
        return [json.loads(one) for some in records_of(opened, max_bytes=LAW.max_bytes)() for one in some]


ENVELOPES = [json.dumps(document(row)) for row in ROWS]
WITHOUT = [json.dumps({k: v for k, v in document(row).items() if k != "receivedAt"}) for row in ROWS]
RECEIPTS = [row[1] for row in ROWS]


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(ENVELOPES).encode(),
        b"\xef\xbb\xbf" + "\r\n\r\n".join(ENVELOPES).encode(),
        ("[" + ",\n".join(ENVELOPES) + "]").encode(),
        csv_of(FLAT, ROWS),
        csv_of(["note", *FLAT], [["x", *row] for row in ROWS]),
        csv_of(["envelope"], [[one] for one in ENVELOPES]),
        csv_of(["received_at", "value"], [[at, one] for at, one in zip(RECEIPTS, WITHOUT, strict=True)]),
        parquet_of(FLAT, ROWS),
        parquet_of(["value", "key"], [[one.encode(), b"1"] for one in ENVELOPES]),
        parquet_of(["envelope", "receivedAt"], [[one, at] for at, one in zip(RECEIPTS, WITHOUT, strict=True)]),
        parquet_of(
            FLAT,
            [[row[0], *(t and datetime.fromisoformat(t) for t in row[1:3]), *row[3:]] for row in ROWS],
            receivedAt=pa.timestamp("ns", "UTC"),
            readingTimestamp=pa.timestamp("ms", "UTC"),
        ),
        parquet_of(FLAT, ROWS, systolic=pa.decimal128(5, 1), heartRate=pa.float64()),
    ],
)
def test_every_format_says_the_same(content):
    assert [plain(one) for one in said_by(content)] == [plain(document(row)) for row in ROWS]


def plain(value: Any) -> Any:
    """Times as instants, whole numbers as such."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, str) and value.startswith("2026-"):
        return datetime.fromisoformat(value)
    return value


def test_every_field_of_every_payload_may_be_a_column():
    assert set().union(*map(wire_names, PAYLOADS.values())) == FIELDS


def test_no_cell_is_guessed_at():
    header = ["type", "readingTimestamp", "deviceId", "heartRate", "manual", "bedTime"]
    for cells, said in (
        (["007", "60", "yes", "x"], {"deviceId": "007", "heartRate": 60, "manual": "yes", "bedTime": "x"}),
        (["1.0", " 6e1 ", "TRUE", '["a"]'], {"deviceId": 1.0, "heartRate": 60.0, "manual": True, "bedTime": ["a"]}),
        (["+1", "NaN", "0", "null"], {"deviceId": "+1", "heartRate": "NaN", "manual": "0"}),
    ):
        (found,) = said_by(csv_of(header, [["t", "now", *cells]]))
        assert found == {"type": "t", "payload": {"readingTimestamp": "now", **said}}


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"{", b"[", b"PAR1", b"envelope\n", b"type,readingTimestamp,deviceId\n"]),
)
@hypothesis.settings(max_examples=300, deadline=None)
def test_any_bytes_are_records_or_an_unreadable_file(content, beginning):
    with TemporaryFile() as stream:
        stream.write(beginning + content)
        stream.flush()
        try:
            opened = Content(stream, opened_at=NOON)
            values = [one for some in records_of(opened, max_bytes=LAW.max_bytes)() for one in some]
        except UnreadableFileError:
            return
    for value in values:
        understand_line(value, max_bytes=LAW.max_bytes, max_depth=LAW.max_depth)


async def test_a_bad_receipt_is_invalid_and_the_field_is_named(clinic, tmp_path):
    bad = line(0).replace(b'"receivedAt": "2026', b'"receivedAt": "26')
    said = await backfill(clinic, file(tmp_path, "a.ndjson", bad + line(1)))
    assert (said["readings"], said["rejected"]) == (1, {"invalid": 1})
    assert await fetch(clinic, "SELECT received_at, detail FROM rejections") == [
        (None, "receivedAt: must be a time of RFC 3339 with seconds and zone")
    ]
    assert await conserved(clinic)


# --- what cannot be read --------------------------------------------------------------------------------------------


UNREADABLE = {
    "a.pdf": (b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\n", "neither NDJSON"),
    "b.docx": (b"PK\x03\x04" + bytes(100), "not UTF-8 text"),
    "c.ndjson.gz": (gzip.compress(lines(0, 500))[:-200], "cut off or damaged"),
    "d.ndjson.zst": (zstd.compress(lines(0, 500))[:-20], "cut off or damaged"),
    "e.ndjson": (lines(0, 5).decode().encode("utf-16"), "not UTF-8 text"),
    "f.parquet": (parquet_of(FLAT[:2], [row[:2] for row in ROWS]), "no column envelope or value, nor readingTimestamp"),
    "f.parquet.gz": (gzip.compress(parquet_of(FLAT, ROWS)), "packed once more"),
    "g.parquet": (parquet_of(FLAT, ROWS)[:-30], "cut off or damaged"),
    "h.csv": (csv_of(["id", "status"], [["1", "available"]]), "no column envelope or value, nor type and readingTimestamp"),
    "i.csv": (csv_of(["type", "readingTimestamp", "heartRate"], [["t", "now", "1"]]), "they name nobody"),
    "j.csv": (csv_of([*FLAT, "received_at"], [[*row, None] for row in ROWS]), "say one thing twice"),
    "k.json": (b"[" + ENVELOPES[0].encode(), "broken JSON array"),
    "k.ndjson": (b'{"deviceId":599,"currentStatus":"withPatient"}\n', "that is for readings registry load"),
    "l.ndjson": (None, "No such file or directory"),
}  # fmt: skip


async def test_what_cannot_be_read_is_named_and_the_rest_goes_on(clinic, tmp_path):
    """Nothing of it is stored, not even what could be read before the damage, and nothing of it is quoted."""
    folder = tmp_path / "in"
    for name, (content, _) in UNREADABLE.items():
        if content is not None:
            file(folder, name, content)
    file(folder, "m.ndjson", lines(0, 10))
    file(folder, "n.ndjson", b"")
    file(folder, ".DS_Store", b"\x00")
    file(folder, "_SUCCESS", b"x")
    code, out, err = await run(clinic, "backfill", "--json", folder, folder / "l.ndjson")
    told = err.splitlines()
    assert code == 1
    assert len(told) == len(UNREADABLE)
    for text, (name, (_, why)) in zip(told, UNREADABLE.items(), strict=True):
        assert text.startswith(f"readings: {folder / name}: ")
        assert why in text
    said = json.loads(out)
    assert (said["readings"], said["unreadable"], len(said["files"])) == (10, 14, 16)
    assert await fetch(clinic, "SELECT count(*) FROM sources WHERE holds = 'readings'") == [(1,)]


async def test_lines_in_another_encoding_are_set_aside_and_the_others_are_stored(clinic, tmp_path):
    """Byte for byte, so that they can be mended; in CSV by the row."""
    strange = line(1, note="Zo\u00eb").decode().replace("\\u00eb", "\u00eb")
    mixed = [
        line(0),
        strange.encode(),
        strange.encode("latin-1"),
        strange.strip().encode("utf-8-sig") + b"\x80\n",
        line(2),
    ]
    said = await backfill(clinic, file(tmp_path, "mixed.ndjson", b"".join(mixed)))
    assert (said["readings"], said["rejected"]) == (3, {"malformed": 2})
    refused = await fetch(clinic, "SELECT source_offset, payload FROM rejections ORDER BY 1")
    assert refused == [(2, mixed[2].strip()), (3, mixed[3].strip())]
    rows_ = [[*row, "Zo\u00eb"] for row in ROWS[:2]]
    header, first, second = csv_of([*FLAT, "note"], rows_).splitlines(keepends=True)
    content = header + first + second.decode().encode("latin-1")
    said = await backfill(clinic, file(tmp_path, "mixed.csv", content))
    assert (said["readings"], said["rejected"]) == (1, {"malformed": 1})
    assert await conserved(clinic)


@pytest.mark.thorough
async def test_the_registrys_own_file_is_refused_and_the_other_way_round(clinic, tmp_path):
    both = file(tmp_path, "both.ndjson", b"\n".join([line(0), b'{"patientId":8}']))
    assert (await run(clinic, "registry", "load", both))[0] == 0
    code, _, err = await run(clinic, "backfill", both)
    assert (code, "its content is the registry's already" in err) == (1, True)
    path = file(tmp_path, "a.ndjson", lines(0, 3))
    await backfill(clinic, path)
    code, _, err = await run(clinic, "registry", "load", path)
    assert (code, "stored as readings already" in err) == (1, True)


async def test_input_that_is_unreadable_throughout_stops_the_line(clinic, tmp_path):
    path = file(tmp_path, "a.ndjson", lines(0, 50) + b'{"type":"reading.heartRate","payload":{}}\n' * 300)
    code, _, err = await run(clinic, "backfill", path, STOP_LINE_WINDOW=200)
    assert code == 1
    assert "--accept-bad-input" in err
    ((stored,),) = await fetch(clinic, "SELECT next_offset FROM source_positions JOIN sources USING (source_id) WHERE holds = 'readings'")  # fmt: skip
    assert 50 < stored < 350
    assert (await backfill(clinic, path, "--accept-bad-input"))["rejected"] == {"invalid": 350 - stored}
    throughout = file(tmp_path, "b.ndjson", b"{bad}\n" * 300)
    code, out, _ = await run(clinic, "backfill", throughout, STOP_LINE_WINDOW=200, BATCH_RECORDS=300)
    assert (code, "nothing new" in out) == (1, False)
    code, out, _ = await run(clinic, "backfill", throughout, "--accept-bad-input", "--limit", 300)
    assert (code, out.splitlines()[-1].split(":")[0]) == (0, "300 records, as many as --limit says")


def test_an_extra_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnreadableFileError, match=r"pip install 'device-readings\[parquet\]'"):
        said_by(parquet_of(FLAT, ROWS))
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)
    with pytest.raises(UnreadableFileError, match=r"pip install 'device-readings\[cloud\]'"), copied("s3://a/b"):
        pass


@pytest.mark.thorough
async def test_object_storage_is_read_through_its_library(clinic, tmp_path):
    """Its local file system stands in for a cloud: the same calls."""
    file(tmp_path, "bucket/a b.ndjson.gz", gzip.compress(lines(0, 10)))
    file(tmp_path, "bucket/deep/c.ndjson", lines(10, 20))
    root = f"file://{tmp_path}/bucket"
    assert (await backfill(clinic, f"{root}/deep/*.ndjson"))["readings"] == 10
    assert (await backfill(clinic, root))["readings"] == 10
    code, _, err = await run(clinic, "backfill", f"{root}/none.ndjson")
    assert (code, err) == (1, f"readings: {root}/none.ndjson: No such object\n")


# --- what a person sees ---------------------------------------------------------------------------------------------


async def test_the_closing_table(clinic, tmp_path):
    first = file(tmp_path, "a.ndjson", lines(0, 12) + line(0) + b"no json\n")
    second = file(tmp_path, "b.ndjson", lines(12, 20))
    code, out, err = await run(clinic, "backfill", first, second)
    assert (code, err) == (0, "")
    width = len(str(first))
    assert out.splitlines() == [
        f"{'file':<{width}}  readings  set aside  already there  left out",
        f"{first}        12          2              0         0",
        f"{second}         8          0              0         0",
        f"{'all':<{width}}        20          2              0         0",
        "  duplicate  1",
        "  malformed  1",
    ]


async def test_a_rate_is_kept_to(clinic, tmp_path):
    began = time.monotonic()
    assert (await backfill(clinic, file(tmp_path, "a.ndjson", lines(0, 300)), "--rate", 150))["readings"] == 300
    assert time.monotonic() - began > 1


async def test_it_yields_while_live_consumers_are_behind():
    stop, lags, slept = asyncio.Event(), [500, 101, 100, 900], []

    async def behind() -> int:
        return lags.pop(0)

    pace = Pace(stop, behind=behind, tolerated=100)
    pace._sleep = lambda seconds: asyncio.sleep(0, slept.append(seconds))  # type: ignore[method-assign]
    await pace(1)
    await pace(1)  # it looks every few seconds, not before each batch
    assert (lags, slept) == ([900], [5.0, 5.0])


@pytest.mark.thorough
async def test_it_goes_on_when_the_live_consumers_have_caught_up(
    clinic, tmp_path, broker, make_topics, produce, monkeypatch
):
    """With a real consumer group behind, on a real broker; a log line says why nothing moves."""
    monkeypatch.setattr(backfill_pace, "_LOOK_EVERY_S", 0.2)
    raw, devices, patients = await make_topics(raw=2, devices=1, patients=1)
    settings = {
        "kafka_bootstrap_servers": broker.bootstrap, "raw_topic": raw, "devices_topic": devices, "patients_topic": patients,
        "database_url": clinic, "batch_records": 50, "kafka_session_timeout_s": 2,
    }  # fmt: skip

    async def consume() -> None:
        consumer = Consumer(Settings(**settings), table_zones(), asyncio.Event())
        await consumer.run(until_caught_up=True)

    def live(begin: int, end: int) -> list[tuple[bytes, bytes, int, int]]:
        return [(b"1", envelope(taken=NOON - timedelta(minutes=n)), int(NOON.timestamp() * 1000), n % 2) for n in range(begin, end)]  # fmt: skip

    await produce(raw, live(1, 11))
    await consume()
    await produce(raw, live(11, 211))
    path = file(tmp_path, "a.ndjson", lines(0, 500))
    running = asyncio.create_task(archives.stored(clinic, path, settings=settings, yield_to_live=True))
    await asyncio.sleep(3)
    assert await fetch(clinic, "SELECT count(*) FROM readings") == [(10,)]
    assert not running.done()
    await consume()
    await running
    assert await fetch(clinic, "SELECT count(*) FROM readings") == [(710,)]
