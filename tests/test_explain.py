"""`readings explain`: the verdict it walks to is what stands, and it names what decided."""

import asyncio
import gzip
import json
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import asyncpg
import pytest

from enrich.zones import table_zones
from ingest.cli.explained import explanation_as_json, explanation_in_words
from ingest.explain import explain
from ingest.explanation import Explanation, Fate
from ingest.settings import Settings
from schemas.reasons import Reason
from schemas.record import Place, Record
from tests import archives
from tests.build import NOON, at, envelope, record
from tests.conftest import execute, fresh_database
from tests.fill import DEVICES, PATIENTS, RAW, fill, fill_with
from tests.histories import history
from tests.service import readings

SINCE = at("2026-01-05T14:00")


def told(source: str, *messages: dict) -> list[Record]:
    """Registry records, told the day after they count from."""
    day_after = SINCE + timedelta(days=1)
    stated = [{"effectiveAt": SINCE.isoformat(), **message} for message in messages]
    return [
        record(json.dumps(one).encode(), offset=n, received=day_after, source=source) for n, one in enumerate(stated)
    ]


REGISTRY = [
    *told(
        DEVICES,
        {"deviceId": 1, "deviceIdentifiers": [{"type": "serial", "value": "A"}], "currentStatus": "withPatient", "patientId": 7, "customerId": 1},
        {"deviceId": 2, "deviceIdentifiers": [{"value": "B"}], "currentStatus": "decommissioned"},
        {"deviceId": 3, "disabledReadings": True},
        {"deviceId": 1, "effectiveAt": "2026-06-01T00:00:00Z", "currentStatus": "lost"},
        {"deviceId": 4, "customerId": 1},
        {"deviceId": 5, "patientId": 9},
    ),
    *told(PATIENTS, {"patientId": 7, "zipCode": "19137", "customerId": 1}, {"patientId": 8, "customerId": 2}, {"patientId": 9, "zipCode": "09012", "effectiveAt": "2026-07-02T00:00:00Z"}),
    record(b"junk", offset=3, source=PATIENTS),
]  # fmt: skip
GIVEN: list[tuple[str, bytes | None]] = [
    ("reading", envelope(deviceId=1)),
    ("reading", envelope(deviceIdentifier="A", taken=NOON - timedelta(hours=1))),
    ("malformed", None),
    ("malformed", b"junk"),
    ("unknown_reading_type", b'{"type":"reading.ecg"}'),
    ("invalid", envelope(deviceId=0)),
    ("timestamp_implausible", envelope(taken=NOON + timedelta(days=2))),
    ("timestamp_implausible", envelope(taken=at("2000-01-01T00:00"))),
    ("device_mismatch", envelope(deviceId=1, deviceIdentifier="B")),
    ("unknown_device", envelope(deviceIdentifier="nobody's")),
    ("unknown_device", envelope(deviceId=99)),
    ("device_decommissioned", envelope(deviceId=2)),
    ("readings_disabled", envelope(deviceId=3)),
    ("customer_mismatch", envelope(deviceId=4, patientId=8)),
    ("duplicate", envelope(deviceId=1)),
    ("conflicting_duplicate", envelope(deviceId=1, heartRate=61)),
    ("reading", envelope(deviceId=5)),
    ("reading", envelope(patientId=7)),
    ("reading", envelope(deviceId=1, deviceIdentifier="nobody's", taken=at("2025-12-01T00:00"))),
]
OFFSETS = {n: n + (n > 9) + 10 for n in range(len(GIVEN))}  # the first is 10, and 20 was never given
CASES = [record(value, offset=OFFSETS[n], received=NOON + timedelta(seconds=n)) for n, (_, value) in enumerate(GIVEN)]


async def explained(url: str, source: str, partition: int, offset: int) -> Explanation:
    found = await explain(Settings(database_url=url), table_zones(), source=source, partition=partition, offset=offset)
    assert found is not None
    assert json.loads(json.dumps(explanation_as_json(found)))["became"] == found.fate
    return found


async def words(url: str, number: int) -> list[str]:
    """What is said of a case."""
    return explanation_in_words(await explained(url, RAW, 0, OFFSETS[number]))


@pytest.fixture(scope="module")
def filled_template(postgres_server, migrated_template) -> Iterator[str]:
    name = f"filled_{secrets.token_hex(4)}"

    async def make() -> None:
        await execute(postgres_server.url, f"CREATE DATABASE {name} TEMPLATE {migrated_template}")
        await fill(urlsplit(postgres_server.url)._replace(path=f"/{name}").geturl(), REGISTRY, CASES)

    asyncio.run(make())
    yield name
    asyncio.run(execute(postgres_server.url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def filled(postgres_server, filled_template) -> AsyncIterator[str]:
    """The URL of a store with a case of every rule."""
    async with fresh_database(postgres_server, filled_template) as url:
        yield url


async def test_every_rules_case_is_told_as_it_stands(filled: str) -> None:
    """The walk itself asserts that it comes to what the judgement comes to."""
    for number, (became, _) in enumerate(GIVEN):
        found = await explained(filled, RAW, 0, OFFSETS[number])
        assert (found.should_be or "reading", found.differs) == (became, False), explanation_in_words(found)
        assert found.fate is (Fate.READING if became == "reading" else Fate.REJECTION)
        rules = [step.rule for step in found.steps]
        assert rules == sorted(rules)
        assert (rules[-1] == 9) == (became == "reading" or "duplicate" in became)


async def test_a_reading_is_told_with_every_state_that_decided(filled: str) -> None:
    assert await words(filled, 1) == [
        "kafka:readings.raw 0 11: a reading",
        "received 2026-07-01T12:00:01Z, taken 2026-07-01T11:00:00Z, heartRate",
        "  rule 1  The bytes are one JSON object.",
        "  rule 2  Its type is reading.heartRate.",
        "  rule 3  Every field keeps the schema.",
        "  rule 4  It was taken at 2026-07-01T11:00:00Z: not before 2001-01-01T00:00:00Z, nor 24 h after 2026-07-01T12:00:01Z.",
        "  rule 5  It names identifier A: device 1's, by the earliest state naming it. By kafka:registry.devices 0 0, counting from 2026-01-05T14:00:00Z, recorded 2026-01-06T14:00:00Z.",
        "  rule 6  As of 2026-07-01T12:00:01Z the device's status was lost, which allows readings. By kafka:registry.devices 0 3, counting from 2026-06-01T00:00:00Z, recorded 2026-01-06T14:00:00Z.",
        "  rule 6  As of 2026-07-01T12:00:01Z no state said that readings are disabled.",
        "  rule 7  As of 2026-07-01T11:00:00Z, when it was taken, the device was patient 7's. By kafka:registry.devices 0 0, counting from 2026-01-05T14:00:00Z, recorded 2026-01-06T14:00:00Z.",
        "  rule 7  As of 2026-07-01T12:00:01Z the device's customer was 1. By kafka:registry.devices 0 0, counting from 2026-01-05T14:00:00Z, recorded 2026-01-06T14:00:00Z.",
        "  rule 7  As of 2026-07-01T12:00:01Z the patient's customer was 1. By kafka:registry.patients 0 0, counting from 2026-01-05T14:00:00Z, recorded 2026-01-06T14:00:00Z.",
        "  rule 8  The patient's zip code as of 2026-07-01T11:00:00Z is the last said by then. By kafka:registry.patients 0 0, counting from 2026-01-05T14:00:00Z, recorded 2026-01-06T14:00:00Z.",
        "  rule 8  The zone of that is America/New_York (exact); its offset at 2026-07-01T11:00:00Z was -14400 s.",
        "  rule 9  It is the only one of device 1, heartRate and 2026-07-01T11:00:00Z.",
    ]


async def test_one_set_aside_is_told_with_all_that_share_its_key(filled: str) -> None:
    assert (await words(filled, 15))[-4:] == [
        "  rule 9  Of 3 of device 1, heartRate and 2026-07-01T12:00:00Z it is number 3: kafka:readings.raw 0 10 came first, and says otherwise.",
        "  1. kafka:readings.raw 0 10, received 2026-07-01T12:00:00Z: reading",
        "  2. kafka:readings.raw 0 25, received 2026-07-01T12:00:14Z: duplicate",
        "  3. kafka:readings.raw 0 26, received 2026-07-01T12:00:15Z: conflicting_duplicate",
    ]


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (2, "  rule 1  Refused: no bytes."),
        (4, "  rule 2  Refused."),
        (5, "  rule 3  Refused: payload.deviceId: must be a whole number from 1 to 9223372036854775807."),
        (6, "  rule 4  It was taken at 2026-07-03T12:00:00Z, more than 24 h after 2026-07-01T12:00:06Z."),
        (7, "  rule 4  It was taken at 2000-01-01T00:00:00Z, before 2001-01-01T00:00:00Z."),
        (8, "  rule 5  These are 2 devices: 1, 2."),
        (9, "  rule 5  No device is left."),
        (10, "  rule 5  No state tells of device 99."),
        (11, "  rule 6  As of 2026-07-01T12:00:11Z the device's status was decommissioned, which blocks readings. By kafka:registry.devices 0 1, counting from 2026-01-05T14:00:00Z, recorded 2026-01-06T14:00:00Z."),
        (12, "  rule 6  As of 2026-07-01T12:00:12Z its readings were disabled. By kafka:registry.devices 0 2, counting from 2026-01-05T14:00:00Z, recorded 2026-01-06T14:00:00Z."),
        (13, "  rule 7  Device and named patient are of different customers."),
    ],
)  # fmt: skip
async def test_the_last_step_is_the_rule_that_refused_it(filled: str, number: int, line: str) -> None:
    assert (await words(filled, number))[-1] == line


async def test_a_zip_code_is_never_told_but_why_there_is_no_zone(filled: str) -> None:
    said = await words(filled, 16)
    assert said[-3:-1] == [
        "  rule 8  The patient's zip code as of 2026-07-01T12:00:00Z is the first that was said, which covers the time before. By kafka:registry.patients 0 2, counting from 2026-07-02T00:00:00Z, recorded 2026-01-06T14:00:00Z.",
        "  rule 8  The patient has no zone then: military_mail.",
    ]
    everything = [line for number in range(len(GIVEN)) for line in await words(filled, number)]
    assert not [line for line in everything if "19137" in line or "09012" in line]


async def test_before_its_first_state_a_device_is_known_and_not_assigned(filled: str) -> None:
    said = await words(filled, 18)
    assert "  rule 5  It names identifier nobody's, which is nobody's: ignored." in said
    assert "  rule 7  As of 2025-12-01T00:00:00Z, when it was taken, the device was nobody's." in said
    assert "  rule 8  Without a patient there is no zone." in said


@pytest.mark.parametrize(
    ("source", "partition", "offset", "became"),
    [
        ("readings.raw", 0, 10, "a reading"),
        (RAW, 0, 20, "never given to us: it lies in a gap from 20 to 20 (skipped)"),
        (RAW, 0, 30, "not taken yet: the next to take is 30"),
        (RAW, 5, 0, "not taken yet: nobody has begun its partition"),
        (RAW, 0, 9, "never asked for: the first that was there is 10"),
        (DEVICES, 0, 4, "a state of device 4, counting from 2026-01-05T14:00:00Z, recorded 2026-01-06T14:00:00Z; it says customerId"),
        (PATIENTS, 0, 0, "a state of patient 7, counting from 2026-01-05T14:00:00Z, recorded 2026-01-06T14:00:00Z; it says customerId, zipCode"),
        (PATIENTS, 0, 3, "set aside as malformed. The bytes are not one UTF-8 JSON object within the limits of size and depth."),
    ],
)  # fmt: skip
async def test_what_is_no_reading_is_told_too(
    filled: str, source: str, partition: int, offset: int, became: str
) -> None:
    found = await explained(filled, source, partition, offset)
    assert explanation_in_words(found)[0] == f"{' '.join(map(str, found.place))}: {became}"


async def test_why_a_record_was_not_understood_is_told_once(filled: str) -> None:
    first, _, *steps = await words(filled, 3)
    assert first.endswith(f": set aside as malformed. {Reason.MALFORMED.sentence}")
    assert steps == ["  rule 1  Refused: not one UTF-8 JSON object."]


async def test_a_line_that_stands_wrong_is_told_with_what_it_should_be(filled: str) -> None:
    connection = await asyncpg.connect(filled)
    await connection.execute("UPDATE readings SET patient_id = 8 WHERE source_offset = 11")
    await connection.execute("UPDATE rejections SET reason = 'unknown_device' WHERE source_offset = 22")
    await connection.execute("DELETE FROM rejections WHERE source_offset = 25")
    await connection.close()
    assert (await words(filled, 1))[
        -1
    ] == "By what is known now it should be a reading, with other columns: run: readings verify."
    assert (
        (await words(filled, 11))[-1]
        == "By what is known now it should be set aside as device_decommissioned, with other columns: run: readings verify."
    )
    assert (await explained(filled, RAW, 0, 25)).fate is Fate.MISSING


async def test_while_corrections_are_pending_it_says_so(migrated: str) -> None:
    await fill(migrated, REGISTRY, CASES, late=True, corrected=False)
    found = await explained(migrated, RAW, 0, 10)
    assert (found.fate, found.should_be) == (Fate.REJECTION, None)
    assert (
        explanation_in_words(found)[-1]
        == f"By what is known now it should be a reading: {found.pending} corrections are pending."
    )


@pytest.mark.parametrize("seed", [1])
async def test_the_verdict_equals_the_stored_row_for_every_record_of_a_history(migrated: str, seed: int) -> None:
    given = history(seed, most_records=50, most_states=40)
    await fill_with(migrated, given, interleaved=Random(seed))
    connection = await asyncpg.connect(migrated)
    stored = {
        Place(*row[:3]): None
        for row in await connection.fetch(
            "SELECT source, source_partition, source_offset FROM readings JOIN sources USING (source_id)"
        )
    }
    rejections = await connection.fetch(
        "SELECT source, source_partition, source_offset, reason::text FROM rejections JOIN sources USING (source_id)"
    )
    stored |= {Place(*row[:3]): Reason(row["reason"]) for row in rejections}
    await connection.close()
    for place, reason in stored.items():
        found = await explained(migrated, *place)
        assert (found.should_be, found.differs) == (reason, False), "\n".join(
            [f"history {seed}", *explanation_in_words(found)]
        )


async def test_the_command_says_it_and_an_unknown_source_is_1(filled: str) -> None:
    env = {**os.environ, "READINGS_DATABASE_URL": filled}

    async def run(*arguments: str) -> tuple[int, str, str]:
        async with readings("explain", *arguments, env=env) as process:
            return await process.ended()

    known, unknown = await asyncio.gather(run(RAW, "0", "10", "--json"), run("nothing", "0", "10"))
    assert known[0] == 0
    said = json.loads(known[1])
    assert said["became"] == "reading"
    assert [one["became"] for one in said["same_key"]] == ["reading", "duplicate", "conflicting_duplicate"]
    assert said["steps"][4]["by"] is None
    assert said["steps"][5]["by"] == {"source": DEVICES, "partition": 0, "offset": 3, "counts_from": "2026-06-01T00:00:00Z", "recorded_at": "2026-01-06T14:00:00Z"}  # fmt: skip
    assert unknown == (1, "", "readings: there is no source nothing; see: readings status\n")


@pytest.mark.thorough
async def test_an_archive_is_told_by_the_beginning_of_its_name_or_by_its_file(clinic: str, tmp_path: Path) -> None:
    """As `status` shows it; under whatever name and packing the file comes."""
    content = archives.lines(0, 3)
    await archives.stored(clinic, archives.file(tmp_path, "a.ndjson", content))
    packed = archives.file(tmp_path, "b.gz", gzip.compress(content))
    name = f"archive:{sha256(content).hexdigest()}"
    for source in (name, name[:20], f"{name[:20]}…", str(packed)):
        code, out, err = await archives.run(clinic, "explain", "--json", source, "0", "2")
        assert (code, err) == (0, "")
        assert (json.loads(out)["source"], json.loads(out)["became"]) == (name, "reading")
    _, out, _ = await archives.run(clinic, "explain", name, "0", "3")
    assert out.splitlines()[0].endswith(": not taken yet, if the archive goes so far: the next to take is 3")
    code, _, err = await archives.run(clinic, "explain", "archive:", "0", "2")
    assert (code, err.startswith("readings: several archives begin with archive:")) == (1, True)
    code, _, err = await archives.run(clinic, "explain", str(archives.file(tmp_path, "c.ndjson", b"{}")), "0", "0")
    assert (code, "there is no source" in err) == (1, True)
