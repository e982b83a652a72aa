"""What stands in a topic now, read without a group."""

from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from schemas.topics import Topic

ANSWER_SECONDS = 20.0


def values(kafka: str, topic: Topic) -> Iterator[bytes]:
    """The values of a topic, in the order of `messages`."""
    return (message.value() for message in messages(kafka, topic))


def messages(kafka: str, topic: Topic) -> Iterator[Any]:
    """A topic, partition by partition, each to the end it has when it is read. Tombstones are left out."""
    for number in range(topic.partitions):
        consumer = Consumer(
            {
                "bootstrap.servers": kafka,
                "group.id": "test.reading",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        try:
            consumer.assign([TopicPartition(topic.name, number, 0)])
            while True:
                message = consumer.poll(ANSWER_SECONDS)
                assert message is not None, f"{topic.name}/{number} cannot be read"
                if message.error() is not None:
                    break
                if message.value() is not None:
                    yield message
        finally:
            consumer.close()
