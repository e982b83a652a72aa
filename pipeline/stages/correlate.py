"""correlate: signals.v1 -> incidents.v1, every revision.

1 decode; 2 the operator joins what belongs together, in event time; 3 revisions are produced in order; 4 when Kafka has
them the element is confirmed. Its memory is rebuilt by reading signals.v1 from the earliest offset on: revisions that
are produced again have the same ids, numbers and contents, and every reader of incidents.v1 folds them.
"""

import asyncio
from collections.abc import Awaitable

from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.frontier import Element
from pipeline.operators.correlate import CorrelateOperator
from pipeline.settings import Settings
from pipeline.stages.base import Fail, Stage
from pipeline.stages.publish import Outgoing, Publisher
from schemas.codecs.single import decode_record, encode_incident
from schemas.topics import INCIDENTS, INPUTS, SIGNALS, source_name

SOURCES = tuple(source_name(topic.name, number) for topic in INPUTS for number in range(topic.partitions))


class Correlate(Stage[CorrelateOperator]):
    """One worker's share of signals.v1: some tenants, whole."""

    name = "correlate"
    topics = (SIGNALS.name,)
    rewinds = True

    def __init__(self, settings: Settings, fail: Fail, *, limits: Limits, rules: TimeRules) -> None:
        super().__init__(settings, fail)
        self._limits = limits
        self._rules = rules
        self._publisher: Publisher | None = None

    async def open(self) -> None:
        self._publisher = Publisher(self.settings.kafka, self.settings.group(self.name))

    async def close(self) -> None:
        if self._publisher is not None:
            await self._publisher.close()

    def remember(self, element: Element) -> CorrelateOperator:
        return CorrelateOperator(SOURCES, self._limits, self._rules)

    async def take(self, element: Element) -> Awaitable[None]:
        if self._publisher is None:
            raise RuntimeError("correlate is not open: start() opens it before it reads")
        messages = await asyncio.to_thread(self._read, self.memory(element), element)
        return await self._publisher.send(messages)

    def _read(self, operator: CorrelateOperator, element: Element) -> list[Outgoing]:
        messages = [decode_record(record.value) for record in element.records if record.value is not None]
        return [
            Outgoing(
                INCIDENTS.name,
                encode_incident(incident),
                f"{incident.tenant}/{incident.incident_id}".encode(),
            )
            for incident in operator.read(messages)
        ]
