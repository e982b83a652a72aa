"""Reads our three topics back as the frames that detection works on: one stretch of append time at a time, merged.

For looking at what was: no group is joined, nothing is committed, nothing written. A message belongs to the stretch of
its append time as a running maximum of its partition, as for the stages. Partitions that are ahead wait, paused, so
that memory is bounded by a stretch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import polars as pl
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, Message, TopicPartition

from pipeline.kafka_connection import KafkaConnection
from pipeline.kafka_faults import answer_to, is_passing
from schemas.codecs import Batch, Decoded
from schemas.codecs.blocks import decode_batch
from schemas.errors import DependencyError
from schemas.events import TOPIC_RECORDS
from schemas.times import MICROS
from schemas.topics import BY_NAME

STRETCH = 600 * MICROS
AT_ONCE = 1_000  # messages
WAIT_SECONDS = 1.0
SILENT_WAITS = 30  # so often nothing, neither a message nor an end: Kafka does not answer
LOOK_UP_SECONDS = 15.0


@dataclass(slots=True)
class _Place:
    """A partition: what was read of it and not handed out, the newest append time, whether it was read to its end."""

    rows: list[tuple[int, int, bytes | None, bytes | None]] = field(default_factory=list)  # offset, time, key, value
    newest: int = 0
    has_ended: bool = False

    def is_past(self, stop: int) -> bool:
        return self.has_ended or self.newest >= stop

    def take(self, message: Message) -> None:
        offset, key, value = message.offset(), message.key(), message.value()
        self.newest = max(self.newest, message.timestamp()[1] * 1000)
        self.rows.append((offset or 0, self.newest, _bytes(key), _bytes(value)))

    def before(self, stop: int) -> list[tuple[int, int, bytes | None, bytes | None]]:
        """Take out what belongs before `stop`; the times grow."""
        split = next((number for number, row in enumerate(self.rows) if row[1] >= stop), len(self.rows))
        found, self.rows = self.rows[:split], self.rows[split:]
        return found


def log_stretches(connection: KafkaConnection, since: int, until: int) -> Iterator[list[Decoded]]:
    """The frames of each stretch from `since` on, before `until` (microseconds); those with rows, one a topic.

    Raises DependencyError where Kafka does not answer.
    """
    reader = _Reader(connection, since)
    try:
        for start in range(since, until, STRETCH):
            if parts := reader.read(start, min(start + STRETCH, until)):
                yield parts
    except KafkaException as error:
        raise _down(connection, str(error.args[0])) from error
    finally:
        reader.close()


class _Reader:
    def __init__(self, connection: KafkaConnection, since: int) -> None:
        self._connection = connection
        self._places = {
            (topic, number): _Place() for topic in TOPIC_RECORDS for number in range(BY_NAME[topic].partitions)
        }
        self._consumer = Consumer(connection.onlooker("aftermath.replay"))
        try:
            self._consumer.assign(self._starts(since))
        except KafkaException as error:
            self._consumer.close()
            raise _down(connection, str(error.args[0])) from error

    def read(self, start: int, stop: int) -> list[Decoded]:
        self._consumer.resume(
            [TopicPartition(*name) for name, place in self._places.items() if not place.is_past(stop)]
        )
        silent = 0
        while not all(place.is_past(stop) for place in self._places.values()):
            messages = self._consumer.consume(AT_ONCE, WAIT_SECONDS)
            silent = 0 if messages else silent + 1
            if silent > SILENT_WAITS:
                raise _down(self._connection, "nothing came")
            for message in messages:
                self._take(message, stop)
        parts = [self._decoded(topic, start, stop) for topic in TOPIC_RECORDS]
        return [part for part in parts if part.frame.height or part.rejected]

    def _starts(self, since: int) -> list[TopicPartition]:
        """Where to begin; what is looked up by time is a batch, which may begin before.

        Where no partition has anything since then, all is read and left out: the embedded broker looks nothing up by
        time. Raises KafkaException.
        """
        asked = [TopicPartition(topic, number, since // 1000) for topic, number in self._places]
        look_up = partial(self._consumer.offsets_for_times, asked)
        found: list[TopicPartition] = answer_to(look_up, LOOK_UP_SECONDS)
        if all(place.offset == OFFSET_END for place in found):
            return [TopicPartition(*name, OFFSET_BEGINNING) for name in self._places]
        return found

    def _take(self, message: Message, stop: int) -> None:
        name, fault = (str(message.topic()), int(message.partition() or 0)), message.error()
        place = self._places[name]
        if fault is None:
            place.take(message)
        elif fault.name() == "_PARTITION_EOF":
            place.has_ended = True
        elif not is_passing(fault):
            raise DependencyError(f"Kafka does not let {name[0]} be read: {fault.str()}.")
        if place.is_past(stop):
            self._consumer.pause([TopicPartition(*name)])

    def _decoded(self, topic: str, start: int, stop: int) -> Decoded:
        parts = [
            decode_batch(Batch(topic, number, *map(list, zip(*rows, strict=True))), TOPIC_RECORDS[topic])
            for number in range(BY_NAME[topic].partitions)
            if (rows := [row for row in self._places[topic, number].before(stop) if row[1] >= start])
        ]
        if not parts:
            return Decoded(topic, 0, pl.DataFrame(), (), 0, 0)
        frame = pl.concat([part.frame for part in parts]).sort("ingest_time", "partition", "offset")
        rejected = tuple(one for part in parts for one in part.rejected)
        return Decoded(topic, 0, frame, rejected, 0, max(part.newest_ingest_time for part in parts))

    def close(self) -> None:
        self._consumer.close()


def _bytes(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _down(connection: KafkaConnection, why: str) -> DependencyError:
    return DependencyError(
        f"Kafka does not answer at {connection.servers} ({why}); start it, or set AFTERMATH_KAFKA; what is stored in "
        "ClickHouse can be replayed without it (--source tables)."
    )
