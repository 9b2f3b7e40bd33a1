"""Compiled modules that are older than their source: what they would be tested or measured for is gone."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("enrich", "ingest", "schemas", "sinks")


def stale() -> str | None:
    """What to do about a source that has changed since `make compile`; None if there is none."""
    for room in ROOMS:
        for module in (ROOT / room).rglob("*.so"):
            source = module.with_name(module.name.partition(".")[0] + ".py")
            if source.exists() and source.stat().st_mtime > module.stat().st_mtime:
                return f"{source.relative_to(ROOT)} has changed since it was compiled: make compile, or make clean"
    return None
