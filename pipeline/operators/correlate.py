"""Correlate: a partition of `signals.v1` in, incident revisions out. What the stage and a backtest run alike. Pure.

Three kinds of revisions come out, all decided by the log alone:
- firm ones, when every source has closed a pane. They do not depend on how sources were interleaved.
- provisional ones, from a gap record until the silent source speaks again: a copy of the state runs ahead without it,
  so that on-call is paged. The firm state waits; when it passes those panes it confirms or withdraws each of them.
- telemetry gaps: one for each silent source and each tenant. Every tenant seen so far is told, because the silent
  partition may hold anyone's events (keys are hashed): the verdicts of none of them are sure.

Where nothing is remembered and the log begins later (no snapshot can be used, old records are deleted), here or in a
worker of detect, every tenant is told so by a telemetry gap, and firm incidents whose causes may lie before the
beginning stay marked provisional (forgotten.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.limits import Limits
from pipeline.core.merge import PaneMerge
from pipeline.core.panes import NEVER, TimeRules
from pipeline.core.spent import Spent
from pipeline.correlation import build_gap
from pipeline.correlation.board import Board, Posting
from pipeline.operators.forgotten import LostMemories
from pipeline.operators.tenants import FOLLOWS, Tenants, revision_number
from schemas.errors import ConfigurationError
from schemas.incidents import Incident
from schemas.signals import Fact, Forgetting, Gap, Marker, Reduced, Row
from schemas.times import MICROS
from schemas.topics import EVENTS, TRACES
from schemas.watches import Watched

TELL_OF_CHANGES = (TRACES.name, EVENTS.name)


@dataclass(slots=True)
class Ahead:
    """An incident of which something provisional was said: up to which pane, what, and what the firm state says."""

    pane: int
    said: Incident
    firm: Incident | None

    @property
    def is_passed_by(self) -> bool:
        """Whether the firm state has said something since, which is what readers see."""
        return self.firm is not None and self.firm.revision > self.said.revision


@dataclass(slots=True)
class Silence:
    """A silent source: where its data ends (None where it has sent none), and what was said of it to whom."""

    since: int | None
    told: dict[str, Incident] = field(default_factory=dict)


class CorrelateOperator:
    """All tenants of one partition, and the merge of their sources.

    With `posts_facts` it also keeps the board of each tenant, by the firm state alone: `take_postings` hands out what
    is to be written to `facts.v1`.
    """

    def __init__(
        self,
        sources: Sequence[str],
        limits: Limits | None = None,
        rules: TimeRules | None = None,
        *,
        posts_facts: bool = False,
        spent: Spent | None = None,
    ) -> None:
        self.rules = rules or TimeRules()
        self.limits = limits or Limits()
        if self.rules.pane % MICROS:
            raise ConfigurationError(
                f"a pane of {self.rules.pane} microseconds: revision numbers need panes of whole seconds; choose one"
            )
        self._merge = PaneMerge(sources)
        self._spent = spent or Spent()
        self._firm = Tenants(self.rules, self.limits, self._spent)
        self._copy: Tenants | None = None
        self._pending: dict[str, Incident] = {}  # what the copy found and has not said
        self._furthest = NEVER  # pane up to which anything provisional was said
        self._ahead: dict[str, Ahead] = {}
        self._silences: dict[str, Silence] = {}
        self._stands_at = NEVER  # pane of the firm state that the steps are counted from
        self._step = FOLLOWS
        self._posts_facts = posts_facts
        self._boards: dict[str, Board] = {}
        self._postings: list[Posting] = []
        self._has_begun = False
        self._lost = LostMemories()

    def starts_at(self, offset: int) -> None:
        """Say where the next messages lie. Where nothing was read or restored before, what is left out is forgotten."""
        if offset > 0 and not self._has_begun:
            self._lost.lose_own(offset)
        self._has_begun = True

    @property
    def closed(self) -> Mapping[str, int]:
        """Source -> start of the last pane it closed: what `SilenceWatch.notice` asks for."""
        return self._merge.closed

    @property
    def open_incidents(self) -> int:
        """Firm ones: what runs ahead without a silent source is not counted."""
        return self._firm.open_incidents

    @property
    def held_rows(self) -> int:
        """Rows that wait for a source."""
        return self._merge.held_rows

    @property
    def is_full(self) -> bool:
        """Whether reading must pause: `held_rows` has reached `MOST_HELD_ROWS` of pipeline/core/merge.py."""
        return self._merge.is_full

    def saved(self) -> Any:
        """The whole state, for a snapshot (pipeline/operators/state.py makes bytes of it)."""
        return {
            "merge": self._merge.saved(),
            "firm": self._firm.saved(),
            "furthest": self._furthest,
            "ahead": self._ahead,
            "silences": self._silences,
            "stands_at": self._stands_at,
            "step": self._step,
            "boards": self._boards,
            "forgotten": self._lost.saved(),
        }

    def restore(self, saved: Any) -> None:
        """The other way, into an operator of the same sources that has read nothing yet.

        The copy that ran ahead is not saved: it starts again from the firm state, and says nothing until it is as far
        as it was.
        """
        self._merge.restore(saved["merge"])
        self._firm.restore(saved["firm"])
        self._furthest, self._ahead, self._silences = saved["furthest"], saved["ahead"], saved["silences"]
        self._stands_at, self._step = saved["stands_at"], saved["step"]
        self._boards = saved["boards"]
        self._lost.restore(saved["forgotten"])
        self._has_begun = True

    def use(self, limits: Limits) -> None:
        """Go by these limits: of what was judged already they must say the same."""
        if limits is self.limits:
            return
        self.limits = limits
        for tenants in (self._firm, self._copy):
            if tenants is not None:
                tenants.use(limits)

    def read(self, messages: Iterable[Reduced | Marker | Gap | Forgetting]) -> list[Incident]:
        """Take messages in log order; return the revisions they lead to."""
        out: list[Incident] = []
        for message in messages:
            if isinstance(message, Forgetting):
                self._lost.take(message, self._end_of(message.source))
                continue
            panes = self._merge.take(message)
            if self._merge.applied > NEVER:
                self._lost.find_beginning(self._newest_end)
            for pane, rows in panes:
                said = self._number(self._firm.apply(pane, rows))
                self._post(pane, rows, said)
                out += said
            # while no source is silent, what is over by time can wait for the end of the batch: its number is the same
            is_followed = self._merge.silent or self._silences or self._ahead or self._lost.is_young
            if is_followed and not isinstance(message, Reduced):
                out += self._over() + self._follow()
        return out + self._over()

    def take_postings(self) -> list[Posting]:
        """What `read` led to on `facts.v1`, in order; each is handed out once."""
        found, self._postings = self._postings, []
        return found

    def take_watched(self) -> list[Watched]:
        """The watches that `read` closed, in order; each is handed out once."""
        found, self._firm.watched = self._firm.watched, []
        return found

    def _over(self) -> list[Incident]:
        if self._merge.applied == NEVER:
            return []
        said = self._number(self._firm.advance(self._merge.applied))
        self._post(self._merge.applied + self.rules.pane, (), said)
        return said

    def _post(self, now: int, rows: Sequence[Row], said: Sequence[Incident]) -> None:
        """Keep the boards: what is over by `now`, then what the pane that begins there brings."""
        if not self._posts_facts:
            return
        for tenant in sorted(self._boards):
            self._postings += self._boards[tenant].advance(now)
        facts, incidents = defaultdict(list), defaultdict(list)
        for row in rows:
            if isinstance(row, Fact):
                facts[row.tenant].append(row)
        for incident in said:
            incidents[incident.tenant].append(incident)
        for tenant in sorted(facts.keys() | incidents.keys()):
            board = self._boards.setdefault(tenant, Board())
            self._postings += board.apply(now, facts[tenant], incidents[tenant])

    def _number(self, found: Iterable[tuple[int, Incident]]) -> list[Incident]:
        """Firm revisions, numbered by the pane in which it happened or was over."""
        out = []
        for step, incident in found:
            number = revision_number(self.rules.pane_of(incident.updated_at - 1), step)
            update = {"revision": number, "provisional": self._lost.is_unsure(incident)}
            numbered = incident.model_copy(update=update)
            if incident.incident_id in self._ahead:
                self._ahead[incident.incident_id].firm = numbered
            out.append(numbered)
        return out

    def _follow(self) -> list[Incident]:
        """What a message means beside the firm state. One number for each part that has something to say."""
        if self._stands_at != self._merge.applied:
            self._stands_at, self._step = self._merge.applied, FOLLOWS
        out: list[Incident] = []
        parts = (self._confirm, self._end_silences, self._run_ahead, self._begin_silences, self._tell_of_forgotten)
        for part in parts:
            found = part(revision_number(self._stands_at, self._step))
            out += found
            self._step += bool(found)
        return out

    def _tell_of_forgotten(self, number: int) -> list[Incident]:
        stands_at, now = self._stands_at + self.rules.pane, self._newest_end
        return self._lost.tell(self._firm.names, stands_at, now, number, self.limits.in_force(now).rule_version)

    def _confirm(self, number: int) -> list[Incident]:
        """The firm state has passed what was provisional: say again what it says, or withdraw."""
        out = []
        for name in [name for name, ahead in self._ahead.items() if ahead.pane <= self._stands_at]:
            ahead = self._ahead.pop(name)
            if ahead.firm is None:
                out.append(self._withdrawn(ahead.said, number))
            elif not ahead.is_passed_by:
                out.append(ahead.firm.model_copy(update={"revision": number}))
        return out

    def _withdrawn(self, said: Incident, number: int) -> Incident:
        return said.model_copy(
            update={
                "revision": number,
                "provisional": False,
                "status": "withdrawn",
                "updated_at": self._stands_at + self.rules.pane,
                "resolved_at": None,
                "summary": f"Withdrawn: the data that was missing tells it otherwise. {said.summary}",
            }
        )

    def _run_ahead(self, number: int) -> list[Incident]:
        """Let the copy go on as far as the sources that speak have come, and say what it finds there."""
        upto = self._merge.ahead_upto
        if upto <= self._merge.applied:
            return []
        if self._copy is None:
            self._copy = Tenants(self.rules, self.limits, self._spent, self._firm)
            self._pending.clear()
        self._copy.partitions = {topic: self._merge.silent_part(topic) for topic in TELL_OF_CHANGES}
        if upto <= self._copy.upto:
            return []
        for pane, rows in self._merge.ahead(self._copy.upto):
            self._pending |= {incident.incident_id: incident for _, incident in self._copy.apply(pane, rows)}
        self._pending |= {incident.incident_id: incident for _, incident in self._copy.advance(upto)}
        if upto < self._furthest:
            return []  # it began anew and is behind what was said: an incident must not seem to go back in time
        self._furthest = upto
        said = [self._provisional(incident, number) for incident in self._pending.values()]
        self._pending.clear()
        return [incident for incident in said if incident is not None]

    def _provisional(self, incident: Incident, number: int) -> Incident | None:
        """The revision to say; None where the same was said before."""
        pane = self.rules.pane_of(incident.updated_at - 1)
        incident = incident.model_copy(update={"revision": number, "provisional": True})
        ahead = self._ahead.get(incident.incident_id)
        if ahead is None:
            self._ahead[incident.incident_id] = Ahead(pane, incident, self._firm.said(incident))
            return incident
        ahead.pane = max(ahead.pane, pane)
        place = {"revision": number, "updated_at": incident.updated_at}
        if not ahead.is_passed_by and ahead.said.model_copy(update=place) == incident:
            return None
        ahead.said = incident
        return incident

    def _end_of(self, source: str) -> int:
        """End of the newest pane that a source has closed; NEVER where it has closed none."""
        last = self._merge.closed.get(source, NEVER)  # the marker of an unknown one is refused
        return NEVER if last == NEVER else last + self.rules.pane

    @property
    def _newest_end(self) -> int:
        """End of the newest pane of any source: the event time at which a message of this log is read."""
        return max(self._merge.closed.values()) + self.rules.pane

    def _begin_silences(self, number: int) -> list[Incident]:
        """Tell of the silent sources, every tenant once; one that the copy meets for the first time is told then."""
        out = []
        for source in sorted(self._merge.silent):
            if source not in self._silences:
                last = self._merge.closed[source]
                self._silences[source] = Silence(None if last == NEVER else last + self.rules.pane)
            silence = self._silences[source]
            for tenant in sorted((self._copy or self._firm).names - silence.told.keys()):
                version = self.limits.in_force(self._newest_end).rule_version
                begun = build_gap.begun(tenant, source, silence.since, self._newest_end, number, version)
                silence.told[tenant] = begun
                out.append(begun)
        return out

    def _end_silences(self, number: int) -> list[Incident]:
        out = []
        for source in [source for source in self._silences if source not in self._merge.silent]:
            # it ran without the rows that come now; and only a source that it ran without can move the firm state below
            self._copy = None
            silence = self._silences.pop(source)
            out += [
                build_gap.ended(begun, source, silence.since, self._newest_end, number)
                for begun in silence.told.values()
            ]
        return out
