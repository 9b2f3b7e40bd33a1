"""README says everything that a user can set, call or meet, and nothing that is not there."""

import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from pydantic_core import PydanticUndefined
from typer.main import get_command

from ingest.cli.app import app
from ingest.cli.zone import NO_ZONE_WORDS
from ingest.http.problems import Problem
from ingest.settings import PREFIX, Settings
from schemas.kinds import Kind
from schemas.payloads import PAYLOADS, Payload
from schemas.reasons import Reason
from sinks.migrate import migrations

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def shown(default: object) -> str:
    match default:
        case None:
            return "none"
        case frozenset():
            return f"`{','.join(sorted(default))}`" if default else "none"
        case _ if default is PydanticUndefined:
            return "required"
        case _ if hasattr(default, "isoformat"):
            return f"`{default.isoformat().replace('+00:00', 'Z')}`"
        case _:
            return f"`{default}`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_its_default_and_its_sentence(name: str) -> None:
    setting = Settings.model_fields[name]
    assert f"| `{PREFIX}{name.upper()}` | {shown(setting.default)} | {setting.description} |" in README


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_sentence(reason: Reason) -> None:
    assert f"| `{reason}` | {reason.sentence} |" in README


@pytest.mark.parametrize("reason", NO_ZONE_WORDS)
def test_every_reason_for_having_no_zone_has_its_sentence(reason: object) -> None:
    assert f"| `{reason}` | {NO_ZONE_WORDS[reason]} |" in README


@pytest.mark.parametrize("problem", Problem)
def test_every_problem_has_its_status_its_sentence_and_what_to_do(problem: Problem) -> None:
    status, title, todo = problem.told
    assert f"| `{problem}` | {status} | {title} | {todo} |" in README


def test_every_command_is_there_and_no_other() -> None:
    root = get_command(app)
    commands = set()
    for name, command in root.commands.items():
        subcommands = getattr(command, "commands", None)
        commands |= {f"{name} {sub}" for sub in subcommands} if subcommands else {name}
    told = set(re.findall(r"^\| `readings ([a-z]+(?: [a-z]+)?)", README, flags=re.MULTILINE))
    assert told == commands


def test_every_field_of_a_kind_is_named_with_those_that_may_be_left_out() -> None:
    shared = TypeAdapter(Payload).json_schema()["properties"]
    for payload in PAYLOADS.values():
        schema = TypeAdapter(payload.model).json_schema()
        own, needed = [f"`{name}`" for name in schema["properties"] if name not in shared], schema["required"]
        required = ", ".join(name for name in own if name.strip("`") in needed)
        optional = ", ".join(name for name in own if name.strip("`") not in needed)
        cell = f"{required} ({optional})" if required and optional else required or f"({optional})"
        assert f"| `{payload.kind}` | {cell} |" in README


def test_every_kind_table_and_view_is_named() -> None:
    made = re.findall(r"CREATE (?:TABLE|VIEW) (\w+)", "".join(migration.sql for migration in migrations()))
    internal = {"registry_version", "device_changes", "patient_changes", "rejections_by_age"}
    for name in [*(f"{kind}" for kind in Kind), *(set(made) - internal)]:
        assert f"`{name}`" in README, name
