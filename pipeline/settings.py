"""What a worker is told: AFTERMATH_* in the environment, else `aftermath.toml` in the working directory.

The environment wins. Nested values are written with two underscores: AFTERMATH_RECEIVERS__HOOK__URL. Secrets are
`SecretStr`, so they do not show in a log, a repr or an error. An unknown key in the file is refused: it is a slip.

`faust_settings` is the other half: the fixed settings of every Faust app, and `check_faust_settings` refuses to start
where one that keeps data safe differs. Faust is not imported here: commands that only read want their settings fast.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from pipeline.kafka_connection import NO_SECRET, KafkaConnection, Mechanism, authorities_fault, file_fault
from schemas.errors import ConfigurationError

CONFIG_FILE = Path("aftermath.toml")
StageName = Literal["ingest", "detect", "correlate", "record", "archive", "notify"]
STAGE_NAMES: tuple[StageName, ...] = ("ingest", "detect", "correlate", "record", "archive", "notify")
MEGABYTE = 1 << 20
LOOPBACK = ("127.0.0.1", "localhost", "::1")  # no network
OURS = "Value error, "  # how pydantic begins what our own checks say


class ReceiverSettings(BaseModel):
    """One receiver. The fields of `alerts.receivers.ReceiverConfig`, which checks them; a test holds them equal."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    kind: Literal["console", "webhook", "alertmanager", "pagerduty", "slack", "opsgenie", "email"]
    url: SecretStr | None = None  # the path of a webhook is often its password
    secret: SecretStr | None = None
    channel: str | None = None
    sender: str | None = None
    recipients: tuple[str, ...] | None = None
    allow_private: bool = False
    timeout_seconds: float = 10.0
    max_bytes: int = 20_000


class LinkSettings(BaseModel):
    """Where the links of pages lead. The fields of `alerts.page.Links`, which checks them; a test holds them equal."""

    model_config = ConfigDict(extra="forbid")

    page: str | None = None
    sql: str | None = None
    runbooks: str | None = None


class Settings(BaseSettings):
    """One worker, or one command."""

    model_config = SettingsConfigDict(
        env_prefix="AFTERMATH_",
        env_nested_delimiter="__",
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
    )

    kafka: str = "127.0.0.1:9092"  # bootstrap servers, comma separated
    kafka_tls: bool = False
    kafka_ca_file: Path | None = None  # authorities to trust, PEM; without it those of the system
    kafka_certificate_file: Path | None = None  # our own, where the broker asks for one, PEM, and its key
    kafka_key_file: Path | None = None
    kafka_key_password: SecretStr = NO_SECRET
    kafka_mechanism: Mechanism | None = None  # of the login; without it there is none
    kafka_user: str = ""
    kafka_password: SecretStr = NO_SECRET
    group_prefix: str = Field("aftermath", pattern=r"^[A-Za-z0-9._-]{1,100}$")
    instance: str = ""  # a name that this worker keeps over restarts: it then comes back without a rebalance
    clickhouse_url: str = "http://127.0.0.1:8123"  # https:// for TLS
    clickhouse_ca_file: Path | None = None  # authorities to trust, PEM; without it those of the system
    clickhouse_user: str = "default"
    clickhouse_password: SecretStr = NO_SECRET
    clickhouse_reader: str = ""  # a user that may only read, for query rules; without one the user above asks
    clickhouse_reader_password: SecretStr = NO_SECRET
    clickhouse_cluster: str = ""  # of replicas: `setup` then makes Replicated tables ON CLUSTER
    clickhouse_database: str = Field("aftermath", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
    recorded: bool = False  # the topics hold recorded data: record times are the player's, and nobody appends ticks
    lateness_seconds: int = Field(10, ge=0, le=3600)
    pane_seconds: int = Field(5, ge=1, le=60)
    tenant: str = Field("default", min_length=1, max_length=100)  # of OpenTelemetry that names none
    agent_accounts: tuple[str, ...] = ()  # shell patterns of the user names that agents have in audit logs
    schema_registry_url: str | None = None  # reads Confluent's wire format on our three topics too
    schema_registry_user: str = ""
    schema_registry_password: SecretStr = NO_SECRET
    web_port: int | None = Field(None, ge=0, le=65535)  # the live page; usual is 8420
    web_host: str = "127.0.0.1"
    web_hosts: tuple[str, ...] = ()  # further names people reach it by, as behind a proxy
    web_token: SecretStr | None = None  # without it a new one for each run, in the link that is logged
    health_port: int | None = Field(None, ge=0, le=65535)  # /metrics, /healthz, /readyz; usual is 9464
    health_host: str = "127.0.0.1"  # 0.0.0.0 where probes and Prometheus come from elsewhere
    log_format: Literal["auto", "json", "text"] = "auto"  # auto: text in a terminal, JSON elsewhere
    otlp_port: int | None = Field(None, ge=0, le=65535)  # `run` takes OTLP over HTTP there; usual is 4318
    otlp_host: str = "127.0.0.1"
    otlp_token: SecretStr | None = None  # asked for where others than this machine can reach the port
    limits_file: Path | None = None
    owners_file: Path | None = None  # which team an incident belongs to: pipeline/core/owners.py
    rules_dir: Path | None = None  # the rules that come with Aftermath
    rules_seconds: float = Field(10.0, ge=0.05, le=3600)  # between two looks whether rules have changed
    routes_file: Path | None = None  # none: rules name their receivers themselves, who are told at once
    receivers: dict[str, ReceiverSettings] = {"console": ReceiverSettings(kind="console")}
    links: LinkSettings = LinkSettings()
    stages: tuple[StageName, ...] = STAGE_NAMES
    in_flight_mb: int = Field(16, ge=1, le=1024)  # of each stage: read and not yet confirmed
    session_timeout_seconds: int = Field(10, ge=6, le=300)
    snapshot_seconds: float = Field(30.0, ge=0.0, le=3600)  # at least so long between two snapshots of a partition
    commit_interval_seconds: float = Field(1.0, ge=0.05, le=60)
    # What is being read, so that a message that kills the process is known to the next one: must outlive the process
    journal_dir: Path = Path(tempfile.gettempdir()) / f"aftermath-{os.getuid()}"
    stop_seconds: float = Field(25.0, ge=2, le=600)  # told to stop: so long at most, then exit code 75

    @field_validator("kafka")
    @classmethod
    def _servers(cls, value: str) -> str:
        for server in value.split(","):
            host, colon, port = server.strip().rpartition(":")
            if not host or not colon or not port.isdigit():
                raise ValueError(f"write host:port, several separated by commas, not {server.strip()[:60]!r}")
        return value

    @field_validator("clickhouse_url")
    @classmethod
    def _only_an_address(cls, value: str) -> str:
        if "@" in value or "?" in value:  # it is shown
            raise ValueError("write https://host:port alone; user and password have settings of their own")
        return value

    @field_validator("stages")
    @classmethod
    def _some_stage(cls, value: tuple[StageName, ...]) -> tuple[StageName, ...]:
        if not value:
            raise ValueError(f"name at least one of {', '.join(STAGE_NAMES)}")
        return tuple(dict.fromkeys(value))

    @model_validator(mode="after")
    def _connections(self) -> Self:
        faults = self.kafka_connection.faults()
        if file := self.clickhouse_ca_file:
            name = "AFTERMATH_CLICKHOUSE_CA_FILE"
            faults += [said for said in (file_fault(name, file) or authorities_fault(name, file),) if said]
            if not self.clickhouse_url.startswith("https:"):
                faults.append(f"{name} would not be used: write https:// in AFTERMATH_CLICKHOUSE_URL.")
        if faults:
            raise ValueError(" ".join(faults))
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = Path(os.environ.get("AFTERMATH_CONFIG", CONFIG_FILE))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)

    @property
    def kafka_connection(self) -> KafkaConnection:
        """How Kafka is reached: all that begins with kafka_."""
        parts = {name: getattr(self, f"kafka_{name}") for name in KafkaConnection.model_fields if name != "servers"}
        return KafkaConnection(servers=self.kafka, **parts)

    def in_clear(self) -> list[str]:
        """A sentence for each password that would go over the network readable."""
        found = []
        if self.kafka_mechanism and not self.kafka_tls:
            found.append(
                "The Kafka login goes over the network in clear: set AFTERMATH_KAFKA_TLS=true and its TLS port."
            )
        url = urlsplit(self.clickhouse_url)
        is_far = url.scheme != "https" and url.hostname not in LOOPBACK
        if self.clickhouse_password.get_secret_value() and is_far:
            found.append(
                "The ClickHouse password goes over the network in clear: use https:// in AFTERMATH_CLICKHOUSE_URL."
            )
        return found

    @property
    def lateness(self) -> int:
        """In microseconds."""
        return self.lateness_seconds * 1_000_000

    @property
    def pane(self) -> int:
        """In microseconds."""
        return self.pane_seconds * 1_000_000

    def group(self, stage: str) -> str:
        """The consumer group of a stage."""
        return f"{self.group_prefix}.{stage}"


def load_settings(**overrides: Any) -> Settings:
    """The settings, with what the command line says on top. Raises ConfigurationError that lists every fault."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'together'}: {fault['msg'].removeprefix(OURS)}"
            for fault in error.errors(include_input=False)
        )
        raise ConfigurationError(f"The settings (AFTERMATH_* or aftermath.toml) are wrong: {faults}.") from None
    except ValueError as error:  # the file is no TOML
        raise ConfigurationError(f"{CONFIG_FILE} cannot be read: {error}.") from None


def faust_settings(settings: Settings, stage: str) -> dict[str, Any]:
    """The constructor arguments of a stage's Faust app."""
    found: dict[str, Any] = {
        "id": settings.group(stage),
        "broker": [f"kafka://{server.strip()}" for server in settings.kafka.split(",")],
        "key_serializer": "raw",
        "value_serializer": "raw",
        "stream_wait_empty": False,  # would wait for ever for what is held back at a rebalance
        "broker_max_poll_interval": 86_400.0,  # a sink that is down for long must not end the membership
        "processing_guarantee": "at_least_once",
        "broker_session_timeout": float(settings.session_timeout_seconds),
        "broker_heartbeat_interval": min(3.0, settings.session_timeout_seconds / 5),
        "broker_rebalance_timeout": 30.0,
        "broker_request_timeout": max(40.0, settings.session_timeout_seconds + 10.0),  # must exceed the session's
        "broker_commit_interval": settings.commit_interval_seconds,
        "stream_buffer_maxsize": 16,  # elements, not messages
        "consumer_max_fetch_size": MEGABYTE,
        "consumer_auto_offset_reset": "earliest",
        "consumer_metadata_max_age_ms": 10_000,  # a leader that saw no topics gives nobody any until it looks again
        "broker_check_crcs": True,
        "table_standby_replicas": 1,  # 0 and no tables would assign round-robin
        "PartitionAssignor": "pipeline.transport:EvenAssignor",
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "topic_partitions": 4,  # only of topics that Faust would make, and it makes none
        "producer_acks": -1,
        "web_enabled": False,
        "worker_redirect_stdouts": False,
        "autodiscover": False,
        "datadir": Path(tempfile.gettempdir()) / "aftermath",  # Faust makes the folder; without tables it stays empty
    }
    if settings.instance:
        found["consumer_group_instance_id"] = f"{settings.group(stage)}.{settings.instance}"
    return found


# a different value of one of these loses data or stalls
SAFE: Mapping[str, object] = {
    "key_serializer": "raw",
    "value_serializer": "raw",
    "stream_wait_empty": False,
    "broker_max_poll_interval": 86_400.0,
    "processing_guarantee": "at_least_once",
    "consumer_auto_offset_reset": "earliest",
    "broker_check_crcs": True,
    "table_standby_replicas": 1,
}


def check_faust_settings(conf: object) -> None:
    """Compare what an app was really configured with. Raises ConfigurationError that lists what differs."""
    faults = []
    for name, wanted in SAFE.items():
        found = getattr(conf, name)
        found = getattr(found, "value", found)  # an enum's value
        if found != wanted:
            faults.append(f"{name} is {found!r} and must be {wanted!r}")
    if faults:
        raise ConfigurationError(f"Faust is configured so that it would lose data: {'; '.join(faults)}.")
