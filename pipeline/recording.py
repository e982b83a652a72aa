"""Events of files in the order of their time, as the messages they are on Kafka: on disk, with an index in memory.

Each event is written to a *spool*, a nameless file in the directory for temporary files (`TMPDIR`), as key and Avro
value, about 0.4 kB. Memory keeps the index: 29 bytes an event while it is filled, about 60 while it is sorted. So a
few million events fit everywhere, in any order, and are read back mostly in sequence.

The *stamp* of an event is the running maximum, over the whole input and before it is split by topic, of the time it
is ordered by, floored to the millisecond, which is all that Kafka keeps. In sorted order that maximum is the event's
own time.
"""

import os
import tempfile
from array import array
from collections.abc import Iterator
from types import TracebackType
from typing import Final, NamedTuple, Self

import polars as pl

from schemas import topics
from schemas.codecs import Batch, Decoded
from schemas.codecs.blocks import decode_batch
from schemas.codecs.json_events import AnyEvent
from schemas.codecs.single import decode
from schemas.events import EVENTS, RECORD_TOPICS, TOPIC_RECORDS

CHUNK_EVENTS: Final = 5_000  # no topic of a backtest runs further ahead of another than these
MILLISECOND: Final = 1_000
TOPICS: Final = tuple(topic.name for topic in topics.INPUTS)


class Message(NamedTuple):
    """What the player sends: the value is Avro, the stamp is microseconds and whole milliseconds."""

    topic: str
    key: bytes
    value: bytes
    stamp: int


class Recording:
    """Add everything, `sort`, then read it as often as you like; close it, or use it as a context."""

    def __init__(self) -> None:
        self._spool = tempfile.TemporaryFile(prefix="aftermath-")  # noqa: SIM115  # closed by close()
        self._size = 0
        self._order = array("q")
        self._place = array("q")
        self._key_bytes = array("i")
        self._value_bytes = array("i")
        self._topic = array("b")
        self._index = pl.DataFrame()
        self.by_topic: dict[str, int] = dict.fromkeys(TOPICS, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return sum(self.by_topic.values())

    def close(self) -> None:
        """Give the spool's disk space back."""
        self._spool.close()

    def add(self, event: AnyEvent, value: bytes, order: int) -> None:
        """One event, its message, and the time it is ordered by."""
        topic = RECORD_TOPICS[event.record]
        key = event.key.encode()
        self._spool.write(key)
        self._spool.write(value)
        self._order.append(order)
        self._place.append(self._size)
        self._key_bytes.append(len(key))
        self._value_bytes.append(len(value))
        self._topic.append(TOPICS.index(topic))
        self._size += len(key) + len(value)
        self.by_topic[topic] += 1

    def sort(self) -> None:
        """Everything was added. Events of the same time stay in the order they were added in."""
        self._spool.flush()
        self._index = pl.DataFrame(
            {
                "order": pl.Series(self._order, dtype=pl.Int64),
                "place": pl.Series(self._place, dtype=pl.Int64),
                "key_bytes": pl.Series(self._key_bytes, dtype=pl.Int32),
                "value_bytes": pl.Series(self._value_bytes, dtype=pl.Int32),
                "topic": pl.Series(self._topic, dtype=pl.Int8),
            }
        ).sort("order", maintain_order=True)
        for column in (self._order, self._place, self._key_bytes, self._value_bytes, self._topic):
            del column[:]

    def messages(self) -> Iterator[Message]:
        """Every message in the order of the stamps."""
        spool = self._spool.fileno()
        for part in self._index.iter_slices(CHUNK_EVENTS):
            for order, place, key_bytes, value_bytes, topic in part.iter_rows():
                data = os.pread(spool, key_bytes + value_bytes, place)
                stamp = order // MILLISECOND * MILLISECOND
                yield Message(TOPICS[topic], data[:key_bytes], data[key_bytes:], stamp)

    def events(self) -> Iterator[tuple[AnyEvent, int]]:
        """Every event with its stamp, in the order of the stamps."""
        for message in self.messages():
            record, value = decode(message.value)
            yield EVENTS[record].model_construct(**value), message.stamp

    def chunks(self, size: int = CHUNK_EVENTS) -> Iterator[list[Decoded]]:
        """The frames of each run of `size` messages, one for each topic that has any: partition 0, offsets from 0.

        Between chunks all topics have reached the same stamp; within one, none is more than `size` messages ahead.
        """
        reached = dict.fromkeys(TOPICS, 0)
        waiting: list[Message] = []
        for message in self.messages():
            waiting.append(message)
            if len(waiting) >= size:
                yield _decoded(waiting, reached)
                waiting.clear()
        if waiting:
            yield _decoded(waiting, reached)


def _decoded(messages: list[Message], reached: dict[str, int]) -> list[Decoded]:
    found = []
    for topic, record in TOPIC_RECORDS.items():
        mine = [message for message in messages if message.topic == topic]
        if not mine:
            continue
        first = reached[topic]
        reached[topic] += len(mine)
        batch = Batch(
            topic=topic,
            partition=0,
            offsets=range(first, reached[topic]),
            ingest_times=[message.stamp for message in mine],
            keys=[message.key for message in mine],
            values=[message.value for message in mine],
        )
        found.append(decode_batch(batch, record))
    return found
