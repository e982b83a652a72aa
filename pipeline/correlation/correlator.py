"""Correlate one tenant: signals, actions and facts in event time, incidents out. Pure.

`apply` takes one pane at a time, in order; `advance` moves time on where nothing happened. What comes out depends on
the panes alone: not on which source or partition a row came from, nor on how panes were handed over.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.core.limits import Limits
from pipeline.core.spent import Spent
from pipeline.core.used import Used
from pipeline.correlation import build_failure, build_session, life, severity
from pipeline.correlation.build_failure import Surroundings
from pipeline.correlation.candidates import CHANGES, LOOK_BACK_QUOTA, PAPER, is_effect_of
from pipeline.correlation.case import Case
from pipeline.correlation.cases import Cases
from pipeline.correlation.facts import Ledger, is_frozen
from pipeline.correlation.flare_up import has_own_cause
from pipeline.correlation.sources import Sources, unseen
from pipeline.correlation.topology import Topology
from pipeline.correlation.watches import Watches
from pipeline.detectors import (
    budget_burn,
    call_rate,
    careless_change,
    refused_calls,
    repeated_run,
    silence,
    stuck_tool,
    token_spike,
    unmatched_change,
    version_regression,
)
from schemas.incidents import Incident
from schemas.resources import kind_of
from schemas.signals import Action, Fact, Heard, Row, Signal, Usage, compact_json
from schemas.times import MINUTE
from schemas.watches import Watched

KEEP = 90 * MINUTE  # of actions and changes; what an incident is put down to stays as long as it may change
MOST_KEPT = 5_000  # actions, and changes, per tenant
# every detector that needs the usage of a tenant; the order is that in which they are saved
FROM_USAGE: tuple[Any, ...] = (
    call_rate,
    budget_burn,
    token_spike,
    refused_calls,
    silence,
    stuck_tool,
)


class Correlator:
    """What is known of one tenant. Its incidents have revision 0: the operator, which knows the log, numbers them."""

    def __init__(self, tenant: str, pane_size: int, limits: Limits, spent: Spent | None = None) -> None:
        self.tenant = tenant
        self.pane_size = pane_size
        self.limits = limits
        self.topology = Topology()
        self.ledger = Ledger()
        self._actions: list[Action] = []
        self._changes: list[Fact] = []
        self._used = [module.fresh() for module in FROM_USAGE]
        self._staged = careless_change.fresh()
        self._runs = repeated_run.fresh()
        self._versions = version_regression.fresh()
        self._unmatched = unmatched_change.fresh()
        self.cases = Cases(self.topology)
        self.said: dict[str, Incident] = {}  # incident id -> what was said last of each case
        self.watches = Watches()
        self.sources = Sources()
        self.partitions: Mapping[str, float] = {}  # topic -> the silent part; only a copy runs ahead without one
        self._watched: list[Watched] = []
        self._spent = spent or Spent()  # shared with twins and tenants

    @property
    def next_due(self) -> int | None:
        """When `advance` has something to say next; None while no case and no watch is open."""
        due = [case.due for case in self.cases.open]
        if self.watches.open:
            due.append(self.watches.due)
        return min(due, default=None)

    def take_watched(self) -> list[Watched]:
        """The watches that were closed since this was asked last."""
        found, self._watched = self._watched, []
        return found

    def twin(self) -> "Correlator":
        """A copy that lives on by itself. What is frozen (rows, incidents) is shared, so it costs little."""
        twin = copy.copy(self)
        twin.topology = copy.deepcopy(self.topology)
        twin.ledger = Ledger(dict(self.ledger.facts))
        twin._actions = list(self._actions)
        twin._changes = list(self._changes)
        twin._used = copy.deepcopy(self._used)
        twin._staged = copy.deepcopy(self._staged)
        twin._runs = copy.deepcopy(self._runs)
        twin._versions = copy.deepcopy(self._versions)
        twin._unmatched = copy.deepcopy(self._unmatched)
        twin.cases = self.cases.twin(twin.topology)
        twin.said = dict(self.said)
        twin.watches, twin._watched = self.watches.twin(), []
        twin.sources = self.sources.twin()
        return twin

    def saved(self) -> Any:
        """All that is known, for a snapshot."""
        return {
            "topology": self.topology,
            "ledger": self.ledger,
            "actions": self._actions,
            "changes": self._changes,
            "used": [memory.saved() for memory in self._used],
            "staged": self._staged.saved(),
            "runs": self._runs.saved(),
            "versions": self._versions.saved(),
            "unmatched": self._unmatched.saved(),
            "cases": self.cases.saved(),
            "said": self.said,
            "watches": self.watches,
            "sources": self.sources,
        }

    def restore(self, saved: Any) -> None:
        """The other way, into a correlator of the same tenant that has seen nothing yet."""
        self.topology, self.ledger = saved["topology"], saved["ledger"]
        self._actions, self._changes = saved["actions"], saved["changes"]
        for memory, found in zip(self._used, saved["used"], strict=True):
            memory.restore(found)
        self._staged.restore(saved["staged"])
        self._runs.restore(saved["runs"])
        self._versions.restore(saved["versions"])
        self._unmatched.restore(saved["unmatched"])
        self.cases, self.said = Cases(self.topology), saved["said"]
        self.cases.restore(saved["cases"])
        self.watches, self.sources = saved["watches"], saved["sources"]

    def apply(self, pane: int, rows: Sequence[Row]) -> list[Incident]:
        """Everything of this tenant that happened in one pane; returns the revisions it led to."""
        out = self.advance(pane)
        now = pane + self.pane_size
        self._forget(now)
        facts = sorted((row for row in rows if isinstance(row, Fact)), key=lambda f: (f.event_time, f.fact_id))
        actions = sorted((row for row in rows if isinstance(row, Action)), key=lambda a: (a.start_time, a.span_id))
        used = Used.of(row for row in rows if isinstance(row, Usage))
        signals = [row for row in rows if isinstance(row, Signal) and row.family != "failed_run"]
        failed = [row for row in rows if isinstance(row, Signal) and row.family == "failed_run"]
        self.sources.hear(pane, rows)
        for fact in facts:
            self._learn(fact)
        for action in actions:
            self.topology.see(action.target)
            self._actions.append(action)
        limits, spend = self.limits.in_force(pane), self._spent.call
        loops = [signal for signal in signals if signal.family == "feedback_loop"]
        signals += spend(
            version_regression, version_regression.detect, used, loops, pane, self.pane_size, self._versions, limits
        )
        for module, memory in zip(FROM_USAGE, self._used, strict=True):
            signals += spend(module, module.detect, used, pane, self.pane_size, memory, limits)
            if module is silence and not used and any(isinstance(row, Heard | Fact) for row in rows):
                signals += spend(silence, silence.judge, self.tenant, pane, self.pane_size, memory, limits)
        signals += spend(
            careless_change, careless_change.detect,
            actions, self._changes, self._windows, self._is_own_effect, pane, self.pane_size, self._staged, limits,
        )  # fmt: skip
        signals += spend(
            unmatched_change, unmatched_change.detect,
            (actions, facts), self._actions, self._changes, is_effect_of, pane, self.pane_size, self._unmatched, limits,
        )  # fmt: skip
        signals += spend(
            repeated_run, repeated_run.detect, failed, used.table, pane, self.pane_size, self._runs, limits
        )
        for signal in sorted(signals, key=lambda s: (s.window_start, s.window_end, s.type, s.signal_id)):
            self.cases.route(signal, now, self._is_another)
        heard = [row for row in rows if isinstance(row, Heard)]
        self._watched += self.watches.apply(now, actions, signals, heard, self.topology)
        if facts or actions or signals:
            out += self._revisions(now)
        return out

    def advance(self, now: int) -> list[Incident]:
        """Nothing happened up to `now`: resolve what is over by then, each at its own time."""
        self._watched += self.watches.advance(now, self.topology)
        out = []
        while due := [case for case in self.cases.open if case.due <= now]:
            case = min(due, key=lambda case: (case.due, case.incident_id))
            at = case.due
            life.resolve(case, at)
            out += self._revision(case, at)
        return out

    def _is_another(self, case: Case, symptoms: Sequence[Signal], since: int) -> bool:
        said = self.said.get(case.incident_id)
        return has_own_cause(symptoms, since, said, self._actions, self._changes, self.topology)

    def _windows(self, action: Action) -> list[Fact]:
        """Freezes and maintenance windows that an action ran into, unless it is the work they are for."""
        if kind_of(action.target) in PAPER:
            return []
        own = (action.session_id, action.agent_id)
        found = is_frozen(action, self.ledger, self.topology)
        return [fact for fact in found if fact.session_id != own[0] and fact.actor != own[1]]

    def _is_own_effect(self, change: Fact, action: Action) -> bool:
        """Whether a change in the cluster is what the session of this action did there before."""
        return any(
            earlier.session_id == action.session_id and is_effect_of(change, earlier) for earlier in self._actions
        )

    def _learn(self, fact: Fact) -> None:
        self.topology.see(fact.resource)
        self.ledger.add(fact)
        if fact.kind == "dependency" and fact.value:
            self.topology.add_dependency(fact.resource, fact.value)
        elif fact.kind in CHANGES:
            self._changes.append(fact)

    def _forget(self, now: int) -> None:
        oldest = now - KEEP
        self.cases.forget(now, self.pane_size)
        if len(self.said) > len(self.cases.all):
            kept = {case.incident_id for case in self.cases.all}
            self.said = {name: incident for name, incident in self.said.items() if name in kept}
        named = {cause.span_id or cause.event_id for said in self.said.values() for cause in said.attribution.ranked}
        first, last = len(self._actions) - MOST_KEPT, len(self._changes) - MOST_KEPT
        self._actions = [
            action
            for number, action in enumerate(self._actions)
            if (number >= first and action.start_time >= oldest) or action.span_id in named
        ]
        self._changes = [
            change
            for number, change in enumerate(self._changes)
            if (number >= last and change.event_time >= _oldest(change, now)) or change.fact_id in named
        ]
        self.ledger.expire(now)
        for memory in self._used:
            memory.expire(now)
        self._staged.expire(now)
        self._versions.expire(now)
        self._unmatched.expire(now)

    def _revisions(self, now: int) -> list[Incident]:
        out = []
        for case in self.cases.take_changed():
            out += self._revision(case, now)
        return out

    def _revision(self, case: Case, now: int) -> list[Incident]:
        """The incident as it stands, if it says anything new."""
        incident, before = self._built(case, now), self.said.get(case.incident_id)
        if before is not None and before.severity != incident.severity:
            life.rate(case, before.severity, incident.severity, severity.reason(case, incident), now)
            incident = incident.model_copy(update={"transitions": case.transitions})
        said = compact_json(incident.model_dump(mode="json", exclude={"revision", "updated_at"}))
        if said == case.said:
            return []
        case.said = said
        self.said[case.incident_id] = incident
        return [incident]

    def _built(self, case: Case, now: int) -> Incident:
        limits = self.limits.in_force(now - self.pane_size)
        if case.subject == "place":
            silent = self.sources.silent(case.started_at, now)
            around = Surroundings(
                self._actions, self._changes, self.ledger, self.topology, limits, *unseen(silent, self.partitions)
            )
            return build_failure.build(case, now, around)
        return build_session.build(case, now, limits)


def _oldest(change: Fact, now: int) -> int:
    return now - (LOOK_BACK_QUOTA if change.kind == "quota" else KEEP)
