"""The embedded broker, with what tests write to it, read from it and ask it."""

from collections.abc import Sequence
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.embedded.broker import MockKafka
from schemas.topics import BY_NAME


class Broker(MockKafka):
    """One broker in this process."""

    def produce(self, topic: str, values: Sequence[bytes], partition: int = 0, stamp: int = 0) -> None:
        """Write values to one partition; stamp in milliseconds, 0 for now."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "log_level": 0})
        for value in values:
            producer.produce(topic, value, partition=partition, timestamp=stamp)
        assert producer.flush(10) == 0

    def records(self, topic: str, partition: int) -> list[tuple[bytes | None, int]]:
        """Everything in a partition now: value, and stamp in microseconds."""
        return [(message.value(), message.timestamp()[1] * 1000) for message in self.messages(topic, partition)]

    def values(self, topic: str) -> list[bytes]:
        """The values of a topic now, partition by partition."""
        numbers = range(BY_NAME[topic].partitions)
        return [m.value() for number in numbers for m in self.messages(topic, number) if m.value() is not None]

    def messages(self, topic: str, partition: int) -> list[Any]:
        """Everything in a partition now, as Kafka hands it out."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "test.read",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
                "log_level": 0,
            }
        )
        consumer.assign([TopicPartition(topic, partition, 0)])
        found = []
        while True:
            message = consumer.poll(10)
            assert message is not None, f"{topic}/{partition} cannot be read"
            if message.error() is not None:
                break
            found.append(message)
        consumer.close()
        return found

    def committed(self, group: str, topic: str) -> list[int]:
        """What a group has committed of each partition; -1001 where it has not."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "log_level": 0})
        places = [TopicPartition(topic, number) for number in range(BY_NAME[topic].partitions)]
        offsets = [place.offset for place in consumer.committed(places, timeout=10)]
        consumer.close()
        return offsets
