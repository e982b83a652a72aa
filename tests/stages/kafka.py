"""librdkafka's mock cluster, driven by the C functions its library exports: a broker that fails on command."""

import ctypes as c
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import confluent_kafka
from confluent_kafka import Consumer, Producer, TopicPartition

from schemas.topics import ALL, BY_NAME, Topic

PTR, STR, INT, I16, I32, SIZE = c.c_void_p, c.c_char_p, c.c_int, c.c_int16, c.c_int32, c.c_size_t
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {  # without rd_kafka_: result, arguments
    "new": (PTR, [INT, PTR, STR, SIZE]),
    "destroy": (None, [PTR]),
    "mock_cluster_new": (PTR, [PTR, INT]),
    "mock_cluster_destroy": (None, [PTR]),
    "mock_cluster_bootstraps": (STR, [PTR]),
    "mock_topic_create": (INT, [PTR, STR, INT, INT]),
    "mock_group_initial_rebalance_delay_ms": (None, [PTR, I32]),
    "mock_broker_set_down": (INT, [PTR, I32]),
    "mock_broker_set_up": (INT, [PTR, I32]),
    "mock_push_request_errors_array": (None, [PTR, I16, SIZE, c.POINTER(INT)]),
}
PRODUCE, FETCH, COMMIT, HEARTBEAT, SYNC_GROUP = 0, 1, 8, 12, 14


class MockKafka:
    """One broker in this process."""

    def __init__(self, topics: Sequence[Topic] = ALL) -> None:
        wheel = Path(confluent_kafka.__file__).parent.parent
        self._library = c.CDLL(str(next(wheel.glob("confluent_kafka.libs/librdkafka*.so*"))))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(self._library, f"rd_kafka_{name}")
            function.restype, function.argtypes = result, arguments
        why = c.create_string_buffer(512)
        self._owner = self._library.rd_kafka_new(0, None, why, len(why))
        if not self._owner:
            raise RuntimeError(why.value.decode())
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._owner, 1)
        self.bootstrap: str = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        self("group_initial_rebalance_delay_ms", 0)
        for topic in topics:
            self("topic_create", topic.name.encode(), topic.partitions, 1)

    def __call__(self, command: str, *arguments: object) -> None:
        if code := getattr(self._library, f"rd_kafka_mock_{command}")(self._cluster, *arguments):
            raise RuntimeError(f"{command}{arguments} answered {code}")

    def fail(self, api: int, *codes: int) -> None:
        """The next requests of this kind are answered with these codes."""
        self("push_request_errors_array", api, len(codes), (INT * len(codes))(*codes))

    def close(self) -> None:
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._owner)

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
