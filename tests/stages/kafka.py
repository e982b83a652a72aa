"""The embedded broker, with what tests write to it, read from it and ask it."""

from collections.abc import Sequence

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

    def read(self, topic: str) -> list[tuple[int, bytes | None, bytes | None]]:
        """Everything in a topic now: partition, key, value."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "test.read",
                "auto.offset.reset": "earliest",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        found = []
        unread = set(range(BY_NAME[topic].partitions))
        consumer.assign([TopicPartition(topic, number, 0) for number in unread])
        while unread:
            message = consumer.poll(10)
            assert message is not None, f"{topic} cannot be read"
            if message.error() is None:
                found.append((message.partition(), message.key(), message.value()))
            else:
                unread.discard(message.partition())
        consumer.close()
        return found

    def committed(self, group: str, topic: str) -> list[int]:
        """What a group has committed of each partition; -1001 where it has not."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "log_level": 0})
        places = [TopicPartition(topic, number) for number in range(BY_NAME[topic].partitions)]
        offsets = [place.offset for place in consumer.committed(places, timeout=10)]
        consumer.close()
        return offsets
