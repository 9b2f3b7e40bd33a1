"""The options that all benchmarks have in common, and how one of them is run."""

import argparse
import asyncio
import os
import shlex
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from tests.bench.found import Found, saved
from tests.bench.machine import machine, versions
from tests.bench.parts import Parts, parts
from tests.stale import stale


@dataclass(frozen=True)
class Asked:
    """How much is measured; each benchmark takes of it what concerns it."""

    readings: int = 300_000
    runs: int = 3
    devices: int = 20_000
    registries: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    """Sizes of the registry, in devices."""
    seconds: int = 15
    """Of steady traffic."""
    rate: int = 10_000
    """Of steady traffic, readings a second."""
    rows: int = 50_000_000
    """That a table grows to."""


Measure = Callable[[Parts, Asked], Awaitable[Found]]


def options(parser: argparse.ArgumentParser) -> None:
    default = Asked()
    parser.add_argument("--readings", type=int, default=default.readings, help="of a run (default: %(default)s)")
    parser.add_argument(
        "--runs", type=int, default=default.runs, help="figures are their medians (default: %(default)s)"
    )
    parser.add_argument("--devices", type=int, default=default.devices, help="in the registry (default: %(default)s)")
    parser.add_argument(
        "--registries", type=_numbers, default=default.registries, metavar="N,…",
        help="devices in the registry, where its size is what is measured",
    )  # fmt: skip
    parser.add_argument("--seconds", type=int, default=default.seconds, help="of steady traffic (default: %(default)s)")
    parser.add_argument(
        "--rate", type=int, default=default.rate, help="of it, readings a second (default: %(default)s)"
    )
    parser.add_argument("--rows", type=int, default=default.rows, help="a table grows to (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--database-url", default=os.environ.get("READINGS_DATABASE_URL"),
        help="where databases are made and dropped (default: READINGS_DATABASE_URL, else an embedded PostgreSQL)",
    )  # fmt: skip
    parser.add_argument(
        "--bootstrap", default=os.environ.get("READINGS_KAFKA_BOOTSTRAP_SERVERS"),
        help="the broker (default: READINGS_KAFKA_BOOTSTRAP_SERVERS, else an embedded one)",
    )  # fmt: skip
    parser.add_argument("--database-pid", type=int, help="of its first process, if on this machine: for processor time")
    parser.add_argument("--broker-pid", type=int, help="the same of the broker")


def run(name: str, words: str, measure: Measure) -> int:
    """Measure by the command line, show what was found; 1 when a target is missed."""
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.bench.{name}", description=words.partition("\n")[0], allow_abbrev=False
    )
    options(parser)
    told = parser.parse_args()
    if (reason := stale()) is not None:
        parser.error(reason)
    asked = Asked(**{one.name: getattr(told, one.name) for one in fields(Asked)})
    with parts(
        database_url=told.database_url,
        bootstrap=told.bootstrap,
        database_pid=told.database_pid,
        broker_pid=told.broker_pid,
    ) as there:
        circumstances: dict[str, Any] = {
            "machine": machine(),
            "versions": versions() | asyncio.run(there.versions()),
            # The URL of a database holds its password.
            "command": shlex.join([*parser.prog.split(), *without(sys.argv[1:], "--database-url", "--json")]),
        }
        for name in ("machine", "versions"):
            print(f"{name}: {', '.join(f'{what} {value}' for what, value in circumstances[name].items())}")
        print(flush=True)
        found = asyncio.run(measure(there, asked))
    print(found)
    if told.json:
        saved(circumstances | found.as_json(), told.json)
    return int(not all(target.met for target in found.targets))


def without(arguments: Sequence[str], *names: str) -> list[str]:
    """A command line without these options and what they say."""
    left, skip = list[str](), False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if not skip and name not in names:
            left.append(argument)
        skip = not skip and name in names and not equals
    return left


def interleaved(runs: int, what: Sequence[Any]) -> list[Any]:
    """All of it so many times, each time beginning with another: none is always measured first."""
    return [one for number in range(runs) for one in (*what[number % len(what) :], *what[: number % len(what)])]


def progress(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))
