"""Stages whose memory is saved: a snapshot now and then, and a restart from the newest whole one.

1 between two elements the operator's state is encoded; 2 when every effect before that offset is confirmed, the chunks
are written; 3 when Kafka has them, the manifest; 4 when Kafka has that, the input offset may be committed, and never
beyond. So what a restarted task reads again begins where its snapshot ends, and what it emits again is known to the
readers. Without a usable snapshot reading starts at the earliest offset there is.
"""

import asyncio
import logging
import os
import uuid
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from faust.types import TP

from pipeline.clock import monotonic
from pipeline.core.plain import StateError
from pipeline.frontier import Element
from pipeline.operators.state import Operator, dump, load, version
from pipeline.settings import Settings
from pipeline.snapshots import SLOTS, Found, find, messages, partition_of_task, task_name
from pipeline.stages.base import Fail, Stage
from pipeline.stages.publish import Outgoing, Publisher
from pipeline.stages.read_back import read_partitions
from pipeline.transport import Restore
from schemas.topics import SNAPSHOTS

log = logging.getLogger(__name__)

Memory = TypeVar("Memory")
TIMES_ITS_COST = 20  # a snapshot that took a second is not made more often than every 20 s
LOOK_SECONDS = 0.01
IDLE_LOOK_SECONDS = 0.1
FAIL_AT = "AFTERMATH_FAIL_AT"  # for tests: the process ends at this point, as if it were killed


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
    writing: asyncio.Task[None] | None = None


class SavingStage(Stage[Memory]):
    """A stage with an operator for each partition."""

    rewinds = True

    def __init__(self, settings: Settings, fail: Fail) -> None:
        super().__init__(settings, fail)
        self._restored: dict[tuple[str, int], Memory] = {}
        self._found: dict[tuple[str, int], Found] = {}
        self._saves: dict[tuple[str, int], Task] = {}
        self._saves_epoch = 0

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

    def _restore(self, partitions: Mapping[TP, tuple[int, int]]) -> Mapping[TP, int]:
        """Load the newest whole snapshot of each partition; runs in a thread before reading starts."""
        self._restored, self._found = {}, {}
        offsets = {}
        tasks = {tp: task_name(self.name, tp.topic, tp.partition) for tp in partitions}
        numbers = {partition_of_task(task) for task in tasks.values()}
        records = read_partitions(self.settings.kafka, SNAPSHOTS, numbers)
        for tp, (earliest, end) in partitions.items():
            task = tasks[tp]
            found = self._found[tp.topic, tp.partition] = find(task, records[partition_of_task(task)], version())
            for note in found.notes:
                log.warning("snapshot %s is left aside", note)
            if found.snapshot is None:
                continue
            offset = found.snapshot.manifest.offset
            if not earliest <= offset <= end:
                log.warning(
                    "the snapshot of %s ends at %s, the log has %s to %s: not used", task, offset, earliest, end
                )
                continue
            memory = self.fresh(tp.topic, tp.partition)
            try:
                load(self.operator(memory), found.snapshot.blobs)
            except StateError as error:
                log.warning("snapshot of %s at %s: %s", task, offset, error)
                continue
            self.goes_on(memory)
            self._restored[tp.topic, tp.partition] = memory
            offsets[tp] = offset
            log.info("%s goes on from its snapshot at offset %s", task, offset)
        return offsets

    def remember(self, element: Element) -> Memory:
        place = (element.topic, element.partition)
        restored = self._restored.pop(place, None)
        return restored if restored is not None else self.fresh(*place)

    # -- saving

    async def start(self) -> None:
        await super().start()
        self.run_beside(self._save_when_idle(), "snapshots")

    async def took(self, element: Element) -> None:
        task = self._task(element)
        if self._is_due(task):
            await self._save(element.topic, element.partition, element.end, element.epoch, task)

    def _is_due(self, task: Task) -> bool:
        if task.writing is not None and not task.writing.done():
            return False
        return monotonic() - task.saved_at >= max(self.settings.snapshot_seconds, TIMES_ITS_COST * task.took)

    async def _save_when_idle(self) -> None:
        """What was read last is saved too when nothing more comes."""
        while True:
            await asyncio.sleep(max(IDLE_LOOK_SECONDS, self.settings.snapshot_seconds / 4))
            async with self._turn:
                if self.app is None or self._is_closing or self._epoch != self.consumer.epoch:
                    continue
                for place, end in list(self._read_to.items()):
                    task = self._saves.get(place)
                    if task is not None and task.offset < end and place in self._memories and self._is_due(task):
                        await self._save(*place, end, self._epoch, task)

    async def save_all(self) -> None:
        """The newest state of every partition, and wait until it is written."""
        if self._epoch != self.consumer.epoch:
            return
        for (topic, partition), end in list(self._read_to.items()):
            task = self._saves.get((topic, partition))
            if task is None:
                continue
            if task.writing is not None:
                await task.writing
            if task.offset < end and (topic, partition) in self._memories:
                await self._save(topic, partition, end, self._epoch, task)
        await asyncio.gather(*(task.writing for task in self._saves.values() if task.writing is not None))

    def _task(self, element: Element) -> Task:
        if self._saves_epoch != element.epoch:
            self._saves, self._saves_epoch = {}, element.epoch
        place = (element.topic, element.partition)
        if place not in self._saves:
            found = self._found.get(place)
            number = found.newest_epoch + 1 if found else 1
            keys = list(found.keys) if found else []
            self._saves[place] = Task(task_name(self.name, *place), f"{number}-{uuid.uuid4().hex[:8]}", keys)
        return self._saves[place]

    async def _save(self, topic: str, partition: int, offset: int, epoch: int, task: Task) -> None:
        """Encode now, while nothing changes; write beside, when all before `offset` is confirmed."""
        began = monotonic()
        blobs = await asyncio.to_thread(dump, self.operator(self._memories[topic, partition]))
        task.took = monotonic() - began
        task.saved_at = monotonic()

        async def write() -> None:
            try:
                await self._write(topic, partition, offset, epoch, task, blobs)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self.failed(error, f"the snapshot of {task.name} at offset {offset}")

        task.writing = asyncio.create_task(write())
        self._tasks.append(task.writing)
        self._tasks = [other for other in self._tasks if not other.done()]

    async def _write(self, topic: str, partition: int, offset: int, epoch: int, task: Task, blobs: list[bytes]) -> None:
        while self.consumer.frontiers().get(TP(topic, partition), -1) < offset:
            if self.consumer.epoch != epoch or self.error is not None:
                return
            await asyncio.sleep(LOOK_SECONDS)
        chunks, manifest = messages(task.name, task.epoch, task.slot, version(), offset, blobs)
        for number, (key, value) in enumerate(chunks):
            await self._send(task, [(key, value)])
            _end_here(f"snapshot.chunk.{number}")
        await self._send(task, [manifest])
        _end_here("snapshot.manifest")
        task.slot = (task.slot + 1) % SLOTS
        task.offset = offset
        self.consumer.saved(topic, partition, offset, epoch)
        if task.old_keys:
            keys, task.old_keys = task.old_keys, []
            await self._send(task, [(key, None) for key in keys])

    async def _send(self, task: Task, records: list[tuple[str, bytes]] | list[tuple[str, None]]) -> None:
        number = partition_of_task(task.name)
        await (
            await self.publisher.send([Outgoing(SNAPSHOTS.name, value, key.encode(), number) for key, value in records])
        )


def _end_here(point: str) -> None:
    if os.environ.get(FAIL_AT) == point:
        os._exit(137)
