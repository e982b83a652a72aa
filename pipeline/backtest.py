"""Backtest: files through the very same operators as the live stages, without Kafka. Same input, same incident ids.

One partition a topic. Each chunk of the merged input is followed by a tick on every topic, as the player does with
recorded data; at the end of the input time moves on by the lateness and a pane, so that the last panes close. An
incident that is open at the end of a recording stays open.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pipeline.core.limits import Limits
from pipeline.core.panes import TimeRules
from pipeline.operators.correlate import CorrelateOperator
from pipeline.operators.detect import DetectOperator
from schemas.codecs import Decoded
from schemas.codecs.blocks import empty_frame
from schemas.errors import Outcome
from schemas.events import TOPIC_RECORDS
from schemas.incidents import Incident
from schemas.signals import Forgetting, Marker, Reduced, Signal
from schemas.watches import Watched

RUN = "backtest"


@dataclass(slots=True)
class Outcomes:
    """What a backtest found. incidents: the newest revision of each, oldest first."""

    signals: list[Signal] = field(default_factory=list)
    revisions: list[Incident] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)
    counts: dict[str, Counter[Outcome]] = field(default_factory=dict)

    @property
    def incidents(self) -> list[Incident]:
        """The newest revision of each incident, in the order they began."""
        newest = {revision.incident_id: revision for revision in self.revisions}
        return sorted(newest.values(), key=lambda incident: (incident.started_at, incident.incident_id))


class Backtest:
    """The operators of all stages that decide, one partition each."""

    def __init__(self, limits: Limits | None = None, rules: TimeRules | None = None) -> None:
        self.rules = rules or TimeRules()
        self.detect = {topic: DetectOperator(topic, 0, RUN, 1, limits, self.rules) for topic in TOPIC_RECORDS}
        self.correlate = CorrelateOperator([op.source for op in self.detect.values()], limits, self.rules)
        self.outcomes = Outcomes(counts={topic: Counter() for topic in TOPIC_RECORDS})
        self._newest = 0

    def read(self, chunk: Sequence[Decoded]) -> list[Incident]:
        """One stretch of the merged input, split by topic; returns the revisions it led to."""
        self._newest = max([self._newest, *(part.newest_ingest_time for part in chunk)])
        return [revision for part in [*chunk, *self._ticks(self._newest)] for revision in self._read(part)]

    def finish(self) -> list[Incident]:
        """The end of the recording: close what its last panes hold."""
        if not self._newest:
            return []
        end = self._newest + self.rules.lateness + self.rules.pane
        return [revision for tick in self._ticks(end) for revision in self._read(tick)]

    def _ticks(self, at: int) -> list[Decoded]:
        return [Decoded(topic, 0, empty_frame(record), (), 1, at) for topic, record in TOPIC_RECORDS.items()]

    def _read(self, part: Decoded) -> list[Incident]:
        detected = self.detect[part.topic].read(part)
        counts = self.outcomes.counts[part.topic]
        counts.update(detected.counts)
        if part.ticks and not part.frame.height:
            counts[Outcome.DROPPED] -= part.ticks  # ours, not of the input
        messages: Iterable[Reduced | Marker | Forgetting] = [message for _, message in detected.messages]
        self.outcomes.signals += [m.row for m in messages if isinstance(m, Reduced) and isinstance(m.row, Signal)]
        revisions = self.correlate.read(messages)
        self.outcomes.revisions += revisions
        self.outcomes.watched += self.correlate.take_watched()
        return revisions
