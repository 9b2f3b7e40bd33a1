"""Settings: from the environment, `.env` or a file of their own; named when they are wrong, and never shown."""

import copy
import os
import pickle
from datetime import UTC, datetime, timedelta

import pytest

from enrich.law import Law
from ingest.settings import PREFIX, Settings, SettingsError, load

PASSWORD = "tr0ub4dor"
URL = f"postgresql://readings:{PASSWORD}@db.example:5432/readings"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    """No setting but what the test gives."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture
def given(monkeypatch, tmp_path):
    """The settings of a process with this environment (`raw_topic="x"` is READINGS_RAW_TOPIC) and this `.env`."""

    def given(dotenv: str = "", **settings: str) -> Settings:
        for name, value in settings.items():
            monkeypatch.setenv(PREFIX + name.upper(), value)
        (tmp_path / ".env").write_text(dotenv, encoding="utf-8")
        return load(tmp_path / ".env")

    return given


def refusal(given, **settings: str) -> str:
    with pytest.raises(SettingsError) as refused:
        given(**settings)
    return str(refused.value)


# --- where they come from -------------------------------------------------------------------------------------------


def test_the_database_is_all_that_must_be_told(given):
    settings = given(database_url=URL)
    assert settings.database_url.get_secret_value() == URL
    assert (settings.raw_topic, settings.devices_topic, settings.patients_topic) == (
        "readings.raw",
        "registry.devices",
        "registry.patients",
    )
    assert settings.law == Law()


def test_each_setting_has_its_type(given):
    settings = given(
        database_url=URL,
        batch_records="1000",
        future_limit_h="0.5",
        blocked_statuses="decommissioned, lost ,",
        earliest="2020-01-01T00:00:00+01:00",
        max_record_bytes="2048",
    )
    assert settings.batch_records == 1000
    assert settings.law == Law(
        blocked_statuses=frozenset({"decommissioned", "lost"}),
        future_limit=timedelta(minutes=30),
        earliest=datetime(2019, 12, 31, 23, tzinfo=UTC),
        max_bytes=2048,
    )


def test_a_dot_env_file_is_read_and_the_environment_wins_over_it(given):
    dotenv = f"READINGS_DATABASE_URL={URL}\nREADINGS_RAW_TOPIC=from.file\nREADINGS_DEVICES_TOPIC=from.file\nOTHER=1\n"
    settings = given(dotenv, raw_topic="from.environment")
    assert (settings.raw_topic, settings.devices_topic) == ("from.environment", "from.file")


def test_without_a_dot_env_file_the_environment_is_enough(monkeypatch, tmp_path):
    monkeypatch.setenv("READINGS_DATABASE_URL", URL)
    assert load(tmp_path / "none.env").database_url.get_secret_value() == URL


def test_a_secret_may_lie_in_a_file(given, tmp_path):
    """The way container platforms hand them over, most often with a line end that is not meant."""
    (tmp_path / "secret").write_text(f"{URL}\n")
    assert given(database_url_file=str(tmp_path / "secret")).database_url.get_secret_value() == URL


def test_a_dot_env_may_name_the_file_of_a_secret(given, tmp_path):
    (tmp_path / "secret").write_text(URL)
    dotenv = f"READINGS_DATABASE_URL_FILE={tmp_path / 'secret'}\n"
    assert given(dotenv).database_url.get_secret_value() == URL


def test_a_secret_in_the_environment_wins_over_a_file_named_in_dot_env(given, tmp_path):
    (tmp_path / "secret").write_text("postgresql://of.the.file/x")
    dotenv = f"READINGS_DATABASE_URL_FILE={tmp_path / 'secret'}\n"
    assert given(dotenv, database_url=URL).database_url.get_secret_value() == URL


def test_an_empty_value_is_none_given(given):
    """Compose hands on `${VARIABLE:-}` as an empty string."""
    assert given(database_url=URL, raw_topic="", batch_records="").batch_records == 10_000


# --- what is refused ------------------------------------------------------------------------------------------------


def test_the_database_must_be_told(given):
    assert refusal(given) == (
        "READINGS_DATABASE_URL: must be set: PostgreSQL or TimescaleDB, `postgresql://user:password@host:port/name`."
    )


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("batch_records", "many", "must be a whole number, at least 1 and at most 100000"),
        ("batch_records", "0", "must be a whole number, at least 1 and at most 100000"),
        ("batch_bytes", "1.5", "must be a whole number, at least 1"),
        ("http_port", "70000", "must be a whole number, at least 0 and at most 65535"),
        ("database_timeout_s", "soon", "must be a number, more than 0 and at most 86400"),
        ("future_limit_h", "nan", "must be a number, at least 0 and at most 8760"),
        ("log_level", "loud", "must be debug or info or warning or error"),
        ("earliest", "yesterday", "must be a time of RFC 3339, as 2001-01-01T00:00:00Z"),
    ],
)
def test_a_bad_value_is_told_by_what_it_has_to_be(given, name, value, rule):
    assert refusal(given, **{"database_url": URL, name: value}) == f"READINGS_{name.upper()}: {rule}"


NUMBERS = [name for name, field in Settings.model_fields.items() if field.annotation in {int, float, int | None}]


@pytest.mark.parametrize("value", ["x", "-1", "nan"])
@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_is_told_with_its_bounds(given, name, value):
    said = refusal(given, **{"database_url": URL, name: value})
    assert said.startswith(f"READINGS_{name.upper()}: must be a"), said


@pytest.mark.parametrize("name", ["databse_url", "raw_topic_file_file", "raw__topic", "file"])
def test_a_setting_that_nobody_reads_is_refused(given, name):
    """It is most likely misspelt, and what was meant would silently keep its default."""
    assert refusal(given, database_url=URL, **{name: "x"}) == f"READINGS_{name.upper()}: no such setting"


def test_a_misspelt_setting_in_dot_env_is_refused_as_well(given):
    with pytest.raises(SettingsError, match=r"^READINGS_RAW_TOPICS: no such setting$"):
        given("READINGS_RAW_TOPICS=x\n", database_url=URL)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", f"mysql://readings:{PASSWORD}@db/readings"),
        ("batch_records", "many"),
        ("batch_records", "-7"),
        ("database_timeout_s", "-7"),
        ("future_limit_h", "nan"),
        ("future_limit_h", "inf"),
        ("earliest", "yesterday"),
        ("earliest", "2020-01-01T00:00:00"),
        ("max_record_bytes", "1.5"),
        ("log_format", "xml"),
        ("log_level", "loud"),
    ],
)
def test_a_bad_value_names_its_setting_and_is_not_repeated(given, name, value):
    said = refusal(given, **{"database_url": URL, name: value})
    assert said.startswith(f"READINGS_{name.upper()}: ")
    assert value not in said
    assert PASSWORD not in said


def test_every_bad_value_is_named_at_once(given):
    said = refusal(given, database_url=URL, batch_records="many", log_level="loud")
    assert said.count("READINGS_") == 2
    assert "READINGS_BATCH_RECORDS: " in said
    assert "READINGS_LOG_LEVEL: " in said


def test_a_file_that_cannot_be_read_is_named_by_its_setting(given, tmp_path):
    said = refusal(given, database_url_file=str(tmp_path / PASSWORD))
    assert said == "READINGS_DATABASE_URL_FILE: the file cannot be read (FileNotFoundError)"


# --- what is never shown --------------------------------------------------------------------------------------------


def test_the_password_is_in_nothing_that_a_log_or_an_error_could_show(given):
    settings = given(database_url=URL)
    shown = [repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()]
    shown += [f"{settings.database_url}", repr(copy.deepcopy(settings)), repr(pickle.loads(pickle.dumps(settings)))]
    assert [text for text in shown if PASSWORD in text] == []


def test_the_password_is_not_in_the_error_of_a_bad_url_nor_behind_it(given):
    """Neither in the line nor in an exception it came from, which a traceback would print."""
    with pytest.raises(SettingsError) as refused:
        given(database_url=f"postgres//readings:{PASSWORD}@db")
    assert PASSWORD not in str(refused.value)
    assert refused.value.__suppress_context__
    assert PASSWORD not in str(refused.value.__context__)


def test_settings_do_not_change_after_the_start(given):
    settings = given(database_url=URL)
    with pytest.raises(ValueError, match="frozen"):
        settings.raw_topic = "other"


@pytest.mark.parametrize("url", ["postgresql://u:pa#ss@h/d", "postgresql://u:pa/ss@h/d", "postgresql://h:70000/d", "postgresql://h:0/d"])  # fmt: skip
def test_a_url_that_cannot_be_read_is_told_without_a_piece_of_the_password(monkeypatch, tmp_path, url):
    monkeypatch.setenv("READINGS_DATABASE_URL", url)
    with pytest.raises(SettingsError) as raised:
        load(tmp_path / "none.env")
    assert str(raised.value) == (
        "READINGS_DATABASE_URL: is no URL with a port from 1 to 65535: in a user or password # / ? % @ : must be"
        " percent-encoded"
    )
    assert raised.value.__suppress_context__
