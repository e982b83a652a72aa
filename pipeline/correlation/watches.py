"""Watches: every write of an agent is followed for ten minutes, on all that it may reach. Pure.

Watched are the target, what depends on it, and what it depends on (load reaches that), two steps each way. It closes
    regressed        as soon as something there fails that had not failed in the ten minutes before the write
    clean            after ten minutes, where nothing new failed and at least half of them were heard of to the end
    not_enough_data  after ten minutes, where so few were heard of that silence proves nothing
It says what followed, not what caused it: that is for attribution.py, which weighs all candidates.

A resource that was failing before the write cannot tell, and is left out. Heard of is what sends metrics (Heard): of
one that speaks only in events nobody can tell that it is well. They say what does not run; that it answers slowly, or
with errors, raises none. So where only events cover a target its writes may close as regressed, and never as clean.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pipeline.correlation.factors import SHOWS
from pipeline.correlation.topology import Topology
from schemas.resources import kind_of, name_of
from schemas.signals import Action, Heard, Signal
from schemas.times import MINUTE, format_span
from schemas.watches import Ending, Watched

LENGTH = (
    10 * MINUTE
)  # what a change breaks it breaks within eight minutes as a rule (factors.USUAL), and a jump shows late
HEARD_WITHIN = 5 * MINUTE  # before the end: what fell silent in the first half may lie there broken
ENOUGH = 0.5  # the part of what is watched that must have been heard of
LEAST_WEAK = 2  # different weak symptoms: an incident needs three anywhere near, a watch knows when and where to look
KEEP = 3 * LENGTH  # of symptoms: what came before a write, the watch, and lateness
MOST_SYMPTOMS = 2_000  # per tenant; of more the newest
MOST_OPEN = 2_000  # writes per tenant; of more the oldest close at once
MOST_HEARD = 20_000  # resources per tenant; of more those silent for longest go, a quarter at a time
MOST_WATCHED = 500  # resources of one write, in the order of their names
NEVER_DUE = 1 << 62


@dataclass(frozen=True, slots=True)
class Symptom:
    """What a watch keeps of a symptom. family: the resource that owns it; about: its metric or reason."""

    family: str
    resource: str
    about: str
    began: int
    is_strong: bool
    event_id: str
    shows: str


@dataclass(slots=True)
class Watches:
    """The open watches of one tenant, the symptoms that may decide them, and what was heard of when."""

    open: dict[str, Action] = field(default_factory=dict)  # by span id, in the order in which they were opened
    symptoms: list[Symptom] = field(default_factory=list)
    heard: dict[str, int] = field(
        default_factory=dict
    )  # family -> start of the newest pane that named it, to the minute
    due: int = NEVER_DUE  # when a watch is over next

    def twin(self) -> "Watches":
        """A copy that lives on by itself; what it holds is frozen."""
        return Watches(dict(self.open), list(self.symptoms), dict(self.heard), self.due)

    def apply(
        self, now: int, actions: Sequence[Action], signals: Iterable[Signal], heard: Iterable[Heard], topology: Topology
    ) -> list[Watched]:
        """What happened in the pane that ends at `now`; returns the watches that close by it."""
        for row in heard:
            for resource in row.names:
                family = topology.family(resource)
                self.heard[family] = max(row.pane, self.heard.get(family, 0))
        symptoms = [_symptom(signal, topology) for signal in signals if _is_onset(signal)]
        self.symptoms = sorted(
            (one for one in [*self.symptoms, *symptoms] if one.began >= now - KEEP),
            key=lambda one: (one.began, one.resource, one.about, one.event_id),
        )[-MOST_SYMPTOMS:]
        self.open |= {action.span_id: action for action in actions}
        self.due = min([self.due, *map(_ends, actions)])
        places = Places(topology)
        surplus = list(self.open.values())[: max(0, len(self.open) - MOST_OPEN)]
        closed = [self._close(action, now, places.downstream(action.target)) for action in surplus]
        closed += self._regressed(now, {action.span_id for action in actions}, {one.family for one in symptoms}, places)
        self._forget()
        return closed

    def _regressed(self, now: int, came: set[str], hit: set[str], places: "Places") -> list[Watched]:
        """Those that what is new decides: symptoms near an open write, or a write that came late."""
        if not self.symptoms:
            return []
        closed = []
        for action in [action for name, action in self.open.items() if hit or name in came]:
            downstream = places.downstream(action.target)
            if (action.span_id in came or not hit.isdisjoint(downstream)) and self._new(action, downstream):
                closed.append(self._close(action, now, downstream))
        return closed

    def advance(self, now: int, topology: Topology) -> list[Watched]:
        """Nothing more happens up to `now`: close what is over by then."""
        if now < self.due:
            return []
        over = sorted(
            (action for action in self.open.values() if _ends(action) <= now), key=lambda a: (_ends(a), a.span_id)
        )
        places = Places(topology)
        closed = [self._close(action, _ends(action), places.downstream(action.target)) for action in over]
        self.due = min(map(_ends, self.open.values()), default=NEVER_DUE)
        return closed

    def _new(self, action: Action, downstream: Sequence[str]) -> list[Symptom]:
        """Symptoms after the write, of what did not fail before it, if there are enough of them to say so."""
        watched = frozenset(downstream)
        near = [one for one in self.symptoms if one.family in watched]
        failing = _failing(action, near)
        new = [one for one in near if action.start_time < one.began <= _ends(action) and one.family not in failing]
        is_enough = any(one.is_strong for one in new) or len({(one.resource, one.about) for one in new}) >= LEAST_WEAK
        return new if is_enough else []

    def _close(self, action: Action, at: int, downstream: Sequence[str]) -> Watched:
        del self.open[action.span_id]
        failing = _failing(action, self.symptoms)
        new = self._new(action, downstream)
        speaking = {one for one in downstream if self.heard.get(one, 0) >= min(at, _ends(action)) - HEARD_WITHIN}
        watched = [one for one in downstream if kind_of(one) in SHOWS or one in speaking]
        able = [one for one in watched if one not in failing]
        heard = sum(one in speaking for one in able)
        outcome, shows = _ending(action, new, len(watched), len(able), heard, is_whole=at >= _ends(action))
        return Watched(
            tenant=action.tenant,
            span_id=action.span_id,
            session_id=action.session_id,
            agent_id=action.agent_id,
            agent_version=action.agent_version,
            tool_name=action.tool_name,
            target=action.target,
            began_at=action.start_time,
            closed_at=at,
            outcome=outcome,
            resources=len(watched),
            heard=heard,
            shows=shows,
            symptom_id=new[0].event_id if new else None,
            symptom_resource=new[0].resource if new else None,
            symptom_at=new[0].began if new else None,
            topic=action.topic,
            partition=action.partition,
            offset=action.offset,
        )

    def _forget(self) -> None:
        if len(self.heard) > MOST_HEARD:
            newest = sorted(self.heard, key=lambda name: (-self.heard[name], name))[: MOST_HEARD * 3 // 4]
            self.heard = {name: self.heard[name] for name in newest}


def _ending(
    action: Action, new: Sequence[Symptom], watched: int, able: int, heard: int, *, is_whole: bool
) -> tuple[Ending, str]:
    """The outcome and why. able: how many of those that are watched were not failing before."""
    if new:
        return (
            "regressed",
            f"{_names(new)} failed {format_span(new[0].began - action.start_time)} after: {new[0].shows}",
        )
    if not is_whole:
        return "not_enough_data", f"more than {MOST_OPEN} writes are watched at once: closed before its time"
    if not watched:
        return "not_enough_data", "nothing that could show a symptom is known to be near the target"
    if not able:
        return "not_enough_data", "all that is near was failing before the write"
    spoke = f"{heard} of {able} {'resource' if able == 1 else 'resources'} sent metrics to the end"
    if not heard or heard < ENOUGH * able:
        return "not_enough_data", f"{spoke}: silence proves nothing"
    return "clean", f"nothing new failed within {format_span(LENGTH)}; {spoke}"


def _ends(action: Action) -> int:
    return action.end_time + LENGTH


class Places:
    """What is near each target, asked once: many writes of a pane are to the same few."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._found: dict[str, list[str]] = {}

    def downstream(self, target: str | None) -> list[str]:
        """The families that are watched after a write to this target, in the order of their names."""
        if target is None:
            return []
        if target not in self._found:
            topology = self._topology
            near = {topology.family(target)} | topology.dependencies(target) | topology.dependents(target)
            self._found[target] = sorted({topology.family(resource) for resource in near})[:MOST_WATCHED]
        return self._found[target]


def _failing(action: Action, symptoms: Iterable[Symptom]) -> set[str]:
    """Families with a symptom in the time before the write."""
    return {one.family for one in symptoms if action.start_time - LENGTH <= one.began <= action.start_time}


def _is_onset(signal: Signal) -> bool:
    return signal.family == "symptom" and signal.resource is not None and not signal.details.get("is_over")


def _symptom(signal: Signal, topology: Topology) -> Symptom:
    details = signal.details
    resource = signal.resource or ""
    topology.see(resource)
    return Symptom(
        family=topology.family(resource),
        resource=resource,
        about=details.get("metric") or details.get("reason") or signal.type,
        began=signal.window_start,
        is_strong=bool(details.get("is_strong")),
        event_id=details["references"][0]["event_id"],
        shows=signal.summary,
    )


def _names(new: Sequence[Symptom]) -> str:
    others = len({one.family for one in new}) - 1
    return name_of(new[0].family) + (f" and {others} more" if others else "")
