"""Publishes files to Kafka: as recorded data with its own times, or as live events that happen now.

Recorded (`play`): each record carries its stamp, the running maximum of the recorded append times over the whole input,
as CreateTime. All partitions of the three topics must move together in event time, so each gets a tick at the start of
every pane that holds something, and one at the end that closes the last. The player reads no clock but for its speed.

It never runs ahead of the readers: no partition holds more than `AHEAD_BYTES` that the slowest group has not confirmed,
all of them together no more than `AHEAD_BYTES_TOTAL`, and no topic behind them more than `AHEAD_MESSAGES`. The embedded
broker keeps about 5 MB of a partition and then drops the oldest, read or not.

Live (`publish_live`): all times of an event are shifted so that the first one is now; sent at the speed of the
recording, without a timestamp of ours.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from aiokafka.partitioner import murmur2
from confluent_kafka import Producer

from pipeline.clock import monotonic
from pipeline.kafka_connection import KafkaConnection
from pipeline.offsets import Offsets, Place
from schemas.codecs import TICK
from schemas.codecs.single import encode_event
from schemas.errors import DependencyError
from schemas.events import RECORD_TOPICS, TIME_COLUMNS, AgentSpan, ClusterEvent, MetricPoint
from schemas.times import MICROS
from schemas.topics import BY_NAME, INCIDENTS, INPUTS, MAX_MESSAGE_BYTES, SIGNALS, Topic

AHEAD_BYTES = 2_000_000
AHEAD_BYTES_TOTAL = 8_000_000
AHEAD_MESSAGES = 4_000
LOOK_SECONDS = 0.05
STUCK_SECONDS = 120.0  # no reader moved for so long: say so instead of waiting for ever
FLUSH_SECONDS = 30.0

Event = AgentSpan | MetricPoint | ClusterEvent
Message = tuple[str, bytes, bytes, int]  # topic, key, value, stamp in microseconds
Progress = Callable[[int, int, int], None]  # event time reached, messages published, bytes published


@dataclass(frozen=True, slots=True)
class Reader:
    """A group and what it reads: the player stays near it."""

    group: str
    topics: tuple[Topic, ...]


@dataclass(slots=True)
class Played:
    """What was published. `ended_at` is the stamp of the last tick, by which every pane is closed."""

    messages: int = 0
    bytes: int = 0
    ticks: int = 0
    began_at: int | None = None
    ended_at: int | None = None
    by_topic: dict[str, int] = field(default_factory=dict)


def readers(group: Callable[[str], str]) -> tuple[Reader, ...]:
    """The groups that a whole pipeline has, given how a stage's group is named."""
    return (
        Reader(group("detect"), INPUTS),
        Reader(group("archive"), INPUTS),
        Reader(group("correlate"), (SIGNALS,)),
        Reader(group("record"), (SIGNALS, INCIDENTS)),
        Reader(group("notify"), (INCIDENTS,)),
    )


@lru_cache(maxsize=100_000)
def partition_for(key: bytes, partitions: int) -> int:
    """Where a key goes: as murmur2_random, Faust and the Java client choose."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


class Player:
    """One recording on its way into the input topics. Blocks: run it in a thread of its own."""

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        pane: int,
        lateness: int,
        readers: Sequence[Reader],
        speed: float | None = None,
        progress: Progress | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._pane = pane
        self._lateness = lateness
        self._speed = speed
        self._progress = progress
        self._should_stop = should_stop
        self._producer = new_producer(connection)
        self._ahead = Ahead(connection, readers)
        self._errors: list[str] = []
        self._newest = 0
        self._pane_told = -1
        self.played = Played()

    def play(self, messages: Iterable[Message]) -> Played:
        """Publish them all, in order. Raises DependencyError where Kafka refuses one, or no reader moves."""
        began = monotonic()
        try:
            for topic, key, value, stamp in messages:
                if self._should_stop():
                    break
                self._newest = max(self._newest, stamp)
                if self.played.began_at is None:
                    self.played.began_at = stamp
                self._keep_speed(began)
                pane = self._newest // self._pane * self._pane
                if pane > self._pane_told:
                    self._pane_told = pane
                    self._tick(pane)
                    self._tell()
                self._publish(topic, partition_for(key, BY_NAME[topic].partitions), key, value, self._newest)
                self.played.messages += 1
                self.played.by_topic[topic] = self.played.by_topic.get(topic, 0) + 1
            if self.played.began_at is not None:
                self.played.ended_at = self._newest + self._lateness + self._pane
                self._tick(self.played.ended_at)
            flush(self._producer, self._errors)
            self._tell()
        finally:
            self._ahead.close()
        return self.played

    def _tick(self, stamp: int) -> None:
        for topic in INPUTS:
            for partition in range(topic.partitions):
                self._publish(topic.name, partition, None, TICK, stamp)
                self.played.ticks += 1

    def _publish(self, topic: str, partition: int, key: bytes | None, value: bytes, stamp: int) -> None:
        size = len(value) + len(key or b"")
        self._ahead.wait_for_room(topic, partition, size, self._poll, self._should_stop)
        self._ahead.sending(topic, partition, size)
        self.played.bytes += size

        def delivered(error: Any, message: Any) -> None:
            if error is not None:
                self._errors.append(f"{message.topic()}: {error.str()}")
            else:
                self._ahead.sent(topic, partition, message.offset(), size)

        while True:
            try:
                self._producer.produce(
                    topic, value, key, partition=partition, timestamp=stamp // 1000, on_delivery=delivered
                )
                break
            except BufferError:
                self._poll(LOOK_SECONDS)
        self._poll(0)

    def _poll(self, seconds: float) -> None:
        self._producer.poll(seconds)
        if self._errors:
            raise DependencyError(f"Kafka refused a message ({self._errors[0]}); check the topics (aftermath setup).")

    def _keep_speed(self, began: float) -> None:
        if self._speed is None or self.played.began_at is None:
            return
        due = began + (self._newest - self.played.began_at) / MICROS / self._speed
        while (left := due - monotonic()) > 0 and not self._should_stop():
            self._poll(min(left, 0.2))
            self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._newest, self.played.messages, self.played.bytes)


class Ahead:
    """What is published and not yet confirmed by the slowest reader, of each partition."""

    def __init__(self, connection: KafkaConnection, readers: Sequence[Reader]) -> None:
        self._readers = readers
        self._offsets = Offsets(connection)
        self._sent: dict[Place, deque[tuple[int, int]]] = {}  # offset, size; the oldest first
        self._bytes: dict[Place, int] = {}  # sent or being sent, not confirmed
        self._total = 0
        self._looked_at = -LOOK_SECONDS
        self._behind = 0  # messages in the topics behind the inputs, not confirmed
        self._behind_most = 0  # of one partition

    def sending(self, topic: str, partition: int, size: int) -> None:
        """A message is on its way."""
        self._bytes[topic, partition] = self._bytes.get((topic, partition), 0) + size
        self._total += size

    def sent(self, topic: str, partition: int, offset: int, size: int) -> None:
        """It has its place."""
        self._sent.setdefault((topic, partition), deque()).append((offset, size))

    def wait_for_room(
        self, topic: str, partition: int, size: int, poll: Callable[[float], None], should_stop: Callable[[], bool]
    ) -> None:
        """Returns when the message fits. Raises DependencyError where no reader moves for `STUCK_SECONDS`."""
        if not self._readers:
            return
        since = monotonic()
        if since - self._looked_at >= 1.0:
            self._look()
        seen = (self._total, self._behind)
        if not self._is_over(topic, partition, size, 1.0):
            return
        # Then down to half of it: a message at a time would make batches of one message
        while self._is_over(topic, partition, size, 0.5) and not should_stop():
            poll(LOOK_SECONDS)
            self._look()
            if (self._total, self._behind) != seen:
                since, seen = monotonic(), (self._total, self._behind)
            if monotonic() - since > STUCK_SECONDS:
                raise DependencyError(
                    f"The stages have confirmed nothing for {STUCK_SECONDS:.0f} s;"
                    " check that the workers run (aftermath run) and see their logs."
                )

    def _is_over(self, topic: str, partition: int, size: int, share: float) -> bool:
        mine = self._bytes.get((topic, partition), 0)
        return (
            (mine > 0 and mine + size > AHEAD_BYTES * share)
            or (self._total > 0 and self._total + size > AHEAD_BYTES_TOTAL * share)
            or self._behind_most > AHEAD_MESSAGES * share
        )

    def close(self) -> None:
        """Close the connections."""
        self._offsets.close()

    def _look(self) -> None:
        self._looked_at = monotonic()
        slowest: dict[Place, int] = {}
        behind: dict[Place, int] = {}
        for reader in self._readers:
            for place, offset in self._offsets.committed(reader.group, reader.topics).items():
                known = slowest if BY_NAME[place[0]].is_input else behind
                known[place] = min(known.get(place, offset), offset)
        for place, sent in self._sent.items():
            confirmed = slowest.get(place, 0)
            while sent and sent[0][0] < confirmed:
                _, size = sent.popleft()
                self._bytes[place] -= size
                self._total -= size
        ends = self._offsets.ends({BY_NAME[topic] for topic, _ in behind})
        lags = [ends[place] - offset for place, offset in behind.items()]
        self._behind = sum(lags)
        self._behind_most = max(lags, default=0)


def new_producer(connection: KafkaConnection) -> Producer:
    """A producer for the input topics."""
    return Producer(
        connection.librdkafka()
        | {
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "compression.type": "zstd",
            "linger.ms": 20,
            "batch.size": 1_048_576,
            "delivery.timeout.ms": 120_000,
            "queue.buffering.max.kbytes": 262_144,
            "queue.buffering.max.messages": 100_000,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "log_level": 0,
        }
    )


def flush(producer: Producer, errors: Sequence[str]) -> None:
    """Wait until all is delivered. Raises DependencyError where something was not."""
    left = producer.flush(FLUSH_SECONDS)
    if errors:
        raise DependencyError(f"Kafka refused a message ({errors[0]}); check the topics (aftermath setup).")
    if left:
        raise DependencyError(f"Kafka did not take {left} messages in {FLUSH_SECONDS:.0f} s; check that it is up.")


def publish_live(
    events: Iterable[tuple[Event, int]],
    *,
    connection: KafkaConnection,
    now: Callable[[], int],
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Played:
    """Publish events (with their stamps, in order) as if they happened from now on, at the speed they had."""
    producer = new_producer(connection)
    errors: list[str] = []
    played = Played()
    shift = 0

    def delivered(error: Any, message: Any) -> None:
        if error is not None:
            errors.append(f"{message.topic()}: {error.str()}")

    for event, stamp in events:
        if played.began_at is None:
            played.began_at = now()
            shift = played.began_at - stamp
        while (left := stamp + shift - now()) > 0 and not should_stop():
            producer.poll(min(left / MICROS, 0.2))
        if should_stop():
            break
        moved = shifted(event, shift)
        topic, value = RECORD_TOPICS[event.record], encode_event(moved)
        producer.produce(topic, value, moved.key.encode(), on_delivery=delivered)
        producer.poll(0)
        if errors:
            break
        played.ended_at = stamp + shift
        played.messages += 1
        played.bytes += len(value)
        played.by_topic[topic] = played.by_topic.get(topic, 0) + 1
        if progress is not None:
            progress(stamp + shift, played.messages, played.bytes)
    flush(producer, errors)
    return played


def shifted(event: Event, micros: int) -> Event:
    """The event with all its times moved; what is null stays null."""
    times = {name: getattr(event, name) for name in TIME_COLUMNS[event.record]}
    return event.model_copy(update={name: at + micros for name, at in times.items() if at is not None})
