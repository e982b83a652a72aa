"""correlate: signals.v1 -> incidents.v1, every revision; facts.v1, what an agent should know before it acts;
watches.v1, what became of each write of an agent.

1 decode; 2 the operator joins what belongs together, in event time; 3 revisions are produced in order, then the rest;
4 when Kafka has them the element is confirmed. Its memory is saved (saving.py); what is produced again after a restart
has the same keys, numbers and contents: every reader of incidents.v1 folds it, and facts.v1 ends as it was.

Live, a source whose marker has not moved for a minute is named by a gap record in this stage's own partition: the log
then decides, and a copy of the state runs ahead (pipeline/operators/correlate.py). While as many rows wait for the
sources that are behind as may, reading pauses until their markers are in the log (look_ahead.py); it says so.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from pipeline.clock import monotonic
from pipeline.core.limits import Limits
from pipeline.core.merge import SilenceWatch
from pipeline.core.owners import Owners
from pipeline.core.panes import TimeRules
from pipeline.frontier import Element
from pipeline.operators.correlate import CorrelateOperator
from pipeline.operators.state import Operator
from pipeline.settings import Settings
from pipeline.stages.base import Fail
from pipeline.stages.limits_log import LimitsLog
from pipeline.stages.look_ahead import LookAhead
from pipeline.stages.publish import Outgoing, Publisher
from pipeline.stages.saving import SavingStage
from pipeline.transport import StaleElementError
from schemas.codecs.single import decode_record, encode_incident, encode_record
from schemas.topics import FACTS, INCIDENTS, INPUTS, SIGNALS, WATCHES, source_name
from schemas.watches import encode_watched

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
SOURCES = tuple(source_name(topic.name, number) for topic in INPUTS for number in range(topic.partitions))


class Correlate(SavingStage[CorrelateOperator]):
    """One worker's share of signals.v1: some tenants, whole."""

    name = "correlate"
    topics = (SIGNALS.name,)

    def __init__(
        self,
        settings: Settings,
        fail: Fail,
        *,
        limits: Limits,
        rules: TimeRules,
        now: Callable[[], int],
        owners: Owners | None = None,
    ) -> None:
        super().__init__(settings, fail, rules=rules, now=now)
        self._owners = owners or Owners()
        self._limits = LimitsLog(settings.kafka_connection, limits)
        self._publisher: Publisher | None = None
        self._free_at: dict[int, int] = {}  # partition -> offset of a marker that lets rows go: read on up to there

    @property
    def publisher(self) -> Publisher:
        """Where revisions go, once open."""
        if self._publisher is None:
            raise RuntimeError("correlate is not open: start() opens it before it reads")
        return self._publisher

    async def open(self) -> None:
        self._publisher = Publisher(self.settings.kafka_connection, self.settings.group(self.name))
        if not self.settings.recorded:
            await self._limits.current()
            self.run_beside(self._notice_silence(), "silent sources")

    async def close(self) -> None:
        self._limits.close()
        if self._publisher is not None:
            await self._publisher.close()

    def fresh(self, topic: str, partition: int) -> CorrelateOperator:
        return CorrelateOperator(SOURCES, self._limits.limits, self._rules, posts_facts=True, spent=self.spent)

    def operator(self, memory: CorrelateOperator) -> Operator:
        return memory

    async def take(self, element: Element) -> Awaitable[None]:
        operator = self.memory(element)
        if operator.is_full and element.begin > self._free_at.get(element.partition, -1):
            await self._wait_for_markers(operator, element)
        if not self.settings.recorded:
            operator.use(await self._limits.current())
        messages = await asyncio.to_thread(self._read, operator, element)
        return await self.publisher.send(messages)

    async def _wait_for_markers(self, operator: CorrelateOperator, element: Element) -> None:
        """Returns when those that are behind have spoken further on in the log. Raises StaleElementError."""
        behind = min(operator.closed.values())
        closed = {source: pane for source, pane in operator.closed.items() if pane == behind}
        where = f"{element.topic}/{element.partition}"
        self.waiting_on = (
            f"{operator.held_rows} rows of {where} wait for {', '.join(sorted(closed))}: look at the workers of detect"
        )
        log.warning("correlate pauses: %s", self.waiting_on)
        try:
            with LookAhead(
                self.settings.kafka_connection, element.topic, element.partition, element.begin, closed
            ) as ahead:
                while (offset := await asyncio.to_thread(ahead.look, LOOK_SECONDS)) is None:
                    if element.epoch != self.consumer.epoch or self._is_closing:
                        raise StaleElementError
        finally:
            self.waiting_on = ""
        log.warning("correlate goes on: %s have spoken", ", ".join(sorted(closed)))
        self._free_at[element.partition] = offset

    async def begin_epoch(self, epoch: int) -> None:
        self._free_at.clear()
        await super().begin_epoch(epoch)

    async def _notice_silence(self) -> None:
        """Append a gap record for each source that is silent, to partitions that were read to their end."""
        watches: dict[int, SilenceWatch] = {}
        epoch = 0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.app is None or self._is_closing or not self.consumer.frontiers():
                continue
            async with self._turn:  # what is known of the sources is that of whole elements, and of this epoch
                try:
                    await self._follow_epoch()  # also when nothing is read: all of detect may be down
                except StaleElementError:
                    continue
                if epoch != self._epoch:
                    watches, epoch = {}, self._epoch
                gaps = []
                for (topic, partition), position in self.consumer.frontiers().items():
                    end = self.consumer.end_seen(topic, partition)
                    if end is None or position < end or (topic, partition) not in self._memories:
                        continue
                    closed = dict(self._memories[topic, partition].closed)
                    watch = watches.setdefault(partition, SilenceWatch(SOURCES))
                    gaps += [(partition, gap) for gap in watch.notice(closed, self._now())]
            for partition, gap in gaps:
                log.warning("signals.v1/%s: %s is silent", partition, gap.source)
            if gaps:
                records = [Outgoing(SIGNALS.name, encode_record(gap), None, number) for number, gap in gaps]
                await (await self.publisher.send(records))

    def open_incidents(self) -> int:
        """Of the tenants in its partitions; any thread may ask."""
        return sum(memory.open_incidents for memory in list(self._memories.values()))

    def _read(self, operator: CorrelateOperator, element: Element) -> list[Outgoing]:
        messages = [decode_record(record.value) for record in element.records if record.value is not None]
        began = monotonic()
        operator.starts_at(element.records[0].offset)
        found = operator.read(messages)
        self.operator_seconds += monotonic() - began
        revisions = [
            Outgoing(
                INCIDENTS.name,
                encode_incident(incident),
                f"{incident.tenant}/{incident.incident_id}".encode(),
            )
            for incident in map(self._owners.owned, found)
        ]
        postings = [
            Outgoing(FACTS.name, encode_record(posting.fact) if posting.fact else None, posting.key.encode())
            for posting in operator.take_postings()
        ]
        watched = [Outgoing(WATCHES.name, encode_watched(one), one.key) for one in operator.take_watched()]
        return revisions + postings + watched
