"""detect: the three input topics -> signals.v1, and what cannot be read -> dead_letters.v1.

1 decode the element to a frame; 2 the operator turns it into rows and markers; 3 they are produced in order, with the
dead letters; 4 when Kafka has them all the element is confirmed. Its memory (open panes, sessions) is saved by
saving.py; what is produced again after a restart belongs to a new run and is dropped by correlate. A dead letter is
produced only for offsets that no earlier run had confirmed.

Live, an idle partition gets a tick, so that its watermark moves: the only place where the clock is read, and all it
does is append a record.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pipeline.clock import monotonic
from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.frontier import Element
from pipeline.operators.detect import DetectOperator
from pipeline.operators.state import Operator
from pipeline.settings import Settings
from pipeline.stages.base import Fail
from pipeline.stages.dead_letter_stop import RejectedWatch
from pipeline.stages.limits_log import LimitsLog
from pipeline.stages.publish import Outgoing, Publisher
from pipeline.stages.saving import SavingStage
from pipeline.stages.unframing import Unframing
from schemas.codecs import TICK
from schemas.codecs.blocks import decode_batch
from schemas.codecs.single import encode_records
from schemas.errors import Outcome
from schemas.events import TOPIC_RECORDS
from schemas.signals import Reduced
from schemas.times import MICROS
from schemas.topics import DEAD_LETTERS, INPUTS, SIGNALS, source_name
from sinks.dead_letters import dead_letter_message

# in panes: how long after its end one is closed by most partitions, and the gaps between two fetches then and later
ENDING, GAP_AT_END, GAP = 0.2, 0.04, 0.2


@dataclass(slots=True)
class Partition:
    """What detect remembers of one input partition."""

    operator: DetectOperator
    watch: RejectedWatch
    newest_ingest_time: int = 0
    is_at_start: bool = True


class Detect(SavingStage[Partition]):
    """One worker's share of the input partitions."""

    name = "detect"
    topics = tuple(topic.name for topic in INPUTS)

    def __init__(
        self, settings: Settings, fail: Fail, *, limits: Limits, rules: TimeRules, now: Callable[[], int]
    ) -> None:
        super().__init__(settings, fail, rules=rules, now=now)
        self._limits = LimitsLog(settings.kafka_connection, limits)
        self._publisher: Publisher | None = None
        self._unframing = Unframing(settings)
        self._ticked: dict[tuple[str, int], int] = {}
        self.late: Counter[str] = Counter()  # rows by source, since the stage began

    @property
    def publisher(self) -> Publisher:
        """Where messages go, once open."""
        if self._publisher is None:
            raise RuntimeError("detect is not open: start() opens it before it reads")
        return self._publisher

    async def open(self) -> None:
        self.journal.open()
        self._publisher = Publisher(self.settings.kafka_connection, self.settings.group(self.name))
        if not self.settings.recorded:
            await self._limits.current()
            self.run_beside(self._tick_while_idle(), "ticks")

    async def close(self) -> None:
        self._limits.close()
        if self._publisher is not None:
            await self._publisher.close()

    def fetch_gap_seconds(self) -> float:
        """Rows wait for the end of their pane, and an element costs as much as 600 events before its first, of each
        partition: so few fetches do, but when panes end. Then they are wanted soon, from every partition."""
        pane, since = self._rules.pane, self._rules.since_end(self._now())
        if self.settings.recorded or since < pane * ENDING:
            return pane * GAP_AT_END / MICROS
        return min(pane * GAP, pane - since + pane * GAP_AT_END / 4) / MICROS

    def fresh(self, topic: str, partition: int) -> Partition:
        operator = DetectOperator(
            topic, partition, uuid.uuid4().hex[:12], SIGNALS.partitions, self._limits.limits, self._rules, self.spent
        )
        return Partition(operator, RejectedWatch(source_name(topic, partition)))

    def operator(self, memory: Partition) -> Operator:
        return memory.operator

    def goes_on(self, memory: Partition) -> None:
        memory.is_at_start = False
        memory.newest_ingest_time = max(0, memory.operator.panes.lateness.newest)

    async def take(self, element: Element) -> Awaitable[None]:
        element = await self._unframing.read(element, self)
        partition = self.memory(element)
        if not self.settings.recorded:
            partition.operator.limits = await self._limits.current()
        parts = await asyncio.to_thread(self.journal.guard, element, lambda part: self._read(partition, part))
        return await self.publisher.send([message for part in parts for message in part])

    def heard(self) -> dict[str, DetectOperator]:
        """Its partitions that were read, by name, for what they know of time; any thread may ask."""
        return {source_name(*place): memory.operator for place, memory in list(self._memories.items())}

    def rows_ahead(self) -> dict[str, int]:
        """Rows whose event time was far ahead of their append time, by topic; any thread may ask."""
        found: Counter[str] = Counter()
        for (topic, _), memory in list(self._memories.items()):
            found[topic] += memory.operator.ahead
        return found

    def _read(self, partition: Partition, element: Element) -> list[Outgoing]:
        batch = element.batch()
        decoded = decode_batch(batch, TOPIC_RECORDS[element.topic])
        partition.newest_ingest_time = max(partition.newest_ingest_time, decoded.newest_ingest_time)
        partition.watch.see(batch.offsets, {item.offset for item in decoded.rejected}, decoded.newest_ingest_time)
        if partition.is_at_start:
            partition.operator.starts_at(int(batch.offsets[0]), int(batch.ingest_times[0]))
            partition.is_at_start = False
        began = monotonic()
        detected = partition.operator.read(decoded)
        self.operator_seconds += monotonic() - began
        for outcome, number in detected.counts.items():
            self._count(element.topic, Outcome(outcome), number)
        self.late[partition.operator.source] += detected.counts[Outcome.LATE]
        values = encode_records([message for _, message in detected.messages])
        messages = [
            Outgoing(
                SIGNALS.name,
                value,
                message.row.tenant.encode() if isinstance(message, Reduced) else None,
                number,
            )
            for (number, message), value in zip(detected.messages, values, strict=True)
        ]
        for item in decoded.rejected:
            if item.offset >= element.floor:
                self._count_dead_letter(item.reason)
                value = dead_letter_message(item, element.topic, element.partition, self.name)
                messages.append(Outgoing(DEAD_LETTERS.name, value, element.topic.encode()))
        return messages

    async def _tick_while_idle(self) -> None:
        """Append a tick to each partition that was read to its end and whose newest record is more than a pane old."""
        while True:
            await asyncio.sleep(self.settings.pane_seconds / 2)
            if self.app is None:
                continue
            now = self._now()
            ticks = [
                Outgoing(topic, TICK, partition=partition)
                for (topic, partition), position in self.consumer.read_positions().items()
                if self._is_idle(topic, partition, position, now)
            ]
            if ticks:
                self._ticked.update({(tick.topic, tick.partition): now for tick in ticks})
                await (await self.publisher.send(ticks))

    def _is_idle(self, topic: str, partition: int, position: int, now: int) -> bool:
        end = self.consumer.end_seen(topic, partition)
        if end is None or position < end:
            return False
        memory = self._memories.get((topic, partition))
        newest = max(memory.newest_ingest_time if memory else 0, self._ticked.get((topic, partition), 0))
        return now - newest > self.settings.pane
