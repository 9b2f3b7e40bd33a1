"""`python -m tests.chaos`: exit 0 and a line of counts when all is as it must be, else 1 and what differs."""

import argparse
import asyncio
import logging
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from enrich.law import Law
from enrich.zones import table_zones
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from ingest.law_parameters import adopt_parameters, parameters
from sinks.database import Database
from sinks.migrate import migrate
from tests.apache_kafka import ApacheKafka
from tests.chaos.run import Outcome, chaos
from tests.fetched import MissingError
from tests.stale import stale

MOST_FAULTS_SHOWN = 20


async def trial(postgres: EmbeddedPostgres, broker: ApacheKafka, asked: argparse.Namespace) -> Outcome:
    database = Database(postgres.url, timeout_s=30)
    await migrate(database)
    await adopt_parameters(database, parameters(Law(), table_zones()))
    await database.close()
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    return await chaos(
        postgres, postgres.url, broker, seconds=asked.seconds, seed=asked.seed, consumers=asked.consumers, say=say
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="of trouble (default: 600); the rest comes on top")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(10**6), help="of all dice (default: a random one)"
    )
    parser.add_argument("--consumers", type=int, default=3, help="how many at a time (default: 3)")
    asked = parser.parse_args()
    if (reason := stale()) is not None:
        parser.error(reason)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends what we have started, as Ctrl-C does
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that the broker is away is our own doing
    print(f"seed {asked.seed}, {asked.seconds:g} s, {asked.consumers} consumers", flush=True)
    try:
        with ApacheKafka() as broker, EmbeddedPostgres() as postgres:
            outcome = asyncio.run(trial(postgres, broker, asked))
    except MissingError as error:
        print(f"Apache Kafka: {error}", file=sys.stderr)
        return 1
    if not outcome.faults:
        print(f"seed {asked.seed}: as it must be: {outcome.counts}")
        return 0
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{asked.seed}-"))
    for name, text in outcome.left.items():
        (folder / name).write_text(text)
    print(f"seed {asked.seed}: {len(outcome.faults)} faults, more about them in {folder}: {outcome.counts}")
    print(*outcome.faults[:MOST_FAULTS_SHOWN], sep="\n  ")
    return 1


if __name__ == "__main__":
    sys.exit(main())
