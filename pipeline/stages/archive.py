"""archive: the three input topics -> their raw tables, redacted, each row with its place in the log and its lateness.

1 decode; 2 judge lateness by the same rule as detect; 3 write as Arrow; 4 confirm. Starts at the committed offset: what
it remembers, the watermark, is in the next record's append time. Messages that cannot be read are detect's to report,
but for those that kill this stage: detect may live with them.
"""

from collections.abc import Awaitable

import polars as pl

from pipeline.core.panes import Lateness, TimeRules
from pipeline.frontier import MICROS_PER_MS, Element
from pipeline.journal import WHY
from pipeline.record_batches import Record
from pipeline.settings import Settings
from pipeline.stages.base import Fail
from pipeline.stages.batching import BatchingStage, Rows, TableWriter
from pipeline.stages.publish import Outgoing
from pipeline.stages.unframing import Unframing
from schemas.codecs.blocks import decode_batch
from schemas.errors import Reason, Rejected
from schemas.events import TOPIC_RECORDS
from schemas.topics import DEAD_LETTERS, INPUTS
from sinks.clickhouse.rows import TABLES, raw_frame
from sinks.dead_letters import dead_letter_message

FETCH_GAP_SECONDS = 0.5  # an element costs as much as 600 events before its first, of each partition


class Archive(BatchingStage[Lateness]):
    """One worker's share of the input partitions."""

    name = "archive"
    topics = tuple(topic.name for topic in INPUTS)

    def __init__(self, settings: Settings, fail: Fail, *, writer: TableWriter, rules: TimeRules) -> None:
        super().__init__(settings, fail, writer=writer)
        self._rules = rules
        self._unframing = Unframing(settings)

    def fetch_gap_seconds(self) -> float:
        return FETCH_GAP_SECONDS

    def remember(self, element: Element) -> Lateness:
        return Lateness(self._rules)

    async def open(self) -> None:
        self.journal.open()
        await super().open()

    async def take(self, element: Element) -> Awaitable[None] | None:
        element = await self._unframing.read(element, self)
        effect = await super().take(element)
        letters = [
            Outgoing(DEAD_LETTERS.name, set_aside_message(record, element, self.name), element.topic.encode())
            for record in self.journal.set_aside(element)
        ]
        if letters:
            self._count_dead_letter(Reason.CRASHES, len(letters))
            await self.send_dead_letters(letters)
        return effect

    def rows(self, element: Element) -> Rows:
        lateness = self.memory(element)
        frames = self.journal.guard(element, lambda part: self._frame(lateness, part))
        return {TABLES[TOPIC_RECORDS[element.topic]]: frames[0] if len(frames) == 1 else pl.concat(frames)}

    def _frame(self, lateness: Lateness, element: Element) -> pl.DataFrame:
        record = TOPIC_RECORDS[element.topic]
        decoded = decode_batch(element.batch(), record)
        judged = lateness.judge(decoded.frame, decoded.newest_ingest_time)
        return raw_frame(record, decoded.frame, judged.is_late, element.topic)


def set_aside_message(record: Record, element: Element, stage: str) -> bytes:
    """The dead letter of a message that nobody reads any more."""
    rejected = Rejected(
        offset=record.offset,
        reason=Reason.CRASHES,
        detail=WHY,
        value=b"",
        key=record.key,
        ingest_time=record.timestamp * MICROS_PER_MS,
    )
    return dead_letter_message(rejected, element.topic, element.partition, stage)
