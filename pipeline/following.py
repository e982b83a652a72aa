"""Follows topics from a moment on, without joining a group and without committing: for people who look on."""

from collections.abc import Iterator, Sequence

from confluent_kafka import OFFSET_END, Consumer, KafkaException, TopicPartition

from pipeline.kafka_connection import KafkaConnection
from pipeline.kafka_faults import is_passing
from reports.tail import Shown
from schemas.codecs.single import decode_incident, decode_record
from schemas.errors import DependencyError
from schemas.signals import Gap, Heard, Reduced, Usage
from schemas.topics import INCIDENTS, Topic

AT_ONCE = 1_000  # messages
TIMEOUT_SECONDS = 10.0
START = 0  # a moment before any message


class Follower:
    """Iterate: a list of (topic, value) each time something came, an empty one where nothing did for `wait` seconds.

    since: stamps of Kafka from which on messages are read, milliseconds; None: what comes from now on. Tombstones are
    left out. Raises DependencyError where Kafka does not answer.
    """

    def __init__(
        self, connection: KafkaConnection, topics: Sequence[Topic], since: int | None, wait: float = 0.5
    ) -> None:
        self._servers, self._wait = connection.servers, wait
        self._since = since or START
        self._unread = {(topic.name, number) for topic in topics for number in range(topic.partitions)}
        self._consumer = Consumer(connection.onlooker("aftermath.tail"))
        try:
            places = [TopicPartition(name, number) for name, number in sorted(self._unread)]
            self._consumer.assign(self._starts(places, since))
        except KafkaException as error:
            self._consumer.close()
            raise self._down(error) from error

    @property
    def is_at_end(self) -> bool:
        """Whether every partition was read to where it ended at some time since the start."""
        return not self._unread

    def __iter__(self) -> Iterator[list[tuple[str, bytes]]]:
        while True:
            try:
                messages = self._consumer.consume(AT_ONCE, self._wait)
            except KafkaException as error:
                raise self._down(error) from error
            found = []
            for message in messages:
                fault = message.error()
                topic, partition, value = message.topic(), message.partition(), message.value()
                if fault is None:  # looked up by time is the batch: it may begin before
                    if topic is not None and value is not None and message.timestamp()[1] >= self._since:
                        found.append((topic, value))
                elif fault.name() == "_PARTITION_EOF":
                    self._unread.discard((str(topic), int(partition or 0)))
                elif not is_passing(fault):
                    raise DependencyError(f"Kafka does not let {topic} be read: {fault.str()}.")
            yield found

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def _starts(self, places: list[TopicPartition], since: int | None) -> list[TopicPartition]:
        if since is None:
            return [TopicPartition(place.topic, place.partition, OFFSET_END) for place in places]
        if since == START:
            return places
        asked = [TopicPartition(place.topic, place.partition, since) for place in places]
        return list(self._consumer.offsets_for_times(asked, timeout=TIMEOUT_SECONDS))

    def _down(self, error: KafkaException) -> DependencyError:
        return DependencyError(
            f"Kafka does not answer at {self._servers} ({error.args[0].str()}); start it, or set AFTERMATH_KAFKA."
        )


def shown(topic: str, value: bytes) -> Shown | None:
    """What a message says to people; None where it is one of the pipeline's own."""
    if topic == INCIDENTS.name:
        return decode_incident(value)
    record = decode_record(value)
    if isinstance(record, Reduced):
        return None if isinstance(record.row, Usage | Heard) else record.row
    return record if isinstance(record, Gap) else None
