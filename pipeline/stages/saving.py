"""Stages whose memory is saved: a snapshot now and then, and a restart from the newest whole one.

1 between two elements the operator's state is encoded; 2 when every effect before that offset is confirmed, the chunks
are written; 3 when Kafka has them, the manifest; 4 when Kafka has that, the input offset may be committed, and never
beyond. So what a restarted task reads again begins where its snapshot ends, and what it emits again is known to the
readers. Without a usable snapshot reading starts at the earliest offset there is.

Live, a snapshot that is due waits for the second half of a pane: in the first one the pane before is closed, and
somebody may be waiting for what is found in it.
"""

import asyncio
import logging
import uuid
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from faust.types import TP

from pipeline.clock import monotonic
from pipeline.core.panes import TimeRules
from pipeline.core.plain import StateError, Written
from pipeline.core.spent import Spent
from pipeline.fail_at import end_here
from pipeline.frontier import Element
from pipeline.operators.state import Operator, dump, load, version
from pipeline.settings import Settings
from pipeline.snapshots import SLOTS, Found, Shelf, messages, partition_of_task, task_name
from pipeline.stages.base import Fail, Stage
from pipeline.stages.publish import Outgoing, Publisher
from pipeline.stages.read_back import read_partitions
from pipeline.transport import Restore, Restored
from schemas.times import MICROS
from schemas.topics import SNAPSHOTS, source_name

log = logging.getLogger(__name__)

Memory = TypeVar("Memory")
TIMES_ITS_COST = 20  # a snapshot that took a second is not made more often than every 20 s
LOOK_SECONDS = 0.01
IDLE_LOOK_SECONDS = 0.1
CALM, CALM_ENDS = 0.5, 0.9  # in panes, since the one before became complete: when snapshots are made


@dataclass(slots=True)
class Task:
    """The snapshots of one partition while we own it."""

    name: str
    epoch: str
    old_keys: list[str]  # of earlier ownerships: deleted after our first whole snapshot
    slot: int = 0
    saved_at: float = field(default_factory=monotonic)
    took: float = 0.0
    offset: int = -1  # of the newest snapshot
    size: int = 0  # of it, in bytes
    state: int = 0  # bytes of the state as it was encoded last, be it in Kafka or not
    written_at: float | None = None  # when it was whole in Kafka
    writing: asyncio.Task[None] | None = None
    written: Written = field(default_factory=Written)


@dataclass(slots=True)
class Encoded:
    """A snapshot as messages: the state itself goes on changing."""

    offset: int
    chunks: list[tuple[str, bytes]]
    manifest: tuple[str, bytes]


class SavingStage(Stage[Memory]):
    """A stage with an operator for each partition."""

    rewinds = True

    def __init__(self, settings: Settings, fail: Fail, *, rules: TimeRules, now: Callable[[], int]) -> None:
        super().__init__(settings, fail)
        self._rules = rules
        self._now = now
        self._saves: dict[tuple[str, int], Task] = {}
        self.operator_seconds = 0.0  # in operators since the stage began
        self.spent = Spent(monotonic)  # of it, by detector

    @abstractmethod
    def fresh(self, topic: str, partition: int) -> Memory:
        """The memory of a partition of which nothing was read."""

    @abstractmethod
    def operator(self, memory: Memory) -> Operator:
        """The operator in it, whose state is saved."""

    def goes_on(self, memory: Memory) -> None:
        """The operator in this memory was restored: set what depends on it."""

    @property
    @abstractmethod
    def publisher(self) -> Publisher:
        """Where messages go."""

    # -- restoring

    def restorer(self) -> Restore:
        return self._restore

    def _restore(self, partitions: Mapping[TP, tuple[int, int]]) -> Mapping[TP, Restored]:
        """What each partition begins with: its newest snapshot that can be used, or nothing read yet.

        Blocks; runs in a thread before reading starts, while elements of the epoch before may still be in hand: so it
        touches nothing of this stage, and the consumer hands it over with the new epoch.
        """
        names = {tp: task_name(self.name, tp.topic, tp.partition) for tp in partitions}
        shelf = Shelf(frozenset(names.values()))
        read_partitions(
            self.settings.kafka_connection, SNAPSHOTS, {partition_of_task(name) for name in names.values()}, shelf.put
        )
        restored = {}
        for tp, (earliest, end) in partitions.items():
            found = shelf.take(names[tp], version())
            memory, offset = self._begin_with(tp, names[tp], found, earliest, end)
            epoch = f"{found.newest_epoch + 1}-{uuid.uuid4().hex[:8]}"
            restored[tp] = Restored((memory, Task(names[tp], epoch, list(found.keys))), offset)
        return restored

    def _begin_with(self, tp: TP, name: str, found: Found, earliest: int, end: int) -> tuple[Memory, int | None]:
        for note in found.notes:
            log.warning("snapshot %s", note)
        for snapshot in found.snapshots:
            offset = snapshot.manifest.offset
            if not earliest <= offset <= end:
                log.warning("snapshot of %s at %s is left aside: the log has %s to %s", name, offset, earliest, end)
                continue
            memory = self.fresh(tp.topic, tp.partition)
            try:
                load(self.operator(memory), snapshot.blobs)
            except StateError as error:
                log.warning("snapshot of %s at %s is left aside: %s", name, offset, error)
                continue
            self.goes_on(memory)
            log.info("%s goes on from its snapshot at offset %s", name, offset)
            return memory, offset
        if found.keys:
            log.warning("%s has no snapshot it can use and reads its log again from offset %s", name, earliest)
        return self.fresh(tp.topic, tp.partition), None

    async def begin_epoch(self, epoch: int) -> None:
        self._saves.clear()
        for tp, restored in self.consumer.take_restored(epoch).items():
            place = (tp.topic, tp.partition)
            self._memories[place], self._saves[place] = restored.memory

    def remember(self, element: Element) -> Memory:
        raise RuntimeError(f"{element.token}: its partition was not assigned in epoch {element.epoch}")

    # -- saving

    def saved(self) -> list[tuple[float, int]]:
        """Seconds since and bytes of the newest snapshot of each partition that has one; any thread may ask."""
        now = monotonic()
        return [
            (now - task.written_at, task.size) for task in list(self._saves.values()) if task.written_at is not None
        ]

    def state_bytes(self) -> dict[str, int]:
        """Partition -> bytes of its state as it was encoded last; any thread may ask."""
        return {source_name(*place): task.state for place, task in list(self._saves.items()) if task.state}

    async def start(self) -> None:
        await super().start()
        self.run_beside(self._save_when_idle(), "snapshots")

    async def took(self, element: Element) -> None:
        task = self._saves[element.topic, element.partition]
        if self._is_due(task) and not self._calm_in():
            await self._save(element.topic, element.partition, element.end, element.epoch, task)

    def _is_due(self, task: Task) -> bool:
        if task.writing is not None and not task.writing.done():
            return False
        return monotonic() - task.saved_at >= max(self.settings.snapshot_seconds, TIMES_ITS_COST * task.took)

    def _calm_in(self) -> float:
        """Seconds until panes are closed and no other ends soon; 0 where snapshots are wanted more often than that."""
        if self.settings.recorded or self.settings.snapshot_seconds <= self.settings.pane_seconds:
            return 0.0
        pane, since = self._rules.pane, self._rules.since_end(self._now())
        begins = pane * CALM if since < pane * CALM_ENDS else pane * (1 + CALM)
        return max(0.0, begins - since) / MICROS

    async def _save_when_idle(self) -> None:
        """What was read last is saved too when nothing more comes."""
        while True:
            await asyncio.sleep(max(IDLE_LOOK_SECONDS, self.settings.snapshot_seconds / 4))
            await asyncio.sleep(self._calm_in())
            async with self._turn:
                if self.app is None or self._is_closing or self._epoch != self.consumer.epoch:
                    continue
                for place, end in list(self._read_to.items()):
                    task = self._saves[place]
                    if task.offset < end and self._is_due(task) and not self._calm_in():
                        await self._save(*place, end, self._epoch, task)

    async def save_all(self) -> None:
        """The newest state of every partition, and wait until it is written."""
        async with self._turn:  # else a snapshot that is being encoded would go to the same slot
            if self._epoch != self.consumer.epoch:
                return
            for (topic, partition), end in list(self._read_to.items()):
                task = self._saves[topic, partition]
                if task.writing is not None:
                    await task.writing
                if task.offset < end:
                    await self._save(topic, partition, end, self._epoch, task)
            await asyncio.gather(*(task.writing for task in self._saves.values() if task.writing is not None))

    async def _save(self, topic: str, partition: int, offset: int, epoch: int, task: Task) -> None:
        """Encode now, while nothing changes; write beside, when all before `offset` is confirmed."""
        began = monotonic()
        operator = self.operator(self._memories[topic, partition])
        encoded = await asyncio.to_thread(_encode, operator, task, offset)
        task.state = sum(len(chunk) for _, chunk in encoded.chunks)
        task.saved_at = monotonic()
        task.took = task.saved_at - began

        async def write() -> None:
            try:
                await self._write(TP(topic, partition), epoch, task, encoded)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self.failed(error, f"the snapshot of {task.name} at offset {offset}")

        task.writing = asyncio.create_task(write())
        self._tasks = [*(other for other in self._tasks if not other.done()), task.writing]

    async def _write(self, tp: TP, epoch: int, task: Task, encoded: Encoded) -> None:
        while self.consumer.frontiers().get(tp, -1) < encoded.offset:
            if self.consumer.epoch != epoch or self.error is not None:
                return
            await asyncio.sleep(LOOK_SECONDS)
        size = sum(len(value) for _, value in (*encoded.chunks, encoded.manifest))
        for number in range(len(encoded.chunks)):
            await self._send(task, [encoded.chunks.pop(0)])
            end_here(f"snapshot.chunk.{number}")
        await self._send(task, [encoded.manifest])
        end_here("snapshot.manifest")
        task.slot = (task.slot + 1) % SLOTS
        task.offset = encoded.offset
        task.size, task.written_at = size, monotonic()
        self.consumer.saved(tp.topic, tp.partition, encoded.offset, epoch)
        if task.old_keys:
            keys, task.old_keys = task.old_keys, []
            await self._send(task, [(key, None) for key in keys])

    async def _send(self, task: Task, records: list[tuple[str, bytes]] | list[tuple[str, None]]) -> None:
        number = partition_of_task(task.name)
        await (
            await self.publisher.send([Outgoing(SNAPSHOTS.name, value, key.encode(), number) for key, value in records])
        )


def _encode(operator: Operator, task: Task, offset: int) -> Encoded:
    chunks, manifest = messages(task.name, task.epoch, task.slot, version(), offset, dump(operator, task.written))
    return Encoded(offset, chunks, manifest)
