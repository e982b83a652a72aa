"""ingest: otlp_spans, otlp_metrics, otlp_logs -> our three topics, keyed by session, resource and scope.

1 each message is mapped by itself (pipeline/ingest); 2 its events are produced in order, with a dead letter for what
could not be read; 3 when Kafka has them all the element is confirmed. What is produced again after a restart has the
same keys and contents and is folded by detect. What arrived together stays in order; so does a session, as far as the
sender kept it on one partition (the Collector does with `partition_traces_by_id`).

Only live: the times of a recording are its player's, so with recorded topics there is nothing to do here.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from pipeline.core.limits import Limits
from pipeline.files import LARGEST
from pipeline.frontier import MICROS_PER_MS, Element
from pipeline.ingest.messages import Event, Mapped, Reader, key_of, span_keys
from pipeline.ingest.span_table import Columns
from pipeline.settings import Settings
from pipeline.stages.base import Fail, Stage
from pipeline.stages.dead_letter_stop import RejectedWatch
from pipeline.stages.limits_log import LimitsLog
from pipeline.stages.publish import Outgoing, Publisher
from schemas.codecs.single import encode_columns, encode_row
from schemas.errors import Outcome, Reason, Rejected
from schemas.events import RECORD_TOPICS
from schemas.topics import DEAD_LETTERS, OTLP, TRACES, source_name
from sinks.dead_letters import dead_letter_message


@dataclass(slots=True)
class Partition:
    """What ingest remembers of one partition."""

    reader: Reader
    watch: RejectedWatch


class Ingest(Stage[Partition]):
    """One worker's share of the three topics of OpenTelemetry."""

    name = "ingest"
    topics = tuple(topic.name for topic in OTLP)

    def __init__(self, settings: Settings, fail: Fail, *, limits: Limits) -> None:
        super().__init__(settings, fail)
        self._limits = LimitsLog(settings.kafka_connection, limits)
        self._publisher: Publisher | None = None

    async def open(self) -> None:
        self.journal.open()
        self._publisher = Publisher(self.settings.kafka_connection, self.settings.group(self.name))
        await self._limits.current()

    async def close(self) -> None:
        self._limits.close()
        if self._publisher is not None:
            await self._publisher.close()

    def remember(self, element: Element) -> Partition:
        reader = Reader(self._limits.limits, self.settings.tenant, self.settings.agent_accounts)
        return Partition(reader, RejectedWatch(source_name(element.topic, element.partition)))

    async def take(self, element: Element) -> Awaitable[None]:
        if self._publisher is None:
            raise RuntimeError("ingest is not open: start() opens it before it reads")
        partition = self.memory(element)
        partition.reader.limits = await self._limits.current()
        parts = await asyncio.to_thread(self.journal.guard, element, lambda part: self._map(partition, part))
        return await self._publisher.send([message for part in parts for message in part])

    def _map(self, partition: Partition, element: Element) -> list[Outgoing]:
        messages: list[Outgoing] = []
        rejected: set[int] = set()
        all_mapped, rows = partition.reader.read_all(element.topic, [record.value for record in element.records])
        spans = _spans(rows)
        for record, mapped in zip(element.records, all_mapped, strict=True):
            if mapped.is_rejected:
                rejected.add(record.offset)
            self._count(element.topic, _outcome(mapped), 1)
            messages += _fitting(mapped, [*islice(spans, mapped.rows), *map(_event, mapped.events)])
            if mapped.reason is not None:
                self._count_dead_letter(mapped.reason)
                letter = Rejected(
                    offset=record.offset,
                    reason=mapped.reason,
                    detail=mapped.detail,
                    value=record.value or b"",
                    key=record.key,
                    ingest_time=record.timestamp * MICROS_PER_MS,
                )
                value = dead_letter_message(letter, element.topic, element.partition, self.name)
                messages.append(Outgoing(DEAD_LETTERS.name, value, element.topic.encode()))
        newest = max(record.timestamp for record in element.records) * MICROS_PER_MS
        partition.watch.see([record.offset for record in element.records], rejected, newest)
        return messages


def _outcome(mapped: Mapped) -> Outcome:
    if mapped.is_rejected:
        return Outcome.REJECTED
    return Outcome.ACCEPTED if mapped.events or mapped.rows else Outcome.DROPPED


def _spans(rows: Columns) -> Iterator[Outgoing]:
    """The messages of all spans that were read together."""
    keys = span_keys(rows)
    values = encode_columns("agent_span", rows) if keys else []
    return map(partial(Outgoing, TRACES.name), values, keys)


def _event(event: Event) -> Outgoing:
    record, row = event
    return Outgoing(RECORD_TOPICS[record], encode_row(record, row), key_of(record, row).encode())


def _fitting(mapped: Mapped, found: list[Outgoing]) -> list[Outgoing]:
    """Those of the messages that Kafka takes; one that is too large is left out and becomes a reason."""
    fitting = [message for message in found if len(message.value or b"") <= LARGEST]
    if len(fitting) < len(found):
        largest = max(len(message.value or b"") for message in found)
        mapped.reason, mapped.detail = Reason.TOO_LARGE, f"an event of {largest} bytes; at most {LARGEST}"
    return fitting
