"""What cannot live in the product's environment: uszipcode, and the tools that build the zip table.

Each gets an environment of its own, made by pip from the pins and kept for the next run (`.venv-uszipcode`,
`.venv-zip-table`). Where pip cannot reach a registry that is a skip, and a failure in CI.
"""

import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "enrich" / "zip_table" / "build.py"
OWN_PYTEST = "[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider\nfilterwarnings =\n  error\n  ignore:Using slow pure-python\n"

pytestmark = [pytest.mark.timeout(900), pytest.mark.thorough, pytest.mark.xdist_group("zip_environments")]


def python_with(name: str, *requirements: str) -> Path:
    """The interpreter of the environment `name`, made anew when the requirements are others than it was made from."""
    home = ROOT / name
    made_from = home / "made-from.txt"
    wanted = "\n".join([sys.version, *requirements])
    if not made_from.exists() or made_from.read_text() != wanted:
        venv.create(home, clear=True, with_pip=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        made = subprocess.run([*pip, *requirements], capture_output=True, text=True)
        if made.returncode != 0:
            unable = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            unable(f"pip could not install {' '.join(requirements)}: {made.stderr.strip()[-300:]}")
        made_from.write_text(wanted)
    return home / "bin" / "python"


def run(python: Path, *arguments: str | Path) -> subprocess.CompletedProcess:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [str(python), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


def test_uszipcode_passes_the_contract_in_an_environment_of_its_own(tmp_path):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pytest_pin = next(pin for pin in extras["dev"] if pin.startswith("pytest>"))
    python = python_with(".venv-uszipcode", *extras["uszipcode"], "tzdata", pytest_pin)
    (tmp_path / "pytest.ini").write_text(OWN_PYTEST)
    suites = [ROOT / "tests" / "test_zones_contract.py", ROOT / "tests" / "zones_uszipcode.py"]
    ran = run(python, "-m", "pytest", "-c", tmp_path / "pytest.ini", "--rootdir", ROOT, "--noconftest", "-v", *suites)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert "test_the_acceptance_cases[uszipcode" in ran.stdout
    assert " skipped" not in ran.stdout


def test_the_table_is_what_its_pinned_inputs_give_byte_for_byte():
    """Two runs under different hash seeds, each compared with the files that are packaged."""
    pins = re.search(r"pip install --no-deps (.*)", BUILD.read_text()).group(1).split()
    python = python_with(".venv-zip-table", "--no-deps", *pins)
    for _ in range(2):
        built = run(python, BUILD, "--check")
        assert built.returncode == 0, built.stdout + built.stderr
