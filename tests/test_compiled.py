"""The wheel of the image: what every reading passes through is compiled, and needs no compiler to run."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILT_FROM = ("enrich", "ingest", "schemas", "sinks", "README.md", "pyproject.toml", "setup.py")
JUDGED = """
from datetime import UTC, datetime
from enrich import judge, offsets, registry
from enrich.law import Law
from enrich.zones import table_zones
from ingest.compiled import compiled
from schemas.record import Place, Record
from sinks import copy_format

value = b'{"type":"reading.weight","payload":{"readingTimestamp":"2026-03-08T07:00:00Z","patientId":7,"weight":150}}'
known = registry.Registry(table_zones())
known.begin(version=1)
given = Record(Place("kafka:readings.raw", 0, 0), datetime(2026, 3, 9, tzinfo=UTC), value)
accepted = judge.judge(given, first_seen=datetime(2026, 3, 9, tzinfo=UTC), registry=known, law=Law()).judgement
print(compiled(), {module.__file__.endswith(".so") for module in (judge, offsets, registry, copy_format)}, accepted.key)
"""


@pytest.mark.thorough
@pytest.mark.parametrize("compiles", [True, False], ids=["compiled", "as it stands"])
def test_the_wheel_judges_compiled_and_as_it_stands(tmp_path: Path, compiles: bool) -> None:
    if compiles and not (shutil.which("cc") and Path(sysconfig.get_path("include"), "Python.h").exists()):
        unable = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        unable("a C compiler and the headers of Python are needed")
    source, installed = tmp_path / "source", tmp_path / "installed"
    leave_out = shutil.ignore_patterns("*.so", "__pycache__")
    source.mkdir()
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=leave_out)
        else:
            shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*pip, "--target", installed, source], env=os.environ | {"COMPILE_READINGS": str(int(compiles))}, check=True
    )
    # -P: what lies in the folder that it runs in is not what it imports.
    told = subprocess.run(
        [sys.executable, "-P", "-c", JUDGED], capture_output=True, text=True, check=True, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
    ).stdout  # fmt: skip
    key = "ReadingKey(subject=-7, kind=<Kind.WEIGHT: 'weight'>, reading_timestamp=datetime.datetime(2026, 3, 8, 7, 0, "
    assert told == f"{compiles} {{{compiles}}} {key}tzinfo=datetime.timezone.utc))\n"
