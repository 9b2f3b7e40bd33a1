"""What the figures were measured on, and what a process has spent."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from ingest.compiled import compiled

_PACKAGES = ("device-readings", "aiokafka", "asyncpg", "pydantic", "pydantic_core")


def machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "load": [round(load, 2) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    """Of Python and the packages that count; the servers tell theirs."""
    found = {"python": platform.python_version(), "compiled": "yes" if compiled() else "no"}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def processor_s(pid: int | None) -> float | None:
    """Processor seconds of a process and all that ever worked for it; None where nobody told which it is."""
    if pid is None:
        return None
    process = psutil.Process(pid)
    spent = process.cpu_times()
    total = spent.user + spent.system + spent.children_user + spent.children_system
    for child in process.children(recursive=True):
        try:
            own = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += own.user + own.system
    return total


def spent(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else now - before


def _processor() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n")
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in told if line.startswith("model name")), platform.machine())
