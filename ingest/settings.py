"""The settings: `READINGS_*` from the environment or a `.env` file, typed, checked at start, never printed.

Any of them can be given as `READINGS_<NAME>_FILE`, the path of a file that holds the value: the way container
platforms hand over secrets. A `READINGS_*` that nobody reads is refused, since it is most likely misspelt.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from enrich.law import Law
from sinks.hypertable import Storage

PREFIX = "READINGS_"


class SettingsError(ValueError):
    """A setting is missing, wrong or unknown; the message names it and the rule, never its value."""


class Settings(BaseSettings):
    """What the operator decides. Each has its sentence here and in README's table of settings."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True)

    database_url: SecretStr = Field(
        description="PostgreSQL or TimescaleDB, `postgresql://user:password@host:port/name`."
    )
    database_timeout_s: float = Field(
        30, gt=0, le=86_400, description="How long one statement or connection attempt may take."
    )
    kafka_bootstrap_servers: str = Field("localhost:9092", min_length=1, description="Brokers, `host:port,host:port`.")
    kafka_group_id: str = Field("device-readings", min_length=1, description="Consumer group; replicas share it.")
    kafka_timeout_s: float = Field(30, gt=0, le=86_400, description="How long one request to the broker may take.")
    kafka_session_timeout_s: float = Field(
        10, ge=1, le=1_800, description="A consumer that is silent for so long loses its partitions to the others."
    )
    raw_topic: str = Field("readings.raw", min_length=1, description="Topic of raw readings.")
    devices_topic: str = Field("registry.devices", min_length=1, description="Topic of device states.")
    patients_topic: str = Field("registry.patients", min_length=1, description="Topic of patient states.")
    backfill_topic: str | None = Field(
        None,
        min_length=1,
        description="Topic of archived readings, as `backfill --to-topic` publishes them.",
    )
    batch_records: int = Field(
        10_000, ge=1, le=100_000, description="Most records of one transaction; of the registry's 5,000."
    )
    batch_bytes: int = Field(8_388_608, ge=1, description="Most bytes of one transaction; one record may exceed it.")
    batch_age_ms: int = Field(100, ge=1, description="A batch that is not full goes so long after the one before it.")
    registry_catch_up_s: float = Field(
        60, ge=0, le=86_400, description="Longest wait for the registry before readings are taken."
    )
    chunk_days: int = Field(
        30, ge=1, le=365, description="Days of readings in a chunk of TimescaleDB. Taken over by `readings migrate`."
    )
    columnstore_after_days: int = Field(
        90,
        ge=0,
        le=36_500,
        description="TimescaleDB makes older chunks columnar; 0 never. Taken over by `readings migrate`.",
    )
    refresh_every_s: int = Field(
        300,
        ge=0,
        le=86_400,
        description="How often TimescaleDB brings the summaries up to date; 0 never. Taken over by `readings migrate`.",
    )
    retention_days: int | None = Field(
        None, ge=1, le=36_500, description="Days that `readings retention` keeps, when it is not told otherwise."
    )
    connect_timeout_s: float = Field(
        30, gt=0, le=86_400, description="How long a command, other than the services, waits."
    )
    shutdown_timeout_s: float = Field(8, gt=0, le=86_400, description="Time for the batch in hand after SIGTERM.")
    stop_line_window: int = Field(
        10_000,
        ge=0,
        le=10_000_000,
        description="Records in a row that are looked at for a bad deployment; 0 never stops the line.",
    )
    stop_line_share: float = Field(
        0.9, gt=0, le=1, description="Share of them that is `malformed` or `invalid` when the line stops."
    )
    http_host: str = Field("127.0.0.1", min_length=1, description="Where `/live`, `/ready` and `/metrics` listen.")
    http_port: int | None = Field(
        None, ge=0, le=65_535, description="Their port; without one nothing listens, 0 takes a free one and logs it."
    )
    ready_lag_s: float = Field(
        60, gt=0, le=86_400, description="Not ready when a record in hand was received longer ago than this."
    )
    api_host: str = Field("127.0.0.1", min_length=1, description="Where `readings serve` listens.")
    api_port: int = Field(8080, ge=0, le=65_535, description="Its port; 0 takes a free one and logs it.")
    api_connections: int = Field(10, ge=1, le=1_000, description="Most connections of it to the database.")
    api_connect_timeout_s: float = Field(
        5, gt=0, le=3_600, description="How long the database may take to begin with a request; then it is 503."
    )
    api_max_body_bytes: int = Field(524_288, ge=1_024, le=67_108_864, description="Largest body of a request.")
    api_receive_timeout_s: float = Field(
        10, gt=0, le=3_600, description="How long a client may take over the head of a request, and over its body."
    )
    api_timeout_s: float = Field(20, gt=0, le=3_600, description="How long an answer may take; then it is 503.")
    api_requests_per_minute: int = Field(
        600, ge=1, le=1_000_000, description="Requests a minute of one key, to one process; more are answered by 429."
    )
    api_statuses: Annotated[frozenset[str], NoDecode] = Field(
        frozenset(),
        description="Device statuses that may be set over HTTP besides the known ones, separated by commas.",
    )
    webhook_secret: SecretStr | None = Field(
        None, description="What the platform's webhooks carry in `Impilo-Webhook-Secret`; without one none is taken."
    )
    webhook_customer_id: int | None = Field(
        None, ge=1, lt=2**63, description="Whose webhooks these are: what they tell of belongs to this customer."
    )
    blocked_statuses: Annotated[frozenset[str], NoDecode] = Field(
        Law().blocked_statuses,
        description="Device statuses that refuse readings, separated by commas. A law parameter.",
    )
    future_limit_h: float = Field(24, ge=0, le=8_760, description="Furthest a reading may lie ahead. A law parameter.")
    earliest: datetime = Field(Law().earliest, description="Earliest plausible reading (RFC 3339). A law parameter.")
    max_record_bytes: int = Field(
        Law().max_bytes, ge=1_024, le=67_108_864, description="Largest record. A law parameter."
    )
    uszipcode_database: Path | None = Field(
        None, description="A uszipcode database to ask instead of the packaged zip table; needs the extra `uszipcode`."
    )
    log_format: Literal["text", "json"] = Field("text", description="Form of the log lines on stderr.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr) -> SecretStr:
        url = value.get_secret_value()
        if not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql://")
        try:
            parts = urlsplit(url)
            whole = parts.port is None or parts.port > 0
        except ValueError:
            whole = False  # what it says may hold a piece of the password
        if not whole or parts.fragment:
            raise ValueError(
                "is no URL with a port from 1 to 65535: in a user or password # / ? % @ : must be percent-encoded"
            )
        return value

    @field_validator("backfill_topic")
    @classmethod
    def _is_for_itself(cls, value: str | None, info: ValidationInfo) -> str | None:
        others = [info.data.get(name) for name in ("raw_topic", "devices_topic", "patients_topic")]
        if value is not None and value in others:
            raise ValueError("must be a topic of its own: what its headers say is believed")
        return value

    @field_validator("blocked_statuses", "api_statuses", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return frozenset(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value

    @field_validator("earliest")
    @classmethod
    def _in_utc(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError("must tell its zone")
        return value.astimezone(UTC)

    @field_validator("webhook_secret")
    @classmethod
    def _can_be_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        secret = "" if value is None else value.get_secret_value()
        if not secret.isascii() or not secret.isprintable() or secret != secret.strip():
            raise ValueError("must be printable ASCII, as the value of a header is")
        return value

    @property
    def registry_topics(self) -> tuple[str, str]:
        """Device states, patient states."""
        return self.devices_topic, self.patients_topic

    @property
    def reading_topics(self) -> tuple[str, ...]:
        """Raw readings; archived ones, if there is such a topic."""
        return (self.raw_topic,) if self.backfill_topic is None else (self.raw_topic, self.backfill_topic)

    @property
    def topics(self) -> tuple[str, ...]:
        """All that a consumer takes from."""
        return *self.registry_topics, *self.reading_topics

    @property
    def database_without_password(self) -> str:
        """Host, port and name of the database, for the log."""
        parts = urlsplit(self.database_url.get_secret_value())
        return f"{parts.hostname or 'localhost'}:{parts.port or 5432}{parts.path}"

    @property
    def law(self) -> Law:
        """The parameters of the law that the operator may change."""
        return Law(
            blocked_statuses=self.blocked_statuses,
            future_limit=timedelta(hours=self.future_limit_h),
            earliest=self.earliest,
            max_bytes=self.max_record_bytes,
        )

    @property
    def storage(self) -> Storage:
        """How TimescaleDB is to keep the readings."""
        return Storage(
            timedelta(days=self.chunk_days),
            timedelta(days=self.columnstore_after_days) or None,
            timedelta(seconds=self.refresh_every_s) or None,
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - `load` reads the environment, `_FILE` included
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def load(env_file: Path = Path(".env")) -> Settings:
    """The settings of this process: the environment wins over `.env`.

    :raises SettingsError: with one line that names each wrong setting.
    """
    known = {name.upper() for name in Settings.model_fields}
    ours = {**_given(dotenv_values(env_file), known), **_given(os.environ, known)}
    if unknown := sorted(set(ours) - known):
        raise SettingsError(f"{PREFIX}{unknown[0]}: no such setting")
    try:
        return Settings(**{name.lower(): value for name, value in ours.items()})  # type: ignore[arg-type]
    except ValidationError as error:
        faults = [(str(fault["loc"][0]), fault["type"], fault["msg"]) for fault in error.errors(include_input=False)]
        told = [f"{PREFIX}{name.upper()}: {_rule(name, kind, words)}" for name, kind, words in faults]
        raise SettingsError("; ".join(told)) from None


def _rule(name: str, kind: str, words: str) -> str:
    """What a setting has to be, told so that whoever has set it can mend it; Pydantic's words are for programmers."""
    field = Settings.model_fields[name]
    if kind == "missing":
        return f"must be set: {field.description}"
    if kind.startswith(("int_", "float_", "finite_", "greater_", "less_")):
        return _number(field)
    if kind == "literal_error":
        return "must be " + " or ".join(get_args(field.annotation))
    if kind.startswith("datetime_"):
        return "must be a time of RFC 3339, as 2001-01-01T00:00:00Z"
    return words.removeprefix("Value error, ")


def _number(field: FieldInfo) -> str:
    limits = {name: value for limit in field.metadata for name, value in asdict(limit).items()}
    words = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
    bounds = " and ".join(words[name].format(limit) for name, limit in limits.items())
    thing = "a number" if field.annotation is float else "a whole number"
    return f"must be {thing}, {bounds}"


def _given(told: Mapping[str, str | None], known: set[str]) -> dict[str, str]:
    """What one place tells of ours, by name without the prefix, with the files read that it names."""
    ours = {name.removeprefix(PREFIX): value for name, value in told.items() if name.startswith(PREFIX) and value}
    for name in [name for name in ours if name.endswith("_FILE") and name.removesuffix("_FILE") in known]:
        try:
            ours[name.removesuffix("_FILE")] = Path(ours.pop(name)).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{PREFIX}{name}: the file cannot be read ({type(error).__name__})") from None
    return ours
