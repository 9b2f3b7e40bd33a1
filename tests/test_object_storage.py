"""Archives in object storage: by the clouds' own protocols, against servers that know who asks."""

import gzip
from collections.abc import Iterator

import obstore
import pytest
from obstore.store import from_url

from tests.archives import backfill, environment, fetch, lines
from tests.conftest import where_it_can_be_had
from tests.object_stores import BUCKET, S3, Azure
from tests.service import readings

# The first to ask may wait for npm.
pytestmark = [pytest.mark.thorough, pytest.mark.timeout(420), pytest.mark.xdist_group("object stores")]

Store = S3 | Azure
WRONG = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"


@pytest.fixture(scope="module", params=[S3, Azure], ids=["s3", "az"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with where_it_can_be_had(request.param(start_timeout_s=300.0), "object storage") as server:
        server.make_bucket()
        yield server


async def test_archives_are_found_and_taken_by_name_pattern_and_folder(clinic, store, monkeypatch):
    """Found through the environment, as by the clouds' own clients; a name may hold blanks."""
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    root = f"{store.scheme}://{BUCKET}"
    bucket = from_url(f"{root}/")
    objects = {
        "2025/a b.ndjson.gz": gzip.compress(lines(0, 10)),
        "2025/deep/c.ndjson": lines(10, 20),
        "2026/d.ndjson": lines(20, 30),
        "2026/e.pdf": b"%PDF-1.7",
        # More than one request, and than one chunk of the copy.
        "large/f.ndjson": lines(30, 60_030),
    }
    for key, content in objects.items():
        obstore.put(bucket, key, content)
    assert len(objects["large/f.ndjson"]) > 10_000_000
    assert (await backfill(clinic, f"{root}/2025/deep/c.ndjson"))["readings"] == 10
    assert (await backfill(clinic, f"{root}/2025"))["readings"] == 10
    assert (await backfill(clinic, f"{root}/*.ndjson", "--limit", 20))["readings"] == 20
    said = await backfill(clinic, f"{root}/large/*", "--limit", 1_000, BATCH_RECORDS=1_000)
    assert said["readings"] == 1_000
    async with readings("backfill", f"{root}/2026/", f"{root}/none.ndjson", env=environment(clinic)) as process:
        code, _, err = await process.ended()
    told = [line for line in err.splitlines() if line.startswith("readings: ")]
    assert code == 1
    assert [line.partition(": ")[2].partition(": ")[0] for line in told] == [
        f"{root}/2026/e.pdf",
        f"{root}/none.ndjson",
    ]
    assert told[1].endswith("No such object")
    assert await fetch(clinic, "SELECT count(*) FROM readings") == [(1_040,)]


async def test_a_key_that_is_not_the_right_one_is_told_without_it(clinic, store, monkeypatch):
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    obstore.put(from_url(f"{store.scheme}://{BUCKET}/"), "a.ndjson", lines(0, 3))
    monkeypatch.setenv(store.key_setting, WRONG)
    file = f"{store.scheme}://{BUCKET}/a.ndjson"
    async with readings("backfill", file, env=environment(clinic)) as process:
        code, out, err = await process.ended()
    assert (code, err.startswith(f"readings: {file}: the object storage does not give it (")) == (1, True), err
    assert WRONG not in out + err
