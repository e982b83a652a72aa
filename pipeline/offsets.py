"""What groups have committed and where partitions end: asked of the broker, without joining a group.

The player paces by it, and the demo knows by it when all is read.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.kafka_connection import KafkaConnection
from pipeline.kafka_faults import answer_to
from schemas.errors import DependencyError
from schemas.topics import Topic

Place = tuple[str, int]
TIMEOUT_SECONDS = 10.0


class Offsets:
    """Blocks while it asks; not for several threads at once. Close it."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        self._clients: dict[str, Consumer] = {}

    def committed(self, group: str, topics: Iterable[Topic]) -> dict[Place, int]:
        """The first offset the group has not confirmed, 0 where it has not committed yet."""
        places = [TopicPartition(topic.name, number) for topic in topics for number in range(topic.partitions)]
        client = self._client(group)
        found = self._answer(partial(client.committed, places))
        return {(item.topic, item.partition): max(0, item.offset) for item in found}

    def ends(self, topics: Iterable[Topic]) -> dict[Place, int]:
        """The offset the next record of each partition will have."""
        client = self._client("aftermath.offsets")
        ends: dict[Place, int] = {}
        for topic in topics:
            for number in range(topic.partitions):
                place = TopicPartition(topic.name, number)
                ends[topic.name, number] = self._answer(partial(client.get_watermark_offsets, place))[1]
        return ends

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def _client(self, group: str) -> Consumer:
        if group not in self._clients:
            self._clients[group] = Consumer(
                self._connection.librdkafka()
                | {
                    "group.id": group,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "log_level": 0,
                }
            )
        return self._clients[group]

    def _answer(self, ask: Callable[..., Any]) -> Any:
        try:
            return answer_to(ask, TIMEOUT_SECONDS)
        except KafkaException as error:
            raise self.down(error) from error

    def down(self, error: KafkaException) -> DependencyError:
        """What to raise where Kafka does not tell."""
        return DependencyError(
            f"Kafka at {self._connection.servers} does not tell its offsets ({error.args[0].str()});"
            " check that it is up."
        )
