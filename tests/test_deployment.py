"""No container engine runs here, so what would start under one is held to its schema and to what the code reads."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer.main
import yaml
from packaging.requirements import Requirement

from ingest.cli.app import app
from ingest.health import Health
from ingest.http.probes import probes
from ingest.metrics import Metrics
from ingest.settings import PREFIX, Settings, load

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
COMMANDS = set(typer.main.get_command(app).commands)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SETTINGS = {PREFIX + name.upper(): field for name, field in Settings.model_fields.items()}


def instructions(name: str) -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with that name, each with what is said before it began: ('COPY', 'a b')."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, rest in lines if word == name]


def as_example(default: object) -> str:
    """A default as one would write it into `.env`, where nothing stands for none."""
    if default is None:
        return ""
    if isinstance(default, frozenset):
        return ",".join(sorted(default))
    return default.isoformat().replace("+00:00", "Z") if hasattr(default, "isoformat") else str(default)


# --- docker-compose.yml ---------------------------------------------------------------------------------------------


def test_the_compose_file_keeps_to_the_schema_of_compose():
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_image_is_pinned():
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[a-z/-]+:\d+\.\d+(\.\d+)?[a-z0-9.-]*", service["image"]), name
    for _, image in instructions("FROM"):
        assert re.fullmatch(r"python:3\.\d+-slim( AS build)?", image)
    assert {service["image"] for service in OURS.values()} == {f"device-readings:{PROJECT['version']}"}


def test_what_a_service_waits_for_exists_and_can_come_true():
    for name, service in SERVICES.items():
        for awaited, terms in service.get("depends_on", {}).items():
            if terms["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[awaited], f"{name} waits for the health of {awaited}"
            else:
                assert terms["condition"] == "service_completed_successfully"
                assert SERVICES[awaited]["restart"] == "no", f"{name} waits for the end of {awaited}"


@pytest.mark.parametrize("kind", ["volumes", "secrets", "configs"])
def test_every_volume_secret_and_config_is_declared_and_used(kind):
    used = set()
    for service in SERVICES.values():
        for entry in service.get(kind, []):
            used.add(entry["source"] if isinstance(entry, dict) else entry.split(":")[0])
    assert used == set(COMPOSE[kind])


def test_what_outlives_a_container_lies_in_a_named_volume():
    kafka, timescaledb = SERVICES["kafka"], SERVICES["timescaledb"]
    assert kafka["volumes"] == [f"kafka-data:{kafka['environment']['KAFKA_LOG_DIRS']}"]
    assert timescaledb["volumes"] == ["timescaledb-data:/var/lib/postgresql/data"]


def test_nothing_listens_beyond_this_machine():
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_our_services_run_commands_that_exist():
    for service in OURS.values():
        assert service["command"][0] in COMMANDS


def test_the_settings_in_compose_are_settings_and_lead_to_the_other_services(tmp_path, monkeypatch):
    """Loaded by the code that the container would run, with the mounted file where the container would see it."""
    for service in OURS.values():
        (mounted,) = service["configs"]
        password = re.compile(r"\$\{POSTGRES_PASSWORD:\?[^}]+\}")
        url, given = password.subn("secret", COMPOSE["configs"][mounted["source"]]["content"])
        assert given == 1
        (tmp_path / "database_url").write_text(url)
        environment = service["environment"]
        assert set(environment) <= set(SETTINGS) | {f"{name}_FILE" for name in SETTINGS}
        assert environment["READINGS_DATABASE_URL_FILE"] == mounted["target"]
        for name, value in environment.items():
            monkeypatch.setenv(name, value.replace(mounted["target"], str(tmp_path / "database_url")))
        settings = load(tmp_path / "no.env")

        database = urlsplit(settings.database_url.get_secret_value())
        theirs = SERVICES["timescaledb"]["environment"]
        assert (database.hostname, database.port) == ("timescaledb", 5432)
        assert (database.username, database.path) == (theirs["POSTGRES_USER"], f"/{theirs['POSTGRES_DB']}")
        inside = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")[1]
        assert inside == f"INSIDE://{settings.kafka_bootstrap_servers}"


def test_the_broker_makes_no_topic_by_itself_and_is_given_those_of_the_settings():
    """LogAppendTime on the raw topic; the registry topics keep their history."""
    assert SERVICES["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    script = SERVICES["topics"]["command"][0].replace("\\\n", " ")
    made = {}
    for line in script.splitlines():
        words = shlex.split(line)
        if words[0] == "create":
            assert words[2] == "--partitions"
            made[words[1]] = dict(option.split("=") for option in words[4:] if option != "--config")
    defaults = {name: Settings.model_fields[name].default for name in ("raw_topic", "devices_topic", "patients_topic")}
    archived = {service["environment"]["READINGS_BACKFILL_TOPIC"] for service in OURS.values()}
    assert set(made) == set(defaults.values()) | archived
    assert {options["cleanup.policy"] for options in made.values()} == {"delete"}
    assert made[defaults["raw_topic"]]["message.timestamp.type"] == "LogAppendTime"
    assert made[defaults["devices_topic"]]["retention.ms"] == made[defaults["patients_topic"]]["retention.ms"] == "-1"


def test_the_topics_have_partitions_enough_for_the_replicas():
    partitions = re.search(r"create readings\.raw --partitions (\d+)", SERVICES["topics"]["command"][0])
    assert partitions
    assert int(partitions[1]) >= SERVICES["consume"]["deploy"]["replicas"] == 2


def test_the_health_check_asks_for_readiness_where_the_consumer_listens():
    """Run as the container would run it, against an answer of each kind."""
    program, option, script = SERVICES["consume"]["healthcheck"]["test"][1:]
    assert (program, option) == ("python", "-c")
    port = SERVICES["consume"]["environment"]["READINGS_HTTP_PORT"]
    health = Health("readings")
    with probes(health, Metrics(health, {}, ""), host="127.0.0.1", port=0) as free:
        assert f":{port}/ready" in script
        command = [sys.executable, option, script.replace(f":{port}/", f":{free}/")]
        assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 1
        health.clear("readings")
        assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


def test_a_stopped_consumer_has_the_time_that_the_settings_promise():
    grace_s = int(SERVICES["consume"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > Settings.model_fields["shutdown_timeout_s"].default


# --- the image ------------------------------------------------------------------------------------------------------


def test_what_the_image_copies_exists_and_is_let_through_by_dockerignore():
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    copied = set()
    for _, words in instructions("COPY"):
        if not words.startswith("--from"):
            *sources, _target = words.split()
            copied |= {source.rstrip("/") for source in sources}
    assert [source for source in sorted(copied) if not (ROOT / source).exists()] == []
    assert copied == allowed
    assert {"ingest", "enrich", "sinks", "schemas", "constraints.txt"} <= copied


def test_the_process_in_the_image_is_ours_and_gets_its_signals_and_is_not_root():
    """The exec form: through a shell, SIGTERM would end at the shell."""
    ((_, entrypoint),) = instructions("ENTRYPOINT")
    assert json.loads(entrypoint)[-1] in PROJECT["scripts"]
    ((_, user),) = instructions("USER")
    assert user not in {"root", "0"}


# --- .env.example, constraints.txt, Makefile, CI --------------------------------------------------------------------


def test_env_example_has_every_setting_with_its_sentence_and_default():
    _head, *entries = (ROOT / ".env.example").read_text().strip().split("\n\n")
    expected = []
    for name, field in SETTINGS.items():
        line = f"{name}=postgresql://" if field.is_required() else f"#{name}={as_example(field.default)}"
        expected.append((f"# {field.description}", line))
    found = []
    for entry in entries:
        sentence, line = entry.split("\n")
        found.append((sentence, re.sub(r"^(READINGS_DATABASE_URL=postgresql://).*", r"\1", line)))
    assert found == expected


def test_env_example_means_what_it_says(tmp_path, monkeypatch):
    """With every line switched on, the settings are those of a process that was told only where its database is."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    example = (ROOT / ".env.example").read_text()
    (tmp_path / ".env").write_text(example.replace("\n#READINGS_", "\nREADINGS_"))
    loaded = load(tmp_path / ".env")
    assert loaded == Settings(database_url=loaded.database_url)


def test_constraints_name_one_allowed_version_of_every_dependency():
    pinned = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, version = line.split(";")[0].strip().split("==")
            pinned[name.lower().replace("_", "-")] = version
    extras = PROJECT["optional-dependencies"]
    for wanted in map(Requirement, [*PROJECT["dependencies"], *extras["demo"], *extras["dev"]]):
        if wanted.name != PROJECT["name"]:
            assert wanted.specifier.contains(pinned[wanted.name.lower().replace("_", "-")]), wanted.name


def test_make_tells_its_targets():
    told = subprocess.run(["make", "--no-print-directory"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    targets = {line.split()[1] for line in told.splitlines()}
    tests = {"test", "test-all", "test-timescale"}
    assert targets == tests | {"help", "demo", "compile", "check", "bench", "chaos", "constraints", "clean"}


def test_ci_runs_what_a_person_runs():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    ran = [line for line in script.read_text().splitlines() if line.startswith("make ")]
    assert [line.split()[1] for line in ran] == ["check", "test", "compile", "test-all"]
