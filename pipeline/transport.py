"""The Faust transport that delivers batches: one Faust element is all records of one fetch of one partition.

Faust delivers record by record, decides by itself what may be committed, and seeks by itself. Each of these loses
data or speed (numbers H.. are those of the hazards in the tests that hold them):

- `getmany` yields one message a partition and fetch, whose value is a `pipeline.frontier.Element`.
- What may be committed is our own contiguous frontier (`_new_offset`): Faust's check is off by one and commits over
  a single hole (H2). Its list of gaps, one Python int an offset, is not kept (`_add_gap`, H28).
- `seek_to_committed` decides where reading starts: at the committed offset, or, for a stage whose state is built by
  reading again, at the earliest one. Faust calls it after its assignment callback, so a seek made there is lost (H28).
- The coordinator's errors are looked at before each fetch, which Faust does not do: without it one failed join
  leaves a worker that is up and deaf (H4).
- A fetch that brought all there was is followed by the next one after a while, not at once: each costs the stage as
  much before its first event as some hundred events do.
- A batch is inflated up to a bound (`pipeline/inflating.py`).
- Reading stops while more than `in_flight_bytes` are handed out and not confirmed. Faust's own brake counts messages
  and sleeps a second when it acts (H29), so it is switched off.

Private parts of faust 0.15 and aiokafka 0.14 are used; `self_test` refuses to start where they are not as expected.
"""

import asyncio
import inspect
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, cast

import aiokafka
import aiokafka.codec
import faust
import faust.streams
import faust.transport.consumer
from aiokafka.consumer.fetcher import Fetcher, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.structs import TopicPartition
from faust.assignor.copartitioned_assignor import CopartitionedAssignor
from faust.assignor.partition_assignor import PartitionAssignor
from faust.transport.consumer import ensure_TP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from pipeline import inflating
from pipeline.frontier import Element, Frontier, joined, where_to_start
from pipeline.kafka_connection import KafkaConnection
from pipeline.record_batches import Records
from schemas.errors import ConfigurationError

log = logging.getLogger(__name__)

FETCH_WAIT_MS = 100  # the driver's 1500 delays a partition whose broker is waiting for the others
GAP_SECONDS = 0.05  # after a fetch that left nothing: a broker answers the next one as soon as it has one record
AFRESH_SECONDS = 0.05  # for an answer of a broker that has something
ROOM_CHECK_SECONDS = 0.01
JOIN_SECONDS = 0.02
JOIN_BYTES = 6_000_000  # of all partitions: a few thousand events of each, below which an event costs more


@dataclass(frozen=True, slots=True)
class Restored:
    """What a stage remembers of a partition when reading of it begins. offset: the first that is not in it; None where
    nothing was read yet."""

    memory: Any
    offset: int | None


Restore = Callable[[Mapping[TP, tuple[int, int]]], Mapping[TP, Restored]]


class StaleElementError(Exception):
    """An element, or whoever asks, is of an epoch that is over: drop it, it is read again."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Runs aiokafka. Elements are made here, where no seek can come between a fetch and its bookkeeping."""

    _sought: Any = None  # the assignment that the last seek was for
    _next_at = 0.0  # by the monotonic clock: the next fetch, after one that left nothing

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Mapping[TP, list[Element]]:
        consumer._coordinator.check_errors()
        waits = self._next_at - monotonic()
        if timeout is not None and waits > timeout:
            await asyncio.sleep(timeout)
            return {}  # whoever asks may have something to hand on
        await asyncio.sleep(max(0.0, waits))
        fetched = await super()._fetch_records(consumer, active_partitions, timeout=timeout, max_records=max_records)
        if waits > 0 and fetched:
            # aiokafka asks ahead, and keeps the answer: this was there when the wait began
            epoch = self.consumer.epoch
            more = await super()._fetch_records(consumer, active_partitions, timeout=AFRESH_SECONDS)
            if epoch != self.consumer.epoch:
                fetched = {}  # it will be read again
            fetched = {tp: [*fetched.get(tp, ()), *more.get(tp, ())] for tp in (*fetched, *more)}
        found = {partition: Records(parts) for partition, parts in fetched.items()}
        if consumer._subscription.subscription.assignment is not self._sought:
            return {}  # of a new assignment that was not seeked yet: the seek comes, and they are read then
        skipped = cast(BatchConsumer, self.consumer).skipped(found)
        if skipped:
            first = await consumer.beginning_offsets(list(skipped))
            cast(BatchConsumer, self.consumer).note_deleted(
                {tp: (skipped[tp], min(first[tp], found[tp][0].offset)) for tp in skipped}
            )
        elements = cast(BatchConsumer, self.consumer).hand_out(found)
        if elements and cast(BatchConsumer, self.consumer).is_at_end():
            self._next_at = monotonic() + cast(BatchTransport, self.consumer.transport).gap_seconds()
        return elements

    async def seek_to_committed(self) -> Mapping[TP, int]:
        return await self.call_thread(self._seek_to_start)

    async def _seek_to_start(self) -> Mapping[TP, int]:
        consumer = self._ensure_consumer()
        partitions = sorted(consumer.assignment())
        if not partitions:
            return {}
        first = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        committed = {partition: await consumer.committed(partition) for partition in partitions}
        restored = await asyncio.to_thread(
            cast(BatchTransport, cast(BatchConsumer, self.consumer).transport).restore,
            {ensure_TP(tp): (first[tp], ends[tp]) for tp in partitions},
        )
        # No await from here on: what is fetched before belongs to the old epoch, what comes after to the new one.
        starts = cast(BatchConsumer, self.consumer).begin_epoch(
            {ensure_TP(tp): (first[tp], ends[tp], committed[tp]) for tp in partitions}, restored
        )
        for partition in partitions:
            consumer.seek(partition, starts[ensure_TP(partition)])
        self._sought = consumer._subscription.subscription.assignment
        return starts


class BatchConsumer(driver.Consumer):
    """Faust's consumer with elements, frontiers and start positions of our own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._lock = threading.Lock()  # the consumer's thread hands out, the main thread confirms
        self._frontiers: dict[TP, Frontier] = {}
        self._saved: dict[TP, int] = {}  # the input offset of the newest snapshot
        self._restored: Mapping[TP, Restored] = {}
        self.epoch = 0
        self._held: dict[TP, Element] = {}  # handed out, and waiting for Faust to let the flow go on
        self.untaken = 0  # elements of this epoch that are in Faust's queue, or that the stage is taking
        self.data_gaps: list[tuple[str, int, int, int]] = []  # topic, partition, first and next offset never read
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # -- where reading starts

    def begin_epoch(
        self, offsets: Mapping[TP, tuple[int, int, int | None]], restored: Mapping[TP, Restored] | None = None
    ) -> dict[TP, int]:
        """Where to read from, given the earliest, the next and the committed offset of each assigned partition.

        restored: for a stage that saves its state, what it begins each partition with. It changes with the epoch, in
        one step: state of one epoch never meets elements of another.

        Messages that were deleted before they were read are named in the log and kept in `data_gaps`, to be counted.
        They make no incident: a replay reads what is left and cannot know of them, so it would not find it again.
        """
        restored = restored or {}
        rewinds = cast(BatchTransport, self.transport).rewinds
        starts: dict[TP, int] = {}
        frontiers: dict[TP, Frontier] = {}
        for tp, (earliest, end, committed) in offsets.items():
            snapshot = restored[tp].offset if tp in restored else None
            start = where_to_start(earliest, end, committed, rewinds=rewinds, snapshot=snapshot)
            if start.lost:  # H27: aiokafka jumps over them with a line at level INFO
                self.note_deleted({tp: (start.floor - start.lost, start.floor)})
            if committed is not None and committed > end:
                log.warning("%s/%s: committed %s is past its end %s; reading all of it", *tp, committed, end)
            starts[tp] = start.at
            frontiers[tp] = Frontier(start.at, start.floor)
        with self._lock:
            self._frontiers = frontiers
            self._saved = {tp: found.offset for tp, found in restored.items() if found.offset is not None}
            self._restored = restored
            self.epoch += 1
            self.untaken = 0
        return starts

    async def perform_seek(self) -> None:
        """Faust takes where reading starts for what is committed; after a snapshot that is further on it is not, and
        what Faust holds for committed it does not commit."""
        await super().perform_seek()
        with self._lock:
            committed = {tp: frontier.floor or None for tp, frontier in self._frontiers.items()}
        self._committed_offset.update(committed)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is confirmed and drop what is in hand: it is read again, by whoever is given the partition."""
        if self.frontiers():
            await self.commit()
        with self._lock:
            self._frontiers = {}
            self._restored = {}
            self.epoch += 1
            self.untaken = 0
        await super().on_partitions_revoked(revoked)

    def take_restored(self, epoch: int) -> Mapping[TP, Restored]:
        """What this epoch begins with; handed out once. Raises StaleElementError where the epoch is over."""
        with self._lock:
            if epoch != self.epoch:
                raise StaleElementError
            restored, self._restored = self._restored, {}
            return restored

    def skipped(self, found: Mapping[Any, Records]) -> dict[Any, int]:
        """Partitions whose records begin past where the ones before ended, and that place. Mostly the broker left
        offsets out (transactions, compaction); or they were deleted while reading paused."""
        with self._lock:
            read_to = {tp: frontier.read_to for tp, frontier in self._frontiers.items()}
        return {
            partition: read_to[ensure_TP(partition)]
            for partition, records in found.items()
            if ensure_TP(partition) in read_to and records[0].offset > read_to[ensure_TP(partition)]
        }

    def note_deleted(self, gaps: Mapping[Any, tuple[int, int]]) -> None:
        """Keep, and tell, the offsets from the first up to the second that nobody will read, if there are any."""
        for tp, (begin, end) in gaps.items():
            if end > begin:
                log.error("%s/%s: %s messages were deleted before they were read", tp.topic, tp.partition, end - begin)
                self.data_gaps.append((tp.topic, tp.partition, begin, end))

    # -- what is handed out

    def hand_out(self, found: Mapping[Any, Records]) -> Mapping[TP, list[Element]]:
        """Make one element of each partition's records, and note it in the partition's frontier."""
        elements: dict[TP, list[Element]] = {}
        with self._lock:
            for partition, records in found.items():
                tp = ensure_TP(partition)
                frontier = self._frontiers.get(tp)
                if frontier is None:  # not seeked since it was assigned: it will be, and read again
                    continue
                end = records[-1].offset + 1
                size = records.size
                begin = frontier.hand_out(end, size, records[0].offset)
                elements[tp] = [
                    Element(
                        topic=tp.topic,
                        partition=tp.partition,
                        records=records,
                        begin=begin,
                        end=end,
                        epoch=self.epoch,
                        floor=frontier.floor,
                        size=size,
                    )
                ]
        return elements

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """One message a partition, whose value is the element.

        While the stage is busy with what it has, what is fetched joins: elements grow as a stage falls behind, so
        that many small batches of a broker do not cost it one call each.
        """
        gathered = {tp: element for tp, element in self._held.items() if element.epoch == self.epoch}
        self._held = {}
        size = sum(element.size for element in gathered.values())
        while True:
            while self.in_flight_bytes >= cast(BatchTransport, self.transport).in_flight_bytes and self.flow_active:
                if self.should_stop or (gathered and not self.untaken):
                    break
                await asyncio.sleep(ROOM_CHECK_SECONDS)
            else:
                found, _ = await self._wait_next_records(JOIN_SECONDS if gathered else timeout)
                for tp, elements in (found or {}).items():
                    for element in cast(list[Element], elements):
                        before = gathered.get(tp)
                        is_next = before is not None and before.epoch == element.epoch
                        gathered[tp] = joined(before, element) if before is not None and is_next else element
                        size += element.size
            if not self.flow_active:
                # Faust is rebalancing. What was handed out before the seek is read again; what was handed out after it
                # is not, and a fetch that began before may well return that: it waits until the flow goes on.
                self._held = gathered
                return
            if not gathered or self.should_stop:
                return
            if not self.untaken or size >= JOIN_BYTES:
                break
        for tp in list(gathered):
            if not self.flow_active:
                self._held = gathered
                return
            element = gathered.pop(tp)
            if element.epoch == self.epoch:
                with self._lock:
                    self.untaken += 1
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                yield tp, self._to_message(tp, element)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        element = cast(Element, record)
        last = element.records[-1]
        return ConsumerMessage(
            element.topic,
            element.partition,
            last.offset,
            last.timestamp / 1000,
            last.timestamp_type,
            None,  # headers are not handed on: Faust acts on some of them (H20)
            None,
            element,
            None,
            0,
            element.size,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def on_buffer_full(self, tp: TP) -> None:
        """Faust's brake by number of messages: ours is by bytes, in `getmany`."""

    def on_buffer_drop(self, tp: TP) -> None:
        """See `on_buffer_full`."""

    # -- what may be committed

    def confirm(self, element: Element) -> bool:
        """The effects of an element are confirmed. False, and nothing done, if it is of an older epoch."""
        with self._lock:
            if element.epoch != self.epoch:
                return False
            self._frontiers[TP(element.topic, element.partition)].confirm(element.begin, element.end)
            return True

    def taken(self, element: Element) -> None:
        """The stage is ready for the next element."""
        with self._lock:
            if element.epoch == self.epoch:
                self.untaken -= 1

    @property
    def in_flight_bytes(self) -> int:
        """Bytes handed out and not confirmed."""
        with self._lock:
            return sum(frontier.in_flight for frontier in self._frontiers.values())

    def frontiers(self) -> dict[TP, int]:
        """For each assigned partition the first offset whose effect is not confirmed."""
        with self._lock:
            return {tp: frontier.offset for tp, frontier in self._frontiers.items()}

    def read_positions(self) -> dict[TP, int]:
        """For each assigned partition the first offset that was not handed out."""
        with self._lock:
            return {tp: frontier.read_to for tp, frontier in self._frontiers.items()}

    def is_at_end(self) -> bool:
        """Whether everything was handed out that brokers said there is."""
        return all(position >= (self.end_seen(*tp) or 0) for tp, position in self.read_positions().items())

    def end_seen(self, topic: str, partition: int) -> int | None:
        """Where the partition ended at the last answer of its broker; None before the first. Any thread may ask."""
        consumer = self._thread._consumer
        tp = TopicPartition(topic, partition)
        if consumer is None or tp not in consumer.assignment():
            return None
        end: int | None = consumer.highwater(tp)
        return end

    def _new_offset(self, tp: TP) -> int | None:
        with self._lock:
            frontier = self._frontiers.get(tp)
            offset = frontier.committable if frontier else None
            if offset is None or not cast(BatchTransport, self.transport).saves:
                return offset
            saved = self._saved.get(tp)  # never beyond the snapshot: what comes after it must be read again
            if saved is None or frontier is None or saved <= frontier.floor:  # and never back
                return None
            return min(saved, offset)

    def saved(self, topic: str, partition: int, offset: int, epoch: int) -> None:
        """A snapshot that holds everything before this offset is whole: so far may be committed."""
        with self._lock:
            if epoch == self.epoch:
                self._saved[TP(topic, partition)] = offset

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        with self._lock:
            return iter([tp for tp in self._frontiers if topics is None or tp in topics or tp.topic in topics])

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps are inside an element, or between two: the frontier needs none of them."""

    # -- how the group is

    def trouble(self) -> str | None:
        """What is broken for good, as far as aiokafka knows; any thread may ask."""
        consumer = self._thread._consumer
        if consumer is None or self._thread.should_stop:
            return None
        coordinator, fetcher = consumer._coordinator, consumer._fetcher
        if coordinator is not None and getattr(coordinator, "_pending_exception", None) is not None:
            return f"the group coordinator answered {coordinator._pending_exception!r}"
        task = getattr(coordinator, "_coordination_task", None)
        if task is not None and task.done() and not consumer._closed:
            return "the task that keeps the group membership has ended"
        if fetcher is not None and fetcher._fetch_task.done() and not consumer._closed:
            return "the task that fetches has ended"
        return None


class BatchTransport(driver.Transport):
    """Faust's aiokafka transport with our consumer.

    rewinds: reading starts at the earliest offset there is, not at the committed one, unless state was restored.
    restore: called in a thread when partitions were assigned, with their earliest and next offsets; gives what each of
    them begins with. saves: only what a snapshot holds may be committed.
    in_flight_bytes: reading pauses while more than this is handed out and not confirmed. gap_seconds: asked
    after a fetch that left nothing, how long until the next one.
    """

    Consumer = BatchConsumer

    def __init__(
        self,
        app: faust.App,
        *,
        rewinds: bool,
        in_flight_bytes: int,
        gap_seconds: Callable[[], float] = lambda: GAP_SECONDS,
        restore: Restore | None = None,
    ) -> None:
        inflating.install()
        super().__init__(app.conf.broker_consumer, app)
        self.saves = restore is not None
        self.restore: Restore = restore or (lambda _: {})
        self.rewinds = rewinds
        self.in_flight_bytes = in_flight_bytes
        self.gap_seconds = gap_seconds


def credentials(connection: KafkaConnection) -> Any:
    """How Faust's clients log in, and whether over TLS; None for neither.

    Without an `ssl_context` Faust would send a password in clear and not say so: the context comes with it or not, as
    the connection says, and `Settings.in_clear` warns. Raises ConfigurationError where a certificate cannot be used.
    """
    try:
        context = connection.ssl_context()
    except OSError as error:
        raise ConfigurationError(
            f"A certificate for Kafka cannot be used ({error}); `aftermath doctor` says which."
        ) from error
    if connection.mechanism:
        return faust.SASLCredentials(
            username=connection.user,
            password=connection.password.get_secret_value(),
            mechanism=connection.mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context else None


class EvenAssignor(PartitionAssignor):
    """Who is given which partitions: every worker some, where there are enough.

    Faust keeps what each worker has up to the share of one, rounded up, where it also looks after copies of tables: of
    four partitions two workers keep two each, and a third that joins, or comes back, gets none. We have no tables.
    """

    def __init__(self, app: Any, replicas: int = 0) -> None:
        super().__init__(app, replicas=0)


# what we replace or reach into: the owner, its name, and the parameters it must have
EXPECTED: tuple[tuple[Any, str, tuple[str, ...]], ...] = (
    (driver.Consumer, "getmany", ("self", "timeout")),
    (driver.Consumer, "seek_to_committed", ("self",)),
    (driver.Consumer, "perform_seek", ("self",)),
    (driver.Consumer, "_new_offset", ("self", "tp")),
    (driver.Consumer, "_add_gap", ("self", "tp", "offset_from", "offset_to")),
    (driver.Consumer, "_filter_tps_with_pending_acks", ("self", "topics")),
    (driver.Consumer, "_wait_next_records", ("self", "timeout")),
    (driver.Consumer, "_to_message", ("self", "tp", "record")),
    (driver.Consumer, "_new_consumer_thread", ("self",)),
    (driver.Consumer, "on_partitions_revoked", ("self", "revoked")),
    (driver.Consumer, "on_buffer_full", ("self", "tp")),
    (driver.Consumer, "on_buffer_drop", ("self", "tp")),
    (driver.AIOKafkaConsumerThread, "_create_worker_consumer", ("self", "transport")),
    (
        driver.AIOKafkaConsumerThread,
        "_fetch_records",
        ("self", "consumer", "active_partitions", "timeout", "max_records"),
    ),
    (driver.AIOKafkaConsumerThread, "seek_to_committed", ("self",)),
    (Fetcher, "fetched_records", ("self", "partitions", "timeout", "max_records")),
    (PartitionRecords, "_unpack_records", ("self",)),
    (GroupCoordinator, "check_errors", ("self",)),
    (PartitionAssignor, "__init__", ("self", "app", "replicas")),
)
EXPECTED_IN_SOURCE: tuple[tuple[Any, str], ...] = (
    (GroupCoordinator, "self._pending_exception = None"),
    (GroupCoordinator, "self._coordination_task = "),
    (Fetcher, "self._fetch_task = "),
    (Fetcher, "partition_records = PartitionRecords("),
    (Fetcher, "records = MemoryRecords("),
    (aiokafka.AIOKafkaConsumer, "self._fetch_max_wait_ms = "),
    (aiokafka.AIOKafkaConsumer, "self._subscription = SubscriptionState("),
    (faust.transport.consumer.Consumer, "offset = self._new_offset(tp)"),
    (faust.transport.consumer.Consumer, "self._committed_offset.update(committed_offsets)"),
    (faust.transport.consumer.Consumer, "list(self._filter_tps_with_pending_acks(topics))"),
    (faust.transport.consumer.Consumer, "await self.seek_to_committed()"),
    (CopartitionedAssignor, "self.min_capacity"),
)


def self_test() -> None:
    """Raise ConfigurationError, naming every part that is not as expected, where the installed versions differ."""
    faults = []
    if not faust.__version__.startswith("0.15."):
        faults.append(f"faust-streaming is {faust.__version__}, not 0.15")
    if not aiokafka.__version__.startswith("0.14."):
        faults.append(f"aiokafka is {aiokafka.__version__}, not 0.14")
    for owner, name, parameters in EXPECTED:
        member = getattr(owner, name, None)
        if member is None or tuple(inspect.signature(member).parameters) != parameters:
            faults.append(f"{owner.__module__}.{owner.__name__}.{name} does not take {parameters}")
    for owner, text in EXPECTED_IN_SOURCE:
        if text not in inspect.getsource(owner):
            faults.append(f"{owner.__module__}.{owner.__name__} no longer says `{text}`")
    if faust.streams._CStreamIterator is None:  # H23: the other iterator acknowledges what it skips
        faults.append("faust's compiled stream iterator is missing (is NO_CYTHON set?)")
    # H11: without the codec the first such batch stops every worker that reads it
    faults += [
        f"aiokafka cannot read {codec} batches"
        for codec in ("gzip", "snappy", "lz4", "zstd")
        if not getattr(aiokafka.codec, f"has_{codec}")()
    ]
    if faults:
        raise ConfigurationError(
            "The installed Kafka libraries are not those this transport was written for; "
            "install the versions of requirements.lock: " + "; ".join(faults) + "."
        )
