"""The OpenAPI document, and whether the service keeps to it: Schemathesis asks it whatever the document lets one ask."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from ingest.http.problems import Problem
from schemas.kinds import Kind
from tests.api import SECRET, Api, serving, settings_of
from tests.conftest import Broker, MakeTopics
from tests.test_api_devices import PATIENTS, device
from tests.test_api_readings import PATH

CONFIG = """
[parameters]
device_id = 599
patient_id = 7

# The list of statuses is open, and no schema tells which of them are known.
[[operations]]
include-name = ["PATCH /api/v3/device/{device_id}", "POST /api/v3/device/replace"]
checks.positive_data_acceptance.expected-statuses = [200, 404, 409, 422]
"""


@pytest.fixture
async def api(migrated: str, broker: Broker, make_topics: MakeTopics) -> AsyncIterator[Api]:
    names = await make_topics(raw=1, devices=1, patients=1)
    async with serving(await settings_of(migrated, broker, names)) as served:
        named = {"deviceIdentifiers": [{"type": "serial", "value": "ABC123"}]}  # those of the document's examples
        await served.tell(device(599, **named), device(600), *PATIENTS)
        yield served


async def asked(api: Api, tmp_path: Path, *options: str) -> str:
    """What Schemathesis says at the end, if it found nothing."""
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json", "--no-color", "--continue-on-failure",
        "--generation-database", "none", "--generation-allow-x00", "false", "--seed", "20261121", "--header", f"Impilo-API-Key: {api.keys[1]}",
        "--header", f"Impilo-Webhook-Secret: {SECRET}", *options,
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=dict(os.environ),
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


@pytest.mark.thorough
async def test_schemathesis_finds_nothing(api: Api, tmp_path: Path) -> None:
    """The examples of each operation; whatever else the document lets one ask is for the thorough."""
    said = await asked(api, tmp_path, "--phases", "examples")
    operations = 3 * len(Kind) + 12
    assert f"{operations} selected / {operations} total" in said, said


@pytest.mark.thorough
@pytest.mark.timeout(1_200)
async def test_schemathesis_finds_nothing_however_long_it_asks(api: Api, tmp_path: Path) -> None:
    # A reading is not there as soon as it is given: 202 promises that it is going to be.
    await asked(api, tmp_path, "--max-examples", "25", "--exclude-checks", "ensure_resource_availability")


async def test_the_document_is_openapi_3_1_in_json_and_yaml_and_names_every_operation_and_problem(api: Api) -> None:
    status, document = await api.ask("GET", "/openapi.json")
    assert (status, document["openapi"][:4]) == (200, "3.1.")
    as_yaml = await api.anonymous.get("/openapi.yaml")
    assert as_yaml.headers["content-type"].startswith("application/yaml")
    assert yaml.safe_load(as_yaml.text) == document
    paths = document["paths"]
    assert {path for path in paths if path.endswith("-reading")} == {f"/api/v3/{path}" for path in PATH.values()}
    assert document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == [
        str(problem) for problem in Problem
    ]
    for operations in paths.values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["security"]
            assert {"401", "500", "503"} <= operation["responses"].keys()
            assert ("429" in operation["responses"]) == (operation["security"] == [{"key": []}])


async def test_the_pages_need_nothing_from_elsewhere(api: Api) -> None:
    for page in ("/docs", "/redoc"):
        told = await api.anonymous.get(page)
        assert told.status_code == 200
        assert "https://" not in told.text
        assert "http://" not in told.text
    for file in ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js"):
        assert len((await api.anonymous.get(f"/static-offline-docs/{file}")).content) > 100_000
