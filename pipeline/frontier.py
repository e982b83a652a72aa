"""What a stage was handed of one partition, in order, and how much of its head has a confirmed effect.

An element is everything one fetch returned of one partition. A `Frontier` remembers the elements that were handed
out and not yet confirmed; its `offset` is the first offset whose effect is not confirmed: the only thing that may be
committed. Elements may be confirmed in any order; the frontier moves over the contiguous prefix alone. Pure: no
Kafka, no clock. Not thread-safe: the consumer holds a lock round it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.codecs import Batch

MICROS_PER_MS = 1000


class Record(Protocol):
    """What we read of an aiokafka record."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def timestamp_type(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Element:
    """All records of one fetch of one partition.

    begin: where the element before it ended: a stage checks that none is missing.
    end: the offset after its last record; what may be committed once its effects are confirmed.
    epoch: a new one after each seek; elements of an older epoch are dropped, and state built from them too.
    floor: what the group had committed when the epoch began. A stage that rewinds reads again what lies below it;
    effects that must not be repeated were made for those offsets by an earlier run.
    """

    topic: str
    partition: int
    records: Sequence[Record]
    begin: int
    end: int
    epoch: int
    floor: int
    size: int  # bytes of keys and values

    def batch(self) -> Batch:
        """The element in the form the codecs read."""
        return Batch(
            topic=self.topic,
            partition=self.partition,
            offsets=[record.offset for record in self.records],
            ingest_times=[record.timestamp * MICROS_PER_MS for record in self.records],
            keys=[record.key for record in self.records],
            values=[record.value for record in self.records],
        )

    @property
    def token(self) -> str:
        """Names exactly these records: the insert token of what is written for them."""
        return f"{self.topic}:{self.partition}:{self.records[0].offset}-{self.end - 1}"


@dataclass(slots=True)
class _Handed:
    end: int
    size: int
    is_confirmed: bool = False


class Frontier:
    """One partition from one seek on."""

    def __init__(self, start: int, floor: int) -> None:
        self.floor = floor  # already committed: committing less would only move the group back
        self.offset = start  # first offset whose effect is not confirmed
        self.read_to = start  # first offset not handed out
        self.in_flight = 0  # bytes handed out and not confirmed
        self._open: deque[_Handed] = deque()
        self._by_end: dict[int, _Handed] = {}

    def hand_out(self, end: int, size: int) -> int:
        """Note an element that ends before `end`; returns where it begins. Raises ValueError if it goes backwards."""
        if end <= self.read_to:
            raise ValueError(f"an element ends at offset {end}, but {self.read_to} was already read")
        begin, self.read_to = self.read_to, end
        handed = _Handed(end, size)
        self._open.append(handed)
        self._by_end[end] = handed
        self.in_flight += size
        return begin

    def confirm(self, end: int) -> None:
        """The effects of the element that ends before `end` are confirmed. Raises ValueError if there is no such one."""
        handed = self._by_end.pop(end, None)
        if handed is None:
            raise ValueError(f"no element that ends at offset {end} is waiting to be confirmed")
        handed.is_confirmed = True
        self.in_flight -= handed.size
        while self._open and self._open[0].is_confirmed:
            self.offset = self._open.popleft().end

    @property
    def committable(self) -> int | None:
        """The offset to commit, or None while it would not move the group forward."""
        return self.offset if self.offset > self.floor else None

    @property
    def is_idle(self) -> bool:
        """Nothing handed out waits for its confirmation."""
        return not self._open
