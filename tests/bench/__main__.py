"""List and run the benchmarks: `python -m tests.bench [--list] [NAME …]`, or `make bench` for all of them.

A benchmark is a module of this folder that can be run by itself (it has a `__main__` part); the first line of its
docstring says what it measures. Each runs in a process of its own, so that none warms or fattens the next.
"""

import argparse
import ast
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def benchmarks() -> dict[str, str]:
    """What can be run, by name, and what each measures."""
    found = {}
    for path in sorted(HERE.glob("*.py")):
        source = path.read_text(encoding="utf-8")
        if not path.stem.startswith("_") and "__main__" in source:
            found[path.stem] = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
    return found


def main() -> int:
    found = benchmarks()
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Run the benchmarks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(found)} (default: all)")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in found]:
        parser.error(f"no benchmark {unknown[0]}: there is {', '.join(found)}")
    chosen = asked.names or list(found)
    for name in chosen:
        print(f"{name:<24} {found[name]}")
    if asked.list:
        return 0
    failed = []
    for name in chosen:
        print(f"\n=== {name}", flush=True)
        began = time.monotonic()
        if subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], cwd=HERE.parents[1]).returncode != 0:
            failed.append(name)
        print(f"=== {name}: {'failed after' if name in failed else 'done in'} {time.monotonic() - began:.1f} s")
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
