"""archive: the three input topics -> their raw tables, redacted, each row with its place in the log and its lateness.

1 decode; 2 judge lateness by the same rule as detect; 3 write as Arrow; 4 confirm. Starts at the committed offset: what
it remembers, the watermark, is in the next record's append time. Messages that cannot be read are detect's to report.
"""

from pipeline.core.panes import Lateness, TimeRules
from pipeline.frontier import Element
from pipeline.settings import Settings
from pipeline.stages.base import Fail
from pipeline.stages.batching import BatchingStage, Rows, TableWriter
from schemas.codecs.blocks import decode_batch
from schemas.events import TOPIC_RECORDS
from schemas.topics import INPUTS
from sinks.clickhouse.rows import TABLES, raw_frame


class Archive(BatchingStage[Lateness]):
    """One worker's share of the input partitions."""

    name = "archive"
    topics = tuple(topic.name for topic in INPUTS)

    def __init__(self, settings: Settings, fail: Fail, *, writer: TableWriter, rules: TimeRules) -> None:
        super().__init__(settings, fail, writer=writer)
        self._rules = rules

    def remember(self, element: Element) -> Lateness:
        return Lateness(self._rules)

    def rows(self, element: Element) -> Rows:
        record = TOPIC_RECORDS[element.topic]
        decoded = decode_batch(element.batch(), record)
        judged = self.memory(element).judge(decoded.frame, decoded.newest_ingest_time)
        return {TABLES[record]: raw_frame(record, decoded.frame, judged.is_late, element.topic)}
