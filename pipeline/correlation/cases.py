"""The cases of one tenant: which one a signal joins, when it opens another, and which are one. Pure.

A session's signal joins the case of its session, its root or its agent; a symptom joins the case of a related place.
What happens to a case on the way is said in life.py.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.correlation import agreement, life
from pipeline.correlation.case import (
    BETWEEN,
    REOPENS_WITHIN,
    Case,
    add_session_signal,
    add_symptom,
    opened,
    pause_after,
)
from pipeline.correlation.topology import Relation, Topology, node_key
from schemas.resources import scope_of
from schemas.signals import Signal

# whether these symptoms, after a pause that began at a time, are another problem than the case
IsAnother = Callable[[Case, Sequence[Signal], int], bool]
JOINS = (Relation.SAME, Relation.OWNER, Relation.DEPENDENCY, Relation.DEPENDENT, Relation.SCOPE)


class Cases:
    """`all`: those that are open, and those resolved a short while ago; oldest first."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self.all: list[Case] = []
        self._weak: list[Signal] = []
        self._noise: dict[str, agreement.Noise] = {}  # by scope
        self._problems: dict[str, life.Problem] = {}  # by fingerprint
        self._changed: set[str] = set()  # cases that something happened to, until it is taken; empty between panes

    def twin(self, topology: Topology) -> "Cases":
        """A copy that lives on by itself, with the topology of its correlator."""
        twin = Cases(topology)
        twin.all = [_twin_of(case) for case in self.all]
        twin._weak = list(self._weak)
        twin._noise = {scope: copy.copy(noise) for scope, noise in self._noise.items()}
        twin._problems = dict(self._problems)
        return twin

    def saved(self) -> Any:
        """For a snapshot."""
        return {"all": self.all, "weak": self._weak, "noise": self._noise, "problems": self._problems}

    def restore(self, saved: Any) -> None:
        """The other way."""
        self.all, self._weak = saved["all"], saved["weak"]
        self._noise, self._problems = saved["noise"], saved["problems"]

    @property
    def open(self) -> list[Case]:
        """Those that are not over."""
        return [case for case in self.all if case.status == "open"]

    def forget(self, now: int, pane: int) -> None:
        """Drop what cannot matter any more. pane: its length, microseconds."""

        def may_wait(signal: Signal) -> bool:
            return signal.window_end >= now - pause_after(signal) - pane

        if in_vain := [signal for signal in self._weak if not may_wait(signal)]:
            for signal in in_vain:
                self._come_to_nothing(signal)
            self._weak = [signal for signal in self._weak if may_wait(signal)]
            oldest = now - agreement.FORGOTTEN
            self._noise = {scope: noise for scope, noise in self._noise.items() if noise.at >= oldest}
        self.all = [c for c in self.all if c.status == "open" or (c.resolved_at or 0) >= now - REOPENS_WITHIN]
        self._problems = life.known_still(self._problems, now)

    def take_changed(self) -> list[Case]:
        """Cases that may say something new: those of a place while open, since what is near them counts, the rest
        where a signal joined or they ended."""
        changed, self._changed = self._changed, set()
        return [
            case
            for case in self.all
            if case.incident_id in changed or (case.subject == "place" and case.status == "open")
        ]

    def route(self, signal: Signal, now: int, is_another: IsAnother) -> None:
        """Let a signal join the case that it belongs to, or open one."""
        if signal.family == "symptom":
            self._route_symptom(signal, now, is_another)
        else:
            self._route_session(signal, now)

    def _route_session(self, signal: Signal, now: int) -> None:
        """A session's signal joins the case of its session, of its root, or of its agent; else it opens one.

        What goes on between agents is one case of the delegation, whichever of them it is said of.
        """
        root = signal.root_session_id or signal.session_id
        for case in self.all:
            is_between = root in case.roots and (signal.type in BETWEEN or not BETWEEN.isdisjoint(case.newest))
            if case.subject == "place" or (case.agent_id != signal.agent_id and not is_between):
                continue
            is_same = signal.session_id is None or signal.session_id in case.sessions or root in case.roots
            if not is_same and case.sessions:
                continue
            if case.status == "resolved":
                if signal.family != "feedback_loop" or not life.may_reopen(case, now):
                    continue
                life.reopen(case, now)
            if life.is_too_old(case, now):
                self._open_session(signal, now, follows=case)
                return
            self._add_to_session(case, signal, now)
            return
        self._open_session(signal, now, follows=None)

    def _open_session(self, signal: Signal, now: int, follows: Case | None) -> None:
        case = opened("agent" if signal.session_id is None else "session", signal)
        add_session_signal(case, signal)
        self._begin(case, now, follows)
        self._close_if_over(case, now)

    def _add_to_session(self, case: Case, signal: Signal, now: int) -> None:
        self._changed.add(case.incident_id)
        add_session_signal(case, signal)
        self._close_if_over(case, now)

    def _begin(self, case: Case, now: int, follows: Case | None) -> None:
        self._problems[case.fingerprint] = life.open_case(case, self._problems, follows)
        self._changed.add(case.incident_id)
        if follows is not None:
            life.end_by(follows, case, now)
            self._changed.add(follows.incident_id)
        self.all.append(case)

    def _close_if_over(self, case: Case, now: int) -> None:
        if case.is_over and case.status == "open":
            case.last_activity = now
            life.resolve(case, now)

    def _route_symptom(self, signal: Signal, now: int, is_another: IsAnother) -> None:
        """A symptom joins the case of a related place; else it opens one, alone if strong, with others if weak.

        Cases that it is near to alike are parts of one, the oldest. The same resource failing again reopens its case.
        """
        resource = signal.resource or ""
        details = signal.details
        self._topology.see(resource)
        if details.get("node"):
            self._topology.add_dependency(resource, node_key(resource, details["node"]))
        near = [
            case
            for case in self.all
            if case.subject == "place" and case.status == "open" and self._is_near(resource, case)
        ]
        if near:
            self._join(near, signal, now, is_another)
            return
        if details.get("is_over"):
            return
        self._weak.append(signal)
        around = [other for other in self._weak if self._are_related(resource, other.resource or "")]
        if self._is_enough(around):
            self._weak.remove(signal)
            self._open_place(signal, around, now, is_another)

    def _join(self, near: list[Case], signal: Signal, now: int, is_another: IsAnother) -> None:
        case, *others = near
        is_over = bool(signal.details.get("is_over"))
        if life.is_too_old(case, now) and not is_over:
            self._begin(case := opened("place", signal), now, follows=near[0])
        if not is_over:
            for other in others:
                life.merge(other, case, now)
                self._changed.add(other.incident_id)
        add_symptom(case, signal)
        self._take_weak(case)
        if not is_over and self._is_enough(case.flare_up) and is_another(case, case.flare_up, case.paused_at):
            self._part(case, now)

    def _part(self, case: Case, now: int) -> None:
        """The newest flare-up is another problem: it goes on by itself, with what is still off of the older one."""
        first, *others = case.flare_up
        self._begin(part := opened("place", first), now, follows=case)
        for signal in (first, *others):
            add_symptom(part, signal)
        part.off, part.silent = dict(case.off), dict(case.silent)
        part.ended = case.ended & part.symptoms.keys()

    def _open_place(self, signal: Signal, around: Sequence[Signal], now: int, is_another: IsAnother) -> None:
        resource = signal.resource or ""
        ended = (case for case in reversed(self.all) if life.may_reopen(case, now))
        case = next((case for case in ended if self._failed_in(resource, case)), None)
        if case is not None and not is_another(case, around, case.newest_onset):
            life.reopen(case, now)
        else:
            self._begin(case := opened("place", signal), now, follows=None)
        add_symptom(case, signal)
        self._take_weak(case)

    def _failed_in(self, resource: str, case: Case) -> bool:
        """Whether this very resource, or one of the same owner, failed in this case."""
        same = (Relation.SAME, Relation.OWNER)
        return any(self._topology.path(resource, other).relation in same for other in case.symptoms)

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
        return self._topology.path(one, two).relation in JOINS

    def _is_enough(self, signals: Sequence[Signal]) -> bool:
        """Whether these, which are near to each other, open an incident."""
        if any(signal.details.get("is_strong") for signal in signals):
            return True
        newest = max(signals, key=lambda signal: signal.window_end, default=None)
        noise = self._noise.get(_scope(newest)) if newest else None
        expected = noise.expected(newest.window_end, pause_after(newest)) if newest and noise else 0.0
        return agreement.said_together(signals) >= agreement.needed(expected)

    def _come_to_nothing(self, signal: Signal) -> None:
        """A weak symptom that has waited in vain is noise of its scope."""
        noise = self._noise.setdefault(_scope(signal), agreement.Noise(0.0, signal.window_end, signal.window_end))
        noise.add(signal.window_end)


def _scope(signal: Signal) -> str:
    return scope_of(signal.resource or "") or ""


def _twin_of(case: Case) -> Case:
    """A copy of a case; what its collections hold is frozen, or replaced as a whole."""
    twin = copy.copy(case)
    for name in (
        "sessions",
        "roots",
        "newest",
        "loops",
        "symptoms",
        "strong",
        "off",
        "silent",
        "ended",
        "newest_of",
        "flare_up",
        "evidence",
    ):
        setattr(twin, name, copy.copy(getattr(case, name)))
    return twin
