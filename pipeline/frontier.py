"""What a stage was handed of one partition, in order, and how much of its head has a confirmed effect.

An element is everything one fetch returned of one partition. A `Frontier` remembers the elements that were handed
out and not yet confirmed; its `offset` is the first offset whose effect is not confirmed: the only thing that may be
committed. Elements may be confirmed in any order; the frontier moves over the contiguous prefix alone. Pure: no
Kafka, no clock. Not thread-safe: the consumer holds a lock round it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.record_batches import Record, Records
from schemas.codecs import Batch

MICROS_PER_MS = 1000


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
        columns = self.records.columns if isinstance(self.records, Records) else None
        if columns is not None:
            return Batch(
                topic=self.topic,
                partition=self.partition,
                offsets=columns.offsets,
                ingest_times=columns.timestamps * MICROS_PER_MS,
                keys=columns.keys,
                values=columns.values,
            )
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


@dataclass(frozen=True, slots=True)
class Start:
    """Where reading of a partition starts.

    at: the first offset to read. floor: what the group had confirmed, as far as it still means something.
    lost: offsets that were deleted before the group read them, from the floor it had.
    """

    at: int
    floor: int
    lost: int = 0


def where_to_start(
    earliest: int, end: int, committed: int | None, *, rewinds: bool, snapshot: int | None = None
) -> Start:
    """Decide from the earliest offset, the offset of the next record, and what the group has committed.

    snapshot: the first offset that is not in the state that was restored; None where there is no such state. It may
    lie behind what was committed (its writer died in between) or before it (newer ones were of no use).
    """
    if snapshot is not None and earliest <= snapshot <= end:
        return Start(snapshot, 0 if committed is None or committed > end else committed)
    if committed is None:
        return Start(earliest, 0)
    if committed > end:  # the topic was made anew: what was committed is of another one
        return Start(earliest, 0)
    if committed < earliest:
        return Start(earliest, earliest, earliest - committed)
    return Start(earliest if rewinds else committed, committed)


def joined(first: Element, second: Element) -> Element:
    """Two elements of one partition as one. Raises ValueError if the second is not right behind the first."""
    if (first.topic, first.partition, first.epoch, first.end) != (
        second.topic,
        second.partition,
        second.epoch,
        second.begin,
    ):
        raise ValueError(f"{second.token} does not come right after {first.token}")
    parts = [
        element.records if isinstance(element.records, Records) else Records([element.records])
        for element in (first, second)
    ]
    return replace(first, records=parts[0] + parts[1], end=second.end, size=first.size + second.size)


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
        self._open: dict[int, _Handed] = {}  # by where it begins, in offset order

    def hand_out(self, end: int, size: int, first: int | None = None) -> int:
        """Note records that end before `end`, of which `first` is the first; returns where they begin.

        Raises ValueError if it goes backwards, also where records that were read before come with new ones.
        """
        if end <= self.read_to:
            raise ValueError(f"records end at offset {end}, but {self.read_to} was already read")
        if first is not None and first < self.read_to:
            raise ValueError(f"records begin at offset {first}, but what is before {self.read_to} was already read")
        begin, self.read_to = self.read_to, end
        self._open[begin] = _Handed(end, size)
        self.in_flight += size
        return begin

    def confirm(self, begin: int, end: int) -> None:
        """The effects of the records from `begin` up to `end` are confirmed; both are bounds of what was handed out.

        Raises ValueError if no such records wait for it.
        """
        at = begin
        while at < end:
            handed = self._open.get(at)
            if handed is None or handed.is_confirmed or handed.end > end:
                raise ValueError(f"no records from offset {begin} to {end} wait to be confirmed")
            handed.is_confirmed = True
            self.in_flight -= handed.size
            at = handed.end
        while (head := self._open.get(self.offset)) is not None and head.is_confirmed:
            del self._open[self.offset]
            self.offset = head.end

    @property
    def committable(self) -> int | None:
        """The offset to commit, or None while it would not move the group forward."""
        return self.offset if self.offset > self.floor else None
