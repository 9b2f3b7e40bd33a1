"""Run the benchmarks: `python -m tests.bench`, or `make bench`; `--only NAME,…` some of them, `--list` says what there is.

Each is a module of this folder that can be run by itself too (`python -m tests.bench.stages`), and runs in a process of
its own here, so that none warms or fattens the next.
"""

import argparse
import ast
import json
import shlex
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.bench.found import saved
from tests.bench.run import options, without

HERE = Path(__file__).parent
BENCHMARKS = ("stages", "end_to_end", "registry_sizes", "backfill", "latency", "corrections", "memory", "zones")
STUDIES = ("growth", "table_layouts")
"""They take long, and are run when they are named."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Run the benchmarks.", allow_abbrev=False
    )
    parser.add_argument("--only", type=_names, default=BENCHMARKS, metavar="NAME,…", help="(default: all but studies)")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    options(parser)
    told = parser.parse_args()
    if told.list:
        for name in (*BENCHMARKS, *STUDIES):
            print(f"{name:<16}{_first_line(name)}")
        return 0
    began, failed, missed = datetime.now(UTC), list[str](), list[str]()
    found: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        for name in told.only:
            file = Path(folder, name)
            print(f"\n=== {name}: {_first_line(name)}", flush=True)
            started = time.monotonic()
            passed_on = without(sys.argv[1:], "--only", "--json")
            command = [sys.executable, "-m", f"tests.bench.{name}", *passed_on, "--json", str(file)]
            subprocess.run(command, cwd=HERE.parents[1])
            seconds = round(time.monotonic() - started)
            print(f"=== {name}: {seconds} s", flush=True)
            if file.exists():
                found[name] = {"seconds": seconds, **json.loads(file.read_text(encoding="utf-8"))}
                missed += [f"{name}: {target['what']}" for target in found[name]["targets"] if not target["met"]]
            else:
                failed.append(name)
    if told.json:
        command_line = shlex.join([*parser.prog.split(), *without(sys.argv[1:], "--database-url", "--json")])
        saved({"began": began.isoformat(timespec="seconds"), "command": command_line, "benchmarks": found}, told.json)
    for words, names in (("failed", failed), ("missed", missed)):
        for name in names:
            print(f"{words}: {name}", file=sys.stderr)
    return int(bool(failed or missed))


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in (*BENCHMARKS, *STUDIES):
            raise argparse.ArgumentTypeError(f"no benchmark {name}: there is {', '.join((*BENCHMARKS, *STUDIES))}")
    return names


def _first_line(name: str) -> str:
    source = (HERE / f"{name}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
