"""Builds what pyproject.toml describes; with COMPILE_READINGS=1 in the environment, with its hot modules compiled.

They are ordinary, typed Python, and mypyc makes C of them: the same answers from the same source, for fewer cycles. The
image is built so. It takes a C compiler, the headers of Python, and, where it is built, mypy and all that is imported;
without them, nothing is missing but speed.
"""

import os

from setuptools import setup

HOT = [
    "enrich/as_of.py",
    "enrich/judge.py",
    "enrich/law.py",
    "enrich/offsets.py",
    "enrich/rank.py",
    "enrich/registry.py",
    "ingest/change.py",
    "ingest/judging.py",
    "ingest/newest.py",
    "ingest/pending.py",
    "ingest/stop_line.py",
    "schemas/envelope.py",
    "schemas/judgement.py",
    "schemas/payload_reading.py",
    "schemas/plain.py",
    "schemas/reading.py",
    "schemas/record.py",
    "schemas/states.py",
    "schemas/value.py",
    "sinks/copy_format.py",
]
"""What every reading passes through."""


def extensions() -> list[object]:
    if os.environ.get("COMPILE_READINGS") != "1":
        return []
    from mypyc.build import mypycify  # noqa: PLC0415  # it comes with mypy, which only this needs

    # Strictly: `__eq__` and the like give what they are annotated with, never NotImplemented.
    return mypycify(HOT, group_name="schemas.readings", strict_dunder_typing=True)


setup(ext_modules=extensions())
