"""The law under concurrency for as long as one likes: `python -m tests.law_soak --minutes 60`.

Goes on with fresh histories until the time is over, and says once a minute how far it has come. Exits 1 at the first
difference, naming its seed; `--seed N --times 20` goes through that one history again.
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count, repeat
from urllib.parse import urlsplit

from enrich.law import Law
from enrich.zones import table_zones
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.law_parameters import adopt_parameters, parameters
from sinks.database import Database
from sinks.migrate import migrate
from tests.conftest import execute, fresh_database
from tests.test_law_under_concurrency import lived_through

_TELL_EVERY_S = 60.0
_TEMPLATE = "soak_template"


async def make_template(server: EmbeddedPostgres) -> None:
    """A database with the schema, to copy."""
    await execute(server.url, f"CREATE DATABASE {_TEMPLATE}")
    database = Database(urlsplit(server.url)._replace(path=f"/{_TEMPLATE}").geturl(), timeout_s=30)
    await migrate(database)
    await adopt_parameters(database, parameters(Law(), table_zones()))
    await database.close()


async def soak(server: EmbeddedPostgres, seeds: Iterator[int], *, seconds: float) -> int:
    """How it ended: 0 after all seeds or all the time, 1 at a difference."""
    await make_template(server)
    began = told_at = time.monotonic()
    happened: Counter[str] = Counter()
    histories = 0
    for seed in seeds:
        now = time.monotonic()
        if now - told_at >= _TELL_EVERY_S:
            told_at = now
            print(f"{now - began:6.0f} s  {histories} histories, now {seed}: {dict(happened)}", flush=True)
        if now - began >= seconds:
            break
        async with fresh_database(server, _TEMPLATE) as url:
            lines, what = await lived_through(url, seed)
        happened += what
        histories += 1
        if lines:
            print(f"history {seed} differs (number {histories}):", *lines, sep="\n  ", flush=True)
            return 1
    print(f"{histories} histories in {time.monotonic() - began:.0f} s, no difference: {dict(happened)}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.law_soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60, help="for how long (default: 60)")
    parser.add_argument("--first", type=int, help="the first seed (default: a random one)")
    parser.add_argument("--seed", type=int, help="go through this one history only")
    parser.add_argument("--times", type=int, default=1, help="how often, with --seed")
    asked = parser.parse_args()
    if asked.seed is not None:
        seeds: Iterator[int] = repeat(asked.seed, asked.times)
    else:
        first = secrets.randbelow(10**9) if asked.first is None else asked.first
        print(f"from seed {first} on", flush=True)
        seeds = count(first)
    with EmbeddedPostgres(settings={"fsync": "off"}) as server:
        return asyncio.run(soak(server, seeds, seconds=asked.minutes * 60))


if __name__ == "__main__":
    sys.exit(main())
