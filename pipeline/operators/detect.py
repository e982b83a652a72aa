"""Detect: one partition of an input topic in, what correlate needs out. What the stage and a backtest run alike.

Pure: no Kafka, no clock, no I/O. A frame goes in; rows for `signals.v1` come out, each pane of them followed by its
marker to every partition of `signals.v1`.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl

from pipeline.core.heard import Hearing, heard_in
from pipeline.core.limits import Limits
from pipeline.core.memory import KeepsItself
from pipeline.core.observed import actions_of, late_actions_of
from pipeline.core.observed_memory import ObservedMemory
from pipeline.core.panes import NEVER, Closed, Judged, Mask, Panes, Part, TimeRules
from pipeline.core.reduce import facts_of, usage_in
from pipeline.core.rows import Rows, with_sessions
from pipeline.core.sessions import SessionIndex
from pipeline.core.spent import Spent
from pipeline.detectors import (
    context_overload,
    failed_run,
    feedback_loop,
    governance,
    hand_off,
    kubernetes,
    metric_jump,
    monologue,
    restarted_run,
    token_burn,
    unguarded_change,
)
from schemas.codecs import Decoded
from schemas.errors import Outcome
from schemas.events import TOPIC_RECORDS
from schemas.signals import Forgetting, Marker, Reduced, Row, stable_hash
from schemas.times import MINUTE
from schemas.topics import source_name
from sinks.redaction import redact_rows

# every detector that needs one session or one resource; a test finds one that is missing here
DETECTORS: dict[str, tuple[Any, ...]] = {
    "agent_span": (
        feedback_loop,
        monologue,
        hand_off,
        restarted_run,
        failed_run,
        token_burn,
        governance,
        unguarded_change,
        context_overload,
    ),
    "metric_point": (metric_jump,),
    "cluster_event": (kubernetes,),
}
# columns of AgentSpan that no detector looks at: they are not carried from pane to pane
UNUSED = (
    "agent_name",
    "prompt_digest",
    "prompt_version",
    "provider",
    "attempt",
)
SPAN = 60 * MINUTE  # panes are worked on together up to this much event time, so that expiry falls between calls
MINUTE_OF_RECORDS = (
    MINUTE  # after a cold start, panes that begin earlier than this after the first record are not whole
)


@dataclass(frozen=True, slots=True)
class Detected:
    """messages: (partition of `signals.v1`, message), in the order they must be written. counts: the five outcomes."""

    messages: list[tuple[int, Reduced | Marker | Forgetting]]
    counts: Counter[Outcome]


class DetectOperator:
    """The state of one partition: open panes and what the detectors remember."""

    def __init__(
        self,
        topic: str,
        partition: int,
        run: str,
        signal_partitions: int,
        limits: Limits | None = None,
        rules: TimeRules | None = None,
        spent: Spent | None = None,
    ) -> None:
        self.record = TOPIC_RECORDS[topic]
        self.source = source_name(topic, partition)
        self.run = run
        self.signal_partitions = signal_partitions
        self.limits = limits or Limits()
        self.rules = rules or TimeRules()
        self.panes = Panes(self.record, self.rules)
        self.sessions = SessionIndex()
        self._detectors = [(module, module.fresh(self.sessions)) for module in DETECTORS[self.record]]
        self._observed = ObservedMemory(self.sessions)
        self._hearing = Hearing()
        self._marked_upto = NEVER
        self._spent = spent or Spent()
        self.ahead = 0  # rows far ahead of their append time, since the operator was made
        self.newest_event = NEVER  # event time of the newest row that is not far ahead
        self.clock_ahead: int | None = None  # the most by which a row of the newest batch is ahead of its append time
        self._whole_from: int | None = None  # panes before this are not whole (cold start in the middle of a log)
        self._forgetting: Forgetting | None = None  # to be said before anything else

    def starts_at(self, offset: int, ingest_time: int) -> None:
        """Say where reading begins. In the middle of a log the first minute is not whole and says nothing but that."""
        if offset > 0:
            self._whole_from = self.rules.pane_of(ingest_time + MINUTE_OF_RECORDS - 1) + self.rules.pane
            self._forgetting = Forgetting(source=self.source, pane=self._whole_from, offset=offset)

    def saved(self) -> Any:
        """The whole state but the run, for a snapshot (pipeline/operators/state.py makes bytes of it)."""
        memories = [memory.saved() for memory in self._own_memories()]
        return {
            "source": self.source,
            "panes": self.panes.saved(),
            "marked_upto": self._marked_upto,
            "whole_from": self._whole_from,
            "sessions": self.sessions.saved(),
            "names": self._observed.names,
            "memories": memories,
        }

    def restore(self, saved: Any) -> None:
        """The other way, into an operator of the same partition that has read nothing yet. The run is a new one."""
        if saved["source"] != self.source:
            raise ValueError(f"a snapshot of {saved['source']} is none of {self.source}")
        self.panes.restore(saved["panes"])
        self._marked_upto, self._whole_from = saved["marked_upto"], saved["whole_from"]
        self.sessions.restore(saved["sessions"])
        self._observed.names = saved["names"]
        for memory, found in zip(self._own_memories(), saved["memories"], strict=True):
            memory.restore(found)

    def _own_memories(self) -> list[KeepsItself]:
        """Memories that are not kept by session: those are saved and expire with the sessions."""
        return [*(memory for _, memory in self._detectors if isinstance(memory, KeepsItself)), self._hearing]

    def read(self, decoded: Decoded) -> Detected:
        """Take one batch; hand out every row and marker of the panes it completes."""
        frame = decoded.frame
        if self.record == "agent_span":
            frame = frame[[name for name in frame.columns if name not in UNUSED]]
            if frame["start_time"].null_count():
                began = pl.col("event_time") - pl.col("duration_ms") * 1000
                frame = frame.with_columns(start_time=pl.coalesce("start_time", began))
        judged = self.panes.lateness.judge(frame, decoded.newest_ingest_time)
        counts = self._count(judged, decoded)
        closed = self.panes.read(judged)
        messages = self._messages(closed) if closed.upto > NEVER else []
        return Detected([*self._forgot(), *messages], counts)

    def _forgot(self) -> list[tuple[int, Forgetting]]:
        """What every partition is told once, before the rest: a worker that dies on the way begins so again."""
        said, self._forgetting = self._forgetting, None
        return [] if said is None else [(number, said) for number in range(self.signal_partitions)]

    def _count(self, judged: Judged, decoded: Decoded) -> Counter[Outcome]:
        late = int(judged.late.sum())
        far_ahead = judged.late & ~judged.carried
        self.ahead += int(far_ahead.sum())
        self._see_times(judged, far_ahead)
        unused = 0
        if self.record == "cluster_event":
            plain = (pl.col("kind") == "kubernetes") & (pl.col("severity") == "normal") & ~pl.lit(judged.is_late)
            unused = int(judged.frame.select(plain.sum()).item())
        return Counter(
            {
                Outcome.ACCEPTED: judged.frame.height - late - unused,
                Outcome.DROPPED: decoded.ticks + unused,
                Outcome.LATE: late,
                Outcome.REJECTED: len(decoded.rejected),
                Outcome.FAILED: 0,
            }
        )

    def _see_times(self, judged: Judged, far_ahead: Mask) -> None:
        if judged.frame.height:
            event_time = judged.frame["event_time"].to_numpy()
            self.clock_ahead = int((event_time - judged.frame["ingest_time"].to_numpy()).max())
            self.newest_event = int(event_time.max(initial=self.newest_event, where=~far_ahead))

    def _messages(self, closed: Closed) -> list[tuple[int, Reduced | Marker]]:
        spans = _spans(closed.on_time, self.rules.pane, self.limits.changes)
        found = [placed for rows in spans for placed in self._rows(rows)]
        found += self._late(closed.carried)
        by_pane: dict[int, list[Row]] = defaultdict(list)
        for (pane, _), row in zip(found, redact_rows(row for _, row in found), strict=True):
            by_pane[pane].append(row)
        messages: list[tuple[int, Reduced | Marker]] = []
        for pane in sorted(by_pane):
            if self._whole_from is not None and pane < self._whole_from:
                continue
            sent = [0] * self.signal_partitions
            for row in by_pane[pane]:
                partition = partition_of(row.tenant, self.signal_partitions)
                sent[partition] += 1
                messages.append((partition, Reduced(self.source, pane, self.run, row)))
            messages += self._mark(pane, sent)
        if closed.upto > self._marked_upto and (self._whole_from is None or closed.upto >= self._whole_from):
            messages += self._mark(closed.upto, [0] * self.signal_partitions)
        return messages

    def _mark(self, pane: int, sent: list[int]) -> list[tuple[int, Reduced | Marker]]:
        self._marked_upto = pane
        return [
            (number, Marker(source=self.source, pane=pane, run=self.run, rows=rows)) for number, rows in enumerate(sent)
        ]

    def _rows(self, rows: Rows) -> list[tuple[int, Row]]:
        out: list[tuple[int, Row]] = []
        size = self.rules.pane
        newest = int(rows.ints("pane")[-1])
        if self.record == "agent_span":
            with_sessions(rows, self.sessions)
            rows.actions = actions_of(rows, self._observed)
            out += [(self.rules.pane_of(action.end_time), action) for action in rows.actions]
            out += [(usage.pane, usage) for usage in usage_in(rows, self.source)]
        elif self.record == "cluster_event":
            out += [(self.rules.pane_of(fact.event_time), fact) for fact in facts_of(rows.frame)]
        elif self.record == "metric_point":
            out += [(heard.pane, heard) for heard in heard_in(rows, self._hearing)]
        limits = self.limits.in_force(int(rows.ints("pane")[0]))
        for module, memory in self._detectors:
            found = self._spent.call(module, module.detect, rows, memory, limits)
            out += [(signal.detected_at - size, signal) for signal in found]
        if self.record == "agent_span":
            self.sessions.expire(newest)
        for memory in self._own_memories():
            memory.expire(newest)
        return out

    def _late(self, late: Part) -> list[tuple[int, Row]]:
        """A late action or fact travels with the first pane still open at its offset, as evidence."""
        frame = late.frame
        if not frame.height:
            return []
        if self.record == "agent_span":
            panes = dict(zip(frame["span_id"], frame["pane"], strict=True))
            return [(panes[action.span_id], action) for action in late_actions_of(Rows(late.rows, self.rules.pane))]
        if self.record == "cluster_event":
            panes = dict(zip(frame["event_id"], frame["pane"], strict=True))
            return [(panes[fact.fact_id], fact) for fact in facts_of(late.rows, late=True)]
        return []


@lru_cache(100_000)
def partition_of(tenant: str, partitions: int) -> int:
    """The partition of `signals.v1` that holds a tenant."""
    return int(stable_hash(tenant), 16) % partitions


def _spans(part: Part, pane_size: int, changes: Sequence[int]) -> list[Rows]:
    """The rows cut at whole hours of event time, and where other limits come into force: never where a batch ends."""
    if not part.frame.height:
        return []
    panes = part.frame["pane"].to_numpy()[part.order]
    is_cut = np.diff(panes // SPAN) != 0
    if changes:
        is_cut |= np.diff(np.searchsorted(np.array(changes), panes, side="right")) != 0
    cuts = np.flatnonzero(is_cut) + 1
    if not cuts.size:
        return [Rows(part.frame, pane_size, part.order)]
    return [Rows(part.frame[places], pane_size) for places in np.split(part.order, cuts)]
