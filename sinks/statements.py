"""The SQL of the write path: one statement a file, under `sinks/sql`."""

from functools import cache
from importlib.resources import files


@cache
def sql(name: str) -> str:
    """The statement in `sinks/sql/<name>.sql`."""
    return files("sinks").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
