"""The broker that the other tests here trust: it takes faults, comes back, and says clearly when there is none."""

import subprocess
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from pipeline.settings import Settings
from schemas.topics import ALL, METRICS
from tests.services import kafka_jars, kafka_server
from tests.services.kafka_jars import JarKafka
from tests.services.kafka_server import IMAGE, DockerKafka, NoKafkaError, RealKafka, fresh_topics

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]


def end_of(kafka: RealKafka, topic: str, partition: int = 0) -> int:
    client = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "test.ends", "log_level": 0})
    try:
        end: int = client.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)[1]
        return end
    finally:
        client.close()


def write_one(kafka: RealKafka, topic: str) -> None:
    told: list[object] = []
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "acks": "all", "log_level": 0})
    producer.produce(topic, b"x", partition=0, on_delivery=lambda error, _: told.append(error))
    assert producer.flush(20) == 0
    assert told == [None]


def test_the_topics_of_aftermath_are_made_as_they_must_be(real_kafka: RealKafka, recorded_settings: Settings) -> None:
    cluster = AdminClient({"bootstrap.servers": real_kafka.bootstrap}).list_topics(timeout=10)
    made = {name: len(topic.partitions) for name, topic in cluster.topics.items() if not name.startswith("__")}
    assert made == {topic.name: topic.partitions for topic in ALL}


def test_fresh_topics_hold_nothing_of_the_test_before(real_kafka: RealKafka, recorded_settings: Settings) -> None:
    write_one(real_kafka, METRICS.name)
    assert end_of(real_kafka, METRICS.name) == 1
    fresh_topics(recorded_settings)
    assert end_of(real_kafka, METRICS.name) == 0


def test_what_was_acknowledged_is_there_after_sigkill(real_kafka: RealKafka, recorded_settings: Settings) -> None:
    if not real_kafka.has_faults:
        pytest.skip(f"{real_kafka.says} is not ours to kill")
    before = end_of(real_kafka, METRICS.name)
    write_one(real_kafka, METRICS.name)
    real_kafka.kill()
    real_kafka.start()
    assert end_of(real_kafka, METRICS.name) == before + 1


def test_a_paused_broker_does_not_answer_and_a_resumed_one_does(
    real_kafka: RealKafka, recorded_settings: Settings
) -> None:
    if not real_kafka.has_faults:
        pytest.skip(f"{real_kafka.says} is not ours to pause")
    admin = AdminClient({"bootstrap.servers": real_kafka.bootstrap, "log_level": 0})
    real_kafka.pause()
    try:
        with pytest.raises(KafkaException):
            admin.list_topics(timeout=1)
    finally:
        real_kafka.resume()
    assert admin.list_topics(timeout=20).brokers


def test_where_no_way_is_open_the_reason_names_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kafka_server.VARIABLE, raising=False)
    monkeypatch.setattr(DockerKafka, "lacks", staticmethod(lambda: "Docker is not installed"))
    monkeypatch.setattr(JarKafka, "lacks", staticmethod(lambda: "Java 17 is not installed"))
    with pytest.raises(NoKafkaError, match="AFTERMATH_TEST_KAFKA is not set; Docker is not installed; Java 17 is"):
        kafka_server.real_kafka().__enter__()


def test_an_address_that_was_given_and_does_not_answer_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = kafka_server.free_ports(1)
    monkeypatch.setenv(kafka_server.VARIABLE, f"127.0.0.1:{port}")
    monkeypatch.setattr(kafka_server, "READY_SECONDS", 0.5)
    with pytest.raises(NoKafkaError, match=f"does not answer at 127.0.0.1:{port}"):
        kafka_server.real_kafka().__enter__()


def test_half_fetched_jars_are_never_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def fails_half_way(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        (target,) = (word.removeprefix("-DoutputDirectory=") for word in command if "outputDirectory" in word)
        Path(target).mkdir()
        Path(target, "kafka_2.13.jar").write_bytes(b"half")
        return subprocess.CompletedProcess(command, 1, "Could not transfer", "")

    monkeypatch.setattr(subprocess, "run", fails_half_way)
    with pytest.raises(NoKafkaError, match="Maven cannot fetch Kafka: Could not transfer"):
        kafka_jars.fetch_jars()
    assert list((tmp_path / "aftermath-tests").iterdir()) == []


def test_docker_runs_the_version_of_the_jars_with_the_same_settings() -> None:
    assert f"apache/kafka:{kafka_jars.kafka_version()}" == IMAGE
    kafka = DockerKafka()
    variables = kafka.container.environment
    assert (kafka.container.image, len(kafka.container.ports)) == (IMAGE, 1)
    assert variables["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{kafka.bootstrap}"
    assert variables["KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS"] == "0"
    assert variables["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert len(variables) == len(kafka_server.broker_settings("", "", "", ""))
