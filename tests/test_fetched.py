"""What pip does not bring is fetched once, and where it cannot be had the text says what is missing."""

import sys
from pathlib import Path

import pytest

from tests.conftest import where_it_can_be_had
from tests.fetched import MissingError, fetched_once, program
from tests.timescale_wasm import Timescale


def fetched(tmp_path: Path, script: str, *, within_s: float = 30.0) -> Path:
    """What a script of Python fetches into the folder that it is told."""
    (tmp_path / "lock").write_text("1")
    return fetched_once(
        tmp_path / "lock",
        tmp_path / "kept",
        lambda folder: [sys.executable, "-c", script, str(folder)],
        registry="the registry",
        within_s=within_s,
    )


def test_it_is_fetched_once_and_only_when_whole(tmp_path: Path) -> None:
    for half in ("import os, sys; os.mkdir(sys.argv[1]); sys.exit('Error: 404')", "import time; time.sleep(60)"):
        with pytest.raises(MissingError, match=r"lacks what the registry did not give: Error: 404|lacks an answer of"):
            fetched(tmp_path, half, within_s=3.0)
    assert list((tmp_path / "kept").iterdir()) == []
    folder = fetched(tmp_path, "import os, sys; os.mkdir(sys.argv[1])")
    assert fetched(tmp_path, "import sys; sys.exit('asked again')") == folder
    assert list((tmp_path / "kept").iterdir()) == [folder]


def test_a_missing_program_is_a_skip_and_in_ci_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingError, match=r"^lacks the program node \(on Debian: nodejs\)$"):
        program("node")
    for ci, outcome in (("", pytest.skip.Exception), ("true", pytest.fail.Exception)):
        monkeypatch.setenv("CI", ci)
        with pytest.raises(outcome, match=r"TimescaleDB.*lacks the program node"):
            where_it_can_be_had(Timescale(), "TimescaleDB").__enter__()
