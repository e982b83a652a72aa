"""Kafka over TLS and with a login: every client gets through, and what is refused is said clearly, without secrets."""

import asyncio
import logging
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from pipeline.app import Pipeline
from pipeline.cli import main
from pipeline.demo.recording import recording_of
from pipeline.following import Follower
from pipeline.kafka_connection import KafkaConnection
from pipeline.offsets import Offsets
from pipeline.player import Player
from pipeline.reaching import reach
from pipeline.settings import Settings
from pipeline.stages.batching import TableWriter
from pipeline.stages.read_back import read_whole_topic
from pipeline.topic_setup import setup_topics
from pipeline.transport import credentials
from schemas.codecs.single import decode_record
from schemas.errors import DependencyError
from schemas.signals import Reduced, Signal
from schemas.topics import INPUTS, SIGNALS
from tests.builders import span
from tests.services.certificates import Authority
from tests.services.conftest import leave_out
from tests.services.secure_kafka import MECHANISMS, PASSWORD, SecureKafka
from tests.services.used import USED

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]
WRONG = "wrong-horse-91ab"
SECONDS = 20.0


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """One broker with its topics, made over TLS and with a login."""
    if (lacks := SecureKafka.lacks()) is not None:
        leave_out("Kafka with TLS", lacks)
    broker = SecureKafka(tmp_path_factory.mktemp("certificates"))
    try:
        broker.start()
        USED["Kafka with TLS"] = broker.says
        setup_topics(settings_for(broker.sasl_tls("SCRAM-SHA-512")))
        yield broker
    finally:
        broker.remove()


def settings_for(connection: KafkaConnection) -> Settings:
    parts = {f"kafka_{name}": getattr(connection, name) for name in KafkaConnection.model_fields if name != "servers"}
    return Settings(
        kafka=connection.servers,
        **parts,
        group_prefix=f"test-{uuid.uuid4().hex[:8]}",
        recorded=True,
        session_timeout_seconds=6,
        commit_interval_seconds=0.1,
        snapshot_seconds=0.5,
    )


def no_writer() -> TableWriter:
    raise AssertionError("detect writes no tables")


async def test_a_loop_is_found_over_tls_with_a_login(secure: SecureKafka, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    settings = settings_for(secure.sasl_tls("SCRAM-SHA-512"))
    connection = settings.kafka_connection
    pipeline = Pipeline(settings, ("detect",), writer=no_writer)
    await pipeline.start()
    try:
        await pipeline.ready()
        spans = [span(number, args_digest="same", result_digest="same") for number in range(12)]
        player = Player(connection, pane=settings.pane, lateness=settings.lateness, readers=())
        with recording_of(spans) as recording:
            played = await asyncio.to_thread(player.play, recording.messages())
        await pipeline.drain(60.0)
        assert sum(sum(counts.values()) for counts in pipeline.counters.values()) == played.messages + played.ticks
    finally:
        assert await pipeline.stop()
    records = [decode_record(value) async for value in read_whole_topic(connection, SIGNALS)]
    rows = [record.row for record in records if isinstance(record, Reduced)]
    assert "feedback_loop.exact" in {row.type for row in rows if isinstance(row, Signal)}
    offsets = Offsets(connection)
    assert sum(offsets.committed(settings.group("detect"), INPUTS).values()) == sum(offsets.ends(INPUTS).values()) > 0
    offsets.close()
    follower = Follower(connection, (SIGNALS,), 0)
    seen = 0
    for messages in follower:
        seen += len(messages)
        if follower.is_at_end:
            break
    follower.close()
    assert seen == len(records)
    assert PASSWORD not in caplog.text


async def test_every_way_in_is_open_to_both_libraries(secure: SecureKafka) -> None:
    ways = [secure.mutual_tls(), *map(secure.sasl, MECHANISMS), *map(secure.sasl_tls, MECHANISMS)]
    for connection in ways:
        assert reach(connection, SECONDS).cluster.brokers, connection
        login = credentials_to_aiokafka_auth(credentials(connection), None)
        consumer = AIOKafkaConsumer(bootstrap_servers=connection.servers, **login)
        await consumer.start()
        assert SIGNALS.name in await consumer.topics(), connection
        await consumer.stop()


def test_what_is_refused_is_said_with_what_to_do_and_without_the_secret(secure: SecureKafka, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    mutual = secure.mutual_tls()
    right = secure.sasl_tls("PLAIN")
    plain = {"mechanism": None, "user": "", "tls": False, "ca_file": None}
    refused = {
        "AFTERMATH_KAFKA_PASSWORD": [secure.sasl_tls(name, WRONG) for name in MECHANISMS]
        + [secure.sasl("PLAIN", WRONG)],
        "AFTERMATH_KAFKA_CA_FILE": [
            secure.sasl_tls("PLAIN", ca_file=stranger.certificate),
            right.model_copy(update={"ca_file": None}),  # this system's authorities have not signed it
            mutual.model_copy(update={"servers": secure.bootstrap}),  # TLS to a port that has none
        ],
        "AFTERMATH_KAFKA_CERTIFICATE_FILE": [mutual.model_copy(update={"certificate_file": None})],
        "AFTERMATH_KAFKA_TLS and AFTERMATH_KAFKA_MECHANISM": [right.model_copy(update=plain)],
    }
    for hint, connections in refused.items():
        for connection in connections:
            with pytest.raises(DependencyError, match=hint) as caught:
                reach(connection, 1.0)
            told = "".join(traceback.format_exception(caught.value))
            assert WRONG not in told
            assert PASSWORD not in told


@pytest.mark.parametrize("words", [["run", "--stage", "detect"], ["tail", "--once"], ["publish", "FILE"], ["doctor"]])
def test_a_command_with_a_wrong_password_ends_with_3(
    secure: SecureKafka,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "events.jsonl"
    file.write_text("")
    connection = secure.sasl("SCRAM-SHA-256", WRONG)
    for name in ("mechanism", "user"):
        monkeypatch.setenv(f"AFTERMATH_KAFKA_{name.upper()}", str(getattr(connection, name)))
    (tmp_path / "aftermath.toml").write_text(f'kafka = "{connection.servers}"\nkafka_password = "{WRONG}"\n')
    assert main([str(file) if word == "FILE" else word for word in words]) == 3
    shown = capsys.readouterr()
    told = shown.out + shown.err + caplog.text
    assert "check AFTERMATH_KAFKA_MECHANISM, AFTERMATH_KAFKA_USER and AFTERMATH_KAFKA_PASSWORD" in told
    assert WRONG not in told
    if words[0] in ("run", "doctor"):
        warned = caplog.text if words[0] == "run" else shown.out
        assert warned.count("The Kafka login goes over the network in clear") == 1


def test_an_untrusted_certificate_ends_a_worker_with_3(
    secure: SecureKafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    connection = secure.sasl_tls("SCRAM-SHA-256", ca_file=Authority(tmp_path, "stranger").certificate)
    values = {name: getattr(connection, name) for name in ("tls", "ca_file", "mechanism", "user")}
    values["password"] = PASSWORD
    for name, value in values.items():
        monkeypatch.setenv(f"AFTERMATH_KAFKA_{name.upper()}", str(value))
    monkeypatch.setenv("AFTERMATH_KAFKA", connection.servers)
    assert main(["run", "--stage", "detect"]) == 3
    assert "AFTERMATH_KAFKA_CA_FILE is the authority that signed" in capsys.readouterr().err
