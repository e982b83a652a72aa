"""Correlate one tenant: signals, actions and facts in event time, incidents out. Pure.

`apply` takes one pane at a time, in order; `advance` moves time on where nothing happened. What comes out depends on
the panes alone: not on which source or partition a row came from, nor on how panes were handed over.
"""

import copy
from collections.abc import Sequence
from typing import Any

from pipeline.core.limits import Limits
from pipeline.core.used import Used
from pipeline.correlation import build_failure, build_session
from pipeline.correlation.build_failure import Surroundings
from pipeline.correlation.candidates import CHANGES, LOOK_BACK_QUOTA, PAPER, is_effect_of
from pipeline.correlation.case import (
    BETWEEN,
    REOPENS_WITHIN,
    Case,
    add_session_signal,
    add_symptom,
    opened,
)
from pipeline.correlation.facts import Ledger, is_frozen
from pipeline.correlation.topology import Relation, Topology, node_key
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
from schemas.resources import kind_of, scope_of
from schemas.signals import Action, Fact, Row, Signal, Usage, compact_json
from schemas.times import MINUTE

KEEP = 90 * MINUTE  # of actions and changes
WEAK_FOR = 5 * MINUTE  # how long a weak symptom waits for another
LEAST_WEAK = 3  # weak Kubernetes warnings, or series that jumped, that open an incident together
MOST_KEPT = 5_000  # actions, and changes, per tenant
# every detector that needs the usage of a tenant; the order is that in which they are saved
FROM_USAGE: tuple[Any, ...] = (
    call_rate,
    budget_burn,
    token_spike,
    refused_calls,
    silence,
    stuck_tool,
    version_regression,
)
JOINS = (Relation.SAME, Relation.OWNER, Relation.DEPENDENCY, Relation.DEPENDENT, Relation.SCOPE)


class Correlator:
    """What is known of one tenant. Its incidents have revision 0: the operator, which knows the log, numbers them."""

    def __init__(self, tenant: str, pane_size: int, limits: Limits) -> None:
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
        self._unmatched = unmatched_change.fresh()
        self._weak: list[Signal] = []
        self.cases: list[Case] = []  # open, and resolved a short while ago; oldest first
        self.said: dict[str, Incident] = {}  # incident id -> what was said last of each case

    @property
    def next_due(self) -> int | None:
        """When `advance` has something to say next; None while no case is open."""
        return min((case.due for case in self.cases if case.status == "open"), default=None)

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
        twin._unmatched = copy.deepcopy(self._unmatched)
        twin._weak = list(self._weak)
        twin.cases = [_twin_of(case) for case in self.cases]
        twin.said = dict(self.said)
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
            "unmatched": self._unmatched.saved(),
            "weak": self._weak,
            "cases": self.cases,
            "said": self.said,
        }

    def restore(self, saved: Any) -> None:
        """The other way, into a correlator of the same tenant that has seen nothing yet."""
        self.topology, self.ledger = saved["topology"], saved["ledger"]
        self._actions, self._changes, self._weak = saved["actions"], saved["changes"], saved["weak"]
        for memory, found in zip(self._used, saved["used"], strict=True):
            memory.restore(found)
        self._staged.restore(saved["staged"])
        self._runs.restore(saved["runs"])
        self._unmatched.restore(saved["unmatched"])
        self.cases, self.said = saved["cases"], saved["said"]

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
        for fact in facts:
            self._learn(fact)
        for action in actions:
            self.topology.see(action.target)
            self._actions.append(action)
        limits = self.limits.in_force(pane)
        for module, memory in zip(FROM_USAGE, self._used, strict=True):
            signals += module.detect(used, pane, self.pane_size, memory, limits)
        signals += careless_change.detect(
            actions, self._changes, self._windows, self._is_own_effect, pane, self.pane_size, self._staged, limits
        )
        signals += unmatched_change.detect(
            (actions, facts), self._actions, self._changes, is_effect_of, pane, self.pane_size, self._unmatched, limits
        )
        signals += repeated_run.detect(failed, used.table, pane, self.pane_size, self._runs, limits)
        for signal in sorted(signals, key=lambda s: (s.window_start, s.window_end, s.type, s.signal_id)):
            self._route(signal, now)
        if facts or actions or signals:
            out += self._revisions(now)
        return out

    def advance(self, now: int) -> list[Incident]:
        """Nothing happened up to `now`: resolve what is over by then, each at its own time."""
        out = []
        while due := [case for case in self.cases if case.status == "open" and case.due <= now]:
            case = min(due, key=lambda case: (case.due, case.incident_id))
            at = case.due
            case.status, case.resolved_at = "resolved", at
            out += self._revision(case, at)
        return out

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
        self._actions = [action for action in self._actions if action.start_time >= oldest][-MOST_KEPT:]
        self._changes = [change for change in self._changes if change.event_time >= _oldest(change, now)][-MOST_KEPT:]
        self._weak = [signal for signal in self._weak if signal.window_end >= now - WEAK_FOR]
        self.cases = [c for c in self.cases if c.status == "open" or (c.resolved_at or 0) >= now - REOPENS_WITHIN]
        if len(self.said) > len(self.cases):
            kept = {case.incident_id for case in self.cases}
            self.said = {name: incident for name, incident in self.said.items() if name in kept}
        self.ledger.expire(now)
        for memory in self._used:
            memory.expire(now)
        self._staged.expire(now)
        self._unmatched.expire(now)

    def _route(self, signal: Signal, now: int) -> None:
        if signal.family == "symptom":
            self._route_symptom(signal)
        else:
            self._route_session(signal, now)

    def _route_session(self, signal: Signal, now: int) -> None:
        """A session's signal joins the case of its session, of its root, or of its agent; else it opens one.

        What goes on between agents is one case of the delegation, whichever of them it is said of.
        """
        root = signal.root_session_id or signal.session_id
        for case in self.cases:
            is_between = root in case.roots and (signal.type in BETWEEN or not BETWEEN.isdisjoint(case.newest))
            if case.subject == "place" or (case.agent_id != signal.agent_id and not is_between):
                continue
            is_same = signal.session_id is None or signal.session_id in case.sessions or root in case.roots
            if not is_same and case.sessions:
                continue
            if case.status == "resolved":
                if signal.family != "feedback_loop" or (case.resolved_at or 0) < now - REOPENS_WITHIN:
                    continue
                case.status, case.resolved_at, case.is_over = "open", None, False
            add_session_signal(case, signal)
            self._close_if_over(case, now)
            return
        case = opened("agent" if signal.session_id is None else "session", signal)
        add_session_signal(case, signal)
        self.cases.append(case)
        self._close_if_over(case, now)

    def _close_if_over(self, case: Case, now: int) -> None:
        if case.is_over and case.status == "open":
            case.last_activity = now
            case.status, case.resolved_at = "resolved", now

    def _route_symptom(self, signal: Signal) -> None:
        """A symptom joins the case of a related place; else it opens one, alone if strong, with others if weak."""
        resource = signal.resource or ""
        details = signal.details
        self.topology.see(resource)
        if details.get("node"):
            self.topology.add_dependency(resource, node_key(resource, details["node"]))
        for case in self.cases:
            if case.subject == "place" and case.status == "open" and self._is_near(resource, case):
                add_symptom(case, signal)
                self._take_weak(case)
                return
        if details.get("is_over"):
            return
        self._weak.append(signal)
        near = [other for other in self._weak if self._are_related(resource, other.resource or "")]
        if details.get("is_strong") or _distinct(near) >= LEAST_WEAK:
            case = opened("place", signal)
            self.cases.append(case)
            add_symptom(case, signal)
            self._weak.remove(signal)
            self._take_weak(case)

    def _take_weak(self, case: Case) -> None:
        """Weak symptoms that waited join a case that is now near to them."""
        waiting = self._weak
        self._weak = []
        for signal in waiting:
            if self._is_near(signal.resource or "", case):
                add_symptom(case, signal)
            else:
                self._weak.append(signal)

    def _is_near(self, resource: str, case: Case) -> bool:
        scope = scope_of(resource)
        return any(scope is not None and scope_of(other) == scope for other in case.symptoms) or any(
            self._are_related(resource, other) for other in case.symptoms
        )

    def _are_related(self, one: str, two: str) -> bool:
        return self.topology.path(one, two).relation in JOINS

    def _revisions(self, now: int) -> list[Incident]:
        out = []
        for case in self.cases:
            if case.status == "open" or case.resolved_at == now:
                out += self._revision(case, now)
        return out

    def _revision(self, case: Case, now: int) -> list[Incident]:
        """The incident as it stands, if it says anything new."""
        limits = self.limits.in_force(now - self.pane_size)
        if case.subject == "place":
            around = Surroundings(self._actions, self._changes, self.ledger, self.topology, limits)
            incident = build_failure.build(case, now, around)
        else:
            incident = build_session.build(case, now, limits)
        said = compact_json(incident.model_dump(mode="json", exclude={"revision", "updated_at"}))
        if said == case.said:
            return []
        case.said = said
        self.said[case.incident_id] = incident
        return [incident]


def _oldest(change: Fact, now: int) -> int:
    return now - (LOOK_BACK_QUOTA if change.kind == "quota" else KEEP)


def _distinct(signals: Sequence[Signal]) -> int:
    return len({(signal.resource, signal.details.get("metric") or signal.details.get("reason")) for signal in signals})


def _twin_of(case: Case) -> Case:
    """A copy of a case; what its collections hold is frozen, or replaced as a whole."""
    twin = copy.copy(case)
    for name in ("sessions", "roots", "newest", "loops", "symptoms", "strong", "open_series", "evidence"):
        setattr(twin, name, copy.copy(getattr(case, name)))
    return twin
