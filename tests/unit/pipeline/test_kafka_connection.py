"""The connection to Kafka as settings make it: the same names everywhere, every fault said, no secret shown."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr, ValidationError

from pipeline.embedded import embedded_settings
from pipeline.kafka_connection import KafkaConnection
from pipeline.settings import Settings, load_settings
from pipeline.transport import credentials
from schemas.errors import ConfigurationError

OURS = "correct-horse-7c1d"
LOGIN = {"kafka_mechanism": "SCRAM-SHA-256", "kafka_user": "worker", "kafka_password": OURS}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_part_but_the_servers_is_a_setting() -> None:
    parts = {f"kafka_{name}": field for name, field in KafkaConnection.model_fields.items() if name != "servers"}
    ours = {name: field for name, field in Settings.model_fields.items() if name.startswith("kafka_")}
    assert {name: field.default for name, field in ours.items()} == {n: f.default for n, f in parts.items()}


def test_an_address_alone_is_a_connection_in_clear_without_a_login() -> None:
    connection = KafkaConnection(servers="broker:9092")
    assert connection.librdkafka() == {"bootstrap.servers": "broker:9092"}
    assert connection.ssl_context() is None
    assert credentials(connection) is None
    assert connection.faults() == []


def test_environment_and_file_use_the_same_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "aftermath.toml").write_text(
        f'kafka_tls = true\nkafka_mechanism = "PLAIN"\nkafka_user = "file"\nkafka_password = "{OURS}"\n'
    )
    monkeypatch.setenv("AFTERMATH_KAFKA_USER", "environment")
    monkeypatch.setenv("AFTERMATH_KAFKA", "broker:9093")
    assert load_settings().kafka_connection.librdkafka() == {
        "bootstrap.servers": "broker:9093",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "environment",
        "sasl.password": OURS,
    }


def test_faust_gets_the_login_and_a_context_that_verifies() -> None:
    found = credentials(load_settings(kafka_tls=True, **LOGIN).kafka_connection)
    assert (found.protocol.value, found.mechanism.value) == ("SASL_SSL", "SCRAM-SHA-256")
    assert (found.username, found.password) == ("worker", OURS)
    assert found.ssl_context.check_hostname
    assert OURS not in repr(found)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kafka_mechanism": "CRAM-MD5"}, "kafka_mechanism: Input should be 'PLAIN', 'SCRAM-SHA-256' or 'SCRAM-SHA-"),
        ({"kafka_mechanism": "PLAIN", "kafka_user": "worker"}, "needs AFTERMATH_KAFKA_USER and AFTERMATH_KAFKA_PASS"),
        (
            {"kafka_user": "worker", "kafka_password": OURS},
            "needs AFTERMATH_KAFKA_MECHANISM: set it to what the broker",
        ),
        ({"kafka_ca_file": "ca.pem"}, "AFTERMATH_KAFKA_CA_FILE would not be used: set AFTERMATH_KAFKA_TLS=true"),
        (
            {"kafka_tls": True, "kafka_ca_file": "none.pem"},
            "AFTERMATH_KAFKA_CA_FILE names none.pem, and there is no such",
        ),
        ({"kafka_tls": True, "kafka_ca_file": "ca.pem"}, "holds no certificate in PEM form"),
        ({"kafka_tls": True, "kafka_key_file": "ca.pem"}, "go together: set both or none"),
        (
            {"kafka_tls": True, "kafka_key_file": "ca.pem", "kafka_certificate_file": "ca.pem"},
            "a key with a password needs AFTERMATH_KAFKA_KEY_PASSWORD",
        ),
        ({"clickhouse_ca_file": "ca.pem"}, "write https:// in AFTERMATH_CLICKHOUSE_URL"),
        ({"clickhouse_ca_file": "none.pem"}, "AFTERMATH_CLICKHOUSE_CA_FILE names none.pem, and there is no such"),
        ({"clickhouse_ca_file": "ca.pem"}, "AFTERMATH_CLICKHOUSE_CA_FILE (ca.pem) holds no certificate in PEM form"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(settings: dict[str, object], says: str, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**settings)
    assert says in str(caught.value)
    assert OURS not in str(caught.value)


def test_a_password_without_tls_is_said_once_each_and_one_over_tls_is_not() -> None:
    in_clear = load_settings(**LOGIN, clickhouse_password=OURS, clickhouse_url="http://db:8123").in_clear()
    assert [sentence.split(" goes")[0] for sentence in in_clear] == ["The Kafka login", "The ClickHouse password"]
    assert (
        load_settings(**LOGIN, kafka_tls=True, clickhouse_password=OURS, clickhouse_url="https://db").in_clear() == []
    )
    assert load_settings().in_clear() == []
    assert load_settings(clickhouse_password=OURS).in_clear() == [], "what does not leave the machine"


def test_what_is_embedded_is_reached_in_clear_whatever_is_set_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERMATH_KAFKA_TLS", "true")
    for name, value in LOGIN.items():
        monkeypatch.setenv(f"AFTERMATH_{name.upper()}", value)
    database = SimpleNamespace(url="http://127.0.0.1:1", user="default", password="made")
    found = load_settings(**embedded_settings("127.0.0.1:2", database))  # type: ignore[arg-type]
    assert found.kafka_connection == KafkaConnection(servers="127.0.0.1:2")
    assert found.clickhouse_url == "http://127.0.0.1:1"


def test_secrets_do_not_show(caplog: pytest.LogCaptureFixture) -> None:
    settings = load_settings(**LOGIN, kafka_key_password=OURS)
    connection = settings.kafka_connection
    shown = f"{settings!r} {settings} {connection!r} {connection} {connection.model_dump_json()} {vars(connection)}"
    logging.getLogger("test").warning("%s %r", connection, connection)
    assert OURS not in shown + caplog.text
    assert str(connection) == "127.0.0.1:9092, no TLS, SCRAM-SHA-256 as worker (password ****)"
    with pytest.raises(ValidationError) as caught:
        Settings(**LOGIN, kafka_tls="perhaps", kafka_ca_file=Path("x"), pane_seconds=0)  # type: ignore[arg-type]
    with pytest.raises(ValidationError) as also:
        KafkaConnection(servers="x:1", password=SecretStr(OURS), mechanism=OURS)  # type: ignore[arg-type]
    assert OURS not in f"{caught.value} {also.value}"
