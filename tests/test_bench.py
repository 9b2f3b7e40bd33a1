"""Each benchmark runs and tells its figures. What they are is no matter here: tests are never timed."""

import json
import subprocess
import sys
from importlib import import_module

import pytest

from enrich.law import Law
from ingest.demo.embedded_broker import EmbeddedBroker
from ingest.demo.embedded_postgres_server import EmbeddedPostgres
from schemas.record import Place, Record
from schemas.state_messages import understand_state
from schemas.states import About, State
from sinks.database import Database
from sinks.ledger import open_source
from sinks.registry import add_states
from sinks.told import Told
from tests.bench.__main__ import BENCHMARKS, HERE, STUDIES
from tests.bench.found import Found, Target, medians
from tests.bench.parts import Parts
from tests.bench.registry_tables import DEVICES, PATIENTS, load_registry
from tests.bench.run import Asked, without
from tests.bench.traffic import FIRST_RECEIVED, Fleet
from tests.conftest import MakeTopics, fresh_database
from tests.knowing import all_told

TINY = Asked(readings=900, runs=1, devices=90, registries=(60, 90), seconds=1, rate=300, rows=5_000)
FIGURES = {
    "stages": {"processor time of one process, µs a reading": 5, "processor time of the database, µs a reading": 2},
    "end_to_end": {"readings/s, and processor time in µs a reading": 3, "beside the bare loop": 1},
    "registry_sizes": {"by size of the registry": 2},
    "backfill": {"backfill": 3},
    "latency": {"latency from a record's timestamp to its commit": 1},
    "corrections": {"corrections": 4, "states": 1, "live batches meanwhile": 4},
    "memory": {"catching up": 1},
    "zones": {"table": 1},
    "growth": {"by size of the table": 4},
    "table_layouts": {"900 rows, 5,000 a batch; µs and B a row": 18, "look-ups": 4},
}
"""The tables of each, and how many lines they have."""
FEWER = {"end_to_end": {"RESENT": (0.01,), "CONSUMERS": (1, 2)}, "backfill": {"WORKERS": (2,)}}
"""What is left out here: it is the same once more."""


@pytest.mark.thorough
@pytest.mark.parametrize("name", [*BENCHMARKS, *STUDIES])
async def test_a_benchmark_runs_and_tells_its_figures(
    name: str,
    postgres_server: EmbeddedPostgres,
    broker: EmbeddedBroker,
    make_topics: MakeTopics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    benchmark = import_module(f"tests.bench.{name}")
    for what, smaller in FEWER.get(name, {}).items():
        monkeypatch.setattr(benchmark, what, smaller)
    await make_topics(warm=1)  # finds the broker running, whatever an earlier test did to it
    parts = Parts(postgres_server.url, broker.bootstrap, postgres_server.pid, broker.pid)
    found = await benchmark.measured(parts, TINY)
    assert {title: len(rows) for title, rows in found.tables.items()} == FIGURES[name]
    assert str(found)
    told = json.loads(json.dumps(found.as_json()))
    assert all(target["measured"] >= 0 and target["limit"] > 0 for target in told["targets"])


def test_every_benchmark_is_run_or_named() -> None:
    alone = {path.stem for path in HERE.glob("*.py") if "sys.exit(run(" in path.read_text(encoding="utf-8")}
    assert alone == {*BENCHMARKS, *STUDIES}


@pytest.mark.parametrize("name", [*BENCHMARKS, *STUDIES])
def test_readme_tells_of_every_benchmark(name: str) -> None:
    assert f"\n| `{name}` | " in (HERE.parents[1] / "README.md").read_text(encoding="utf-8")


def test_it_lists_what_there_is() -> None:
    told = subprocess.run([sys.executable, "-m", "tests.bench", "--list"], cwd=HERE.parents[1], capture_output=True)
    assert [line.split()[0] for line in told.stdout.decode().splitlines()] == [*BENCHMARKS, *STUDIES]


def test_a_command_line_is_told_without_the_url_of_the_database() -> None:
    arguments = ["--runs", "1", "--database-url", "postgresql://me:secret@host/", "--json=x", "--only", "stages"]
    assert without(arguments, "--database-url", "--json") == ["--runs", "1", "--only", "stages"]


def test_medians_are_taken_figure_by_figure() -> None:
    runs = [{"from": "gzip", "us": 3, "broker_us": None}, {"from": "gzip", "us": 1, "broker_us": None}]
    assert medians([*runs, {"from": "gzip", "us": 2, "broker_us": None}]) == {
        "from": "gzip",
        "us": 2,
        "broker_us": None,
    }


def test_a_target_is_met_or_missed() -> None:
    found = Found(targets=[Target("slow", 9.1, 9), Target("fast", 80_000, 80_000, at_most=False)])
    assert [target["met"] for target in found.as_json()["targets"]] == [False, True]
    assert str(found) == "MISSED  slow: 9.10, at most 9\nmet     fast: 80,000, at least 80,000"


def test_a_share_of_the_readings_is_sent_again() -> None:
    messages = list(Fleet(50).readings(2_000, resent=0.3))
    assert len(messages) == 2_000
    values = [message.value for message in messages]
    assert 500 < len(values) - len(set(values)) < 700
    assert [message.received_ms for message in messages] == sorted(message.received_ms for message in messages)


@pytest.mark.parametrize("fleet", [Fleet(40), Fleet(30, held_of_ten=10, states=2)])
async def test_the_registry_in_the_tables_is_what_the_topics_would_have_told(
    fleet: Fleet, postgres_server: EmbeddedPostgres, migrated_template: str
) -> None:
    found = []
    for load in (load_registry, _told):
        async with fresh_database(postgres_server, migrated_template) as url:
            await load(url, fleet)
            found.append(await _known(url))
    assert found[0] == found[1]
    assert len(found[0].of.devices) == fleet.devices


async def _told(url: str, fleet: Fleet) -> None:
    """As a consumer stores what comes on the topics."""
    law, database = Law(), Database(url, timeout_s=30)
    states = []
    told = (About.DEVICE, DEVICES, fleet.device_states()), (About.PATIENT, PATIENTS, fleet.patient_states())
    for about, source, messages in told:
        for offset, message in enumerate(messages):
            record = Record(Place(source, 0, offset), FIRST_RECEIVED, message.value)
            limits = {"max_bytes": law.max_bytes, "max_depth": law.max_depth}
            state = understand_state(about, record, told_at=FIRST_RECEIVED, from_file=False, **limits)
            assert isinstance(state, State), state
            states.append(state)
    async with database.transaction() as connection:
        sources = {
            name: await open_source(connection, name, first_seen=FIRST_RECEIVED, holds="registry")
            for name in (DEVICES, PATIENTS)
        }
        await add_states(connection, states, sources)
    await database.close()


async def _known(url: str) -> Told:
    database = Database(url, timeout_s=30)
    async with database.transaction() as connection:
        told = await all_told(connection)
    await database.close()
    return told._replace(states=sorted(told.states, key=lambda state: state.place))
