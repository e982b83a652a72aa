"""The embedded broker is a broker: real clients over TCP, and it fails on command."""

import socket
import time
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from pipeline.embedded.broker import PRODUCE, MockKafka, embedded_broker, library_path
from schemas.errors import ConfigurationError
from schemas.topics import ALL, TRACES, Topic

pytestmark = pytest.mark.embedded
TOPIC_NOT_AUTHORISED = 29


def read(bootstrap: str, topic: str, partition: int, count: int) -> list[bytes | None]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader"})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
    messages = consumer.consume(count, timeout=10)
    consumer.close()
    return [message.value() for message in messages if message.error() is None]


def test_every_topic_is_there_with_its_partitions() -> None:
    with embedded_broker() as bootstrap:
        found = Producer({"bootstrap.servers": bootstrap}).list_topics(timeout=10).topics
        assert {name: len(topic.partitions) for name, topic in found.items()} == {
            topic.name: topic.partitions for topic in ALL
        }


def test_a_command_does_not_wait_for_the_one_before_it() -> None:
    took = []
    for _ in range(5):
        begun = time.monotonic()
        with embedded_broker():
            took.append(time.monotonic() - begun)
    assert sorted(took)[2] < 0.9, took  # a wake-up that is lost costs a second


def test_what_was_published_can_be_read() -> None:
    with embedded_broker([TRACES]) as bootstrap:
        producer = Producer({"bootstrap.servers": bootstrap, "compression.type": "zstd"})
        for number in range(10):
            producer.produce(TRACES.name, str(number).encode(), partition=2)
        assert producer.flush(10) == 0
        assert read(bootstrap, TRACES.name, 2, 10) == [str(number).encode() for number in range(10)]


def test_it_listens_on_this_machine_only_and_is_gone_at_the_end() -> None:
    with embedded_broker([TRACES]) as bootstrap:
        host, port = bootstrap.rsplit(":", 1)
        assert host == "127.0.0.1"
        socket.create_connection((host, int(port)), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)


def test_a_broker_that_comes_back_gets_every_message() -> None:
    kafka, errors = MockKafka([Topic("orders", 3)]), list[object]()
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "logger": None, "log_level": 0})
    kafka.set_down()
    producer.produce("orders", b"1", partition=0, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(0.5) == 1
    kafka.set_up()
    assert producer.flush(10) == 0
    assert errors == [None]
    del producer
    kafka.close()
    kafka.close()


def test_an_error_can_be_ordered() -> None:
    kafka, codes = MockKafka([Topic("orders", 1)]), list[int]()
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0})
    kafka.fail(PRODUCE, TOPIC_NOT_AUTHORISED)
    producer.produce("orders", b"2", partition=0, on_delivery=lambda error, _: codes.append(error.code()))
    producer.flush(10)
    assert codes == [TOPIC_NOT_AUTHORISED]
    del producer
    kafka.close()
    with pytest.raises(RuntimeError, match="closed"):
        kafka.set_up()


def test_a_missing_library_is_one_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="reinstall confluent-kafka from its wheel"):
        library_path(tmp_path)
