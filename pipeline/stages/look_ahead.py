"""Looks whether the markers that are waited for stand further on in a partition of `signals.v1`.

Rows wait until every source has closed their pane. When as many wait as may, reading pauses; but what would let them go
comes by the same partition, behind the place where reading stands. So a second reader, which keeps nothing but one
number a source, looks ahead: as soon as every source that holds the others back has spoken, reading goes on up to
there, and the rows go. Until then nothing is gained by reading, and the rows that would come stay in Kafka.
"""

from collections.abc import Mapping
from types import TracebackType

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.kafka_connection import KafkaConnection
from pipeline.kafka_faults import is_passing
from schemas.codecs.single import decode_record
from schemas.errors import DependencyError
from schemas.signals import Marker

MOST_AT_ONCE = 5_000  # messages in one look: the caller wants to be asked again


class LookAhead:
    """One search, from `offset` on, for a newer marker of each of `closed` (source -> the pane it has closed)."""

    def __init__(
        self, connection: KafkaConnection, topic: str, partition: int, offset: int, closed: Mapping[str, int]
    ) -> None:
        self.missing = dict(closed)
        self._consumer = Consumer(
            connection.librdkafka()
            | {
                "group.id": f"aftermath.look_ahead.{topic}",  # never committed, never joined
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",  # deleted before it was read: reading itself tells of it
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, partition, offset)])

    def look(self, seconds: float) -> int | None:
        """Go on where the last look ended: the offset of the marker with which nothing is missing any more, or None.

        Blocks up to `seconds`. Raises DependencyError where Kafka does not let the partition be read.
        """
        try:
            found = self._consumer.consume(MOST_AT_ONCE, seconds)
        except KafkaException as error:
            raise DependencyError(f"signals.v1 cannot be looked through: {error.args[0].str()}.") from error
        for message in found:
            fault = message.error()
            if fault is not None:
                if is_passing(fault):
                    continue
                raise DependencyError(f"signals.v1 cannot be looked through: {fault.str()}.")
            value, offset = message.value(), message.offset()
            if value is None or offset is None:
                continue
            record = decode_record(value)
            if isinstance(record, Marker) and record.pane > self.missing.get(record.source, record.pane):
                del self.missing[record.source]
                if not self.missing:
                    return offset
        return None

    def __enter__(self) -> "LookAhead":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()
