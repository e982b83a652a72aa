"""An incident while it is worked on: what belongs to it, when it was last active, and whether it is over.

A case is about a session (an agent that loops, burns or breaks a limit), about an agent (over its sessions) or about a
place (resources that fail). What it says to the world is built from it in build_session.py and build_failure.py.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.core.series import POINTS
from pipeline.correlation.topology import Topology
from schemas.arguments import call_in_words
from schemas.incidents import Evidence, Transition
from schemas.resources import kind_of, name_of
from schemas.signals import Signal, stable_hash
from schemas.times import MICROS, MINUTE, format_time

Subject = Literal["session", "agent", "place"]
Series = tuple[str | None, str, str | None]  # resource, metric, labels
State = Literal["off", "back", "silent", "warned"]  # of a resource, see schemas.incidents.BlastResource
QUIET = 5 * MINUTE
WAITS = 5 * MINUTE  # for other symptoms, and two of its series' own steps at least
MOST_TOGETHER = 40  # symptoms of a flare-up that are looked at
LASTS = POINTS + 4  # points: after these the detector has said what became of an anomaly
LASTS_AT_MOST = 24 * 60 * MINUTE
REOPENS_WITHIN = 15 * MINUTE
MOST_EVIDENCE = 100
# loops of several sessions or agents: one incident a delegation
BETWEEN = frozenset(["feedback_loop.ping_pong", "feedback_loop.fan_out", "feedback_loop.restarted"])
MOST_RESOURCES = 500


@dataclass(slots=True)
class Case:
    """The working state of one incident."""

    subject: Subject
    incident_id: str
    fingerprint: str
    tenant: str
    opened_by: Signal
    started_at: int
    last_activity: int
    quiet: int = QUIET
    status: Literal["open", "resolved"] = "open"
    resolved_at: int | None = None
    is_over: bool = False  # its loop has ended
    agent_id: str | None = None
    agent_version: str | None = None
    sessions: dict[str, None] = field(default_factory=dict)
    roots: set[str] = field(default_factory=set)
    newest: dict[str, Signal] = field(default_factory=dict)  # newest signal of each type
    loops: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # (session, first call) -> what is known
    symptoms: dict[str, int] = field(default_factory=dict)  # resource -> first symptom
    strong: set[str] = field(default_factory=set)  # resources with a strong symptom
    off: dict[Series, int] = field(default_factory=dict)  # series that are off -> until when that is known
    silent: dict[Series, int] = field(default_factory=dict)  # series that sent nothing any more while they were off
    ended: set[str] = field(default_factory=set)  # resources of which a metric is no longer off
    newest_of: dict[str, int] = field(default_factory=dict)  # resource -> its newest symptom
    newest_onset: int = 0  # when the last symptom was said that is not the end of one
    flare_up: list[Signal] = field(default_factory=list)  # symptoms since the last pause, if there was one
    paused_at: int = 0  # the newest symptom before it
    blur: int = 0  # by how much the first symptom may have begun earlier or later than its points say
    evidence: dict[tuple[str, str, str], Evidence] = field(default_factory=dict)
    occurrences: int = 1  # of its problem, this one included
    first_seen_at: int | None = None  # of its problem
    follows: str | None = None  # ids of incidents, see life.py
    followed_by: str | None = None
    merged_into: str | None = None
    transitions: tuple[Transition, ...] = ()
    said: str = ""  # what was emitted last, canonical

    @property
    def due(self) -> int:
        """When it is over if nothing more happens."""
        if self.is_over:
            return self.last_activity
        return max(self.last_activity + self.quiet, max(self.off.values(), default=0))

    @property
    def life(self) -> dict[str, Any]:
        """The fields of the incident that tell of its life."""
        names = ("occurrences", "follows", "followed_by", "merged_into", "transitions")
        first = self.started_at if self.first_seen_at is None else min(self.started_at, self.first_seen_at)
        return {name: getattr(self, name) for name in names} | {"first_seen_at": first}

    def absorb(self, other: "Case") -> None:
        """Take in what failed in another case about a place."""
        if other.started_at < self.started_at:
            self.started_at, self.blur = other.started_at, other.blur
        self.last_activity = max(self.last_activity, other.last_activity)
        self.newest_onset = max(self.newest_onset, other.newest_onset)
        self.newest = other.newest | self.newest
        for resource, at in sorted(other.symptoms.items(), key=lambda item: (item[1], item[0])):
            if resource in self.symptoms or len(self.symptoms) < MOST_RESOURCES:
                self.symptoms[resource] = min(at, self.symptoms.get(resource, at))
        self.strong |= other.strong & self.symptoms.keys()
        self.off = other.off | self.off
        self.silent = other.silent | self.silent
        self.ended |= other.ended
        for resource, at in other.newest_of.items():
            if resource in self.symptoms:
                self.newest_of[resource] = max(at, self.newest_of.get(resource, at))
        for key, item in other.evidence.items():
            if key not in self.evidence and len(self.evidence) < MOST_EVIDENCE:
                self.evidence[key] = item


def opened(subject: Subject, signal: Signal) -> Case:
    """A new case; its id depends on the tenant and the signal alone."""
    return Case(
        subject=subject,
        incident_id=stable_hash("incident", signal.tenant, signal.signal_id),
        fingerprint=fingerprint(subject, signal),
        tenant=signal.tenant,
        opened_by=signal,
        started_at=signal.window_start,
        last_activity=signal.detected_at,
        agent_id=signal.agent_id,
        agent_version=signal.agent_version,
    )


def fingerprint(subject: Subject, signal: Signal) -> str:
    """The same for the same problem again: no ids of sessions or pods, no times."""
    details = signal.details
    what = details.get("tools") or details.get("reason") or details.get("metric") or signal.family
    where = signal.resource if subject != "place" else f"{signal.scope}/{kind_of(signal.resource)}"
    return stable_hash("problem", signal.tenant, subject, signal.agent_id, where, what)


def add_session_signal(case: Case, signal: Signal) -> None:
    """A loop, burn, rate or governance signal joins."""
    details = signal.details
    case.newest[signal.type] = signal
    if signal.family == "feedback_loop" and not case.loops:
        case.started_at = signal.window_start  # a burn that spoke first began with the session, not with the loop
    elif signal.family == "feedback_loop" or not case.loops:
        case.started_at = min(case.started_at, signal.window_start)
    case.last_activity = max(case.last_activity, signal.detected_at)
    if signal.session_id is not None:
        case.sessions[signal.session_id] = None
        case.roots.add(signal.root_session_id or signal.session_id)
    case.sessions |= dict.fromkeys(details.get("sessions", ()))
    case.agent_version = signal.agent_version or case.agent_version
    if signal.family == "feedback_loop":
        first = details["references"][0]["event_id"]
        whose = (signal.root_session_id if signal.type in BETWEEN else None) or signal.session_id or ""
        seen = {"type": signal.type, "started": signal.window_start, "ended": signal.window_end}
        case.loops[whose, first] = details | seen
        case.is_over = details["is_over"] and all(loop["is_over"] for loop in case.loops.values())
        case.quiet = max(case.quiet, details["quiet_after_seconds"] * MICROS)
    add_evidence(case, signal)


def add_symptom(case: Case, signal: Signal) -> None:
    """A symptom joins: the resource belongs to what failed."""
    details = signal.details
    case.newest[signal.type] = signal
    case.last_activity = max(case.last_activity, signal.detected_at)
    resource = signal.resource or ""
    if "metric" in details:
        series = (signal.resource, details["metric"], details["labels"])
        case.silent.pop(series, None)
        if details["is_over"]:
            case.off.pop(series, None)
            case.ended.add(resource)
            if details.get("is_silent"):
                case.silent[series] = signal.window_start
        else:
            case.off[series] = signal.detected_at + min(LASTS_AT_MOST, LASTS * spacing_of(signal))
    if not details.get("is_over") and len(case.symptoms) < MOST_RESOURCES:
        _follow(case, signal)
        if signal.window_start <= case.started_at:
            case.started_at, case.blur = signal.window_start, spacing_of(signal)
        case.symptoms[resource] = min(case.symptoms.get(resource, signal.window_start), signal.window_start)
        case.newest_of[resource] = max(case.newest_of.get(resource, signal.window_end), signal.window_end)
        if details.get("is_strong"):
            case.strong.add(resource)
    add_evidence(case, signal)


def states_of(case: Case) -> dict[str, State]:
    """How each resource with a symptom is doing, for all that is known."""
    off, silent = ({resource for resource, _, _ in series} for series in (case.off, case.silent))
    return {
        resource: "off"
        if resource in off
        else "silent"
        if resource in silent
        else "back"
        if resource in case.ended
        else "warned"
        for resource in case.symptoms
    }


def _follow(case: Case, signal: Signal) -> None:
    """Symptoms that come one after the other are one flare-up; after a pause begins the next."""
    if case.newest_onset and signal.detected_at - case.newest_onset > pause_after(signal):
        case.flare_up, case.paused_at = [], case.newest_onset
    if case.paused_at and len(case.flare_up) < MOST_TOGETHER:
        case.flare_up.append(signal)
    case.newest_onset = max(case.newest_onset, signal.detected_at)


def pause_after(signal: Signal) -> int:
    """How long a symptom waits for others: what comes every five minutes can't be there sooner."""
    return max(WAITS, 2 * spacing_of(signal))


def spacing_of(signal: Signal) -> int:
    """Microseconds between the points of the series a symptom is of; 0 for one that is no series."""
    return round(float(signal.details.get("spacing_seconds", 0)) * MICROS)


def add_evidence(case: Case, signal: Signal) -> None:
    """Keep references, bounded: of one resource and kind of signal the first and the newest stay.

    A call is told in words from here on, not sooner: what redacts a signal knows secrets by their names in the JSON.
    """
    details = signal.details
    about = details.get("reason") or details.get("metric")
    over = "/over" if details.get("is_over") else ""
    for number, told in enumerate(details.get("references", ())):
        item = told | {"shows": call_in_words(told["shows"], told.get("resource"))}
        subject = item.get("resource") or signal.session_id or ""
        kind = f"{signal.type}/{about or number}{over}"
        key = (subject, kind, "first")
        if key in case.evidence and case.evidence[key].event_id != item["event_id"]:
            key = (subject, kind, "newest")
        elif any((e.event_id, e.shows) == (item["event_id"], item["shows"]) for e in case.evidence.values()):
            continue
        if key not in case.evidence and len(case.evidence) >= MOST_EVIDENCE:
            _make_room(case, key)
        if key in case.evidence or len(case.evidence) < MOST_EVIDENCE:
            case.evidence[key] = Evidence(**item)


def _make_room(case: Case, wanted: tuple[str, str, str]) -> None:
    """What began is worth more than that it is over, and what began first more than what came last: that goes."""
    worth = _worth(wanted)
    least = min(case.evidence, key=_worth)  # of equals the oldest
    if _worth(least) < worth:
        del case.evidence[least]


def _worth(key: tuple[str, str, str]) -> int:
    return 0 if key[1].endswith("/over") else 1 if key[2] == "newest" else 2


def node_failed_first(case: Case) -> bool:
    """Whether a node had a symptom no later than a minute after the first of the others."""
    nodes = [at for resource, at in case.symptoms.items() if kind_of(resource) == "node"]
    others = [at for resource, at in case.symptoms.items() if kind_of(resource) != "node"]
    return bool(nodes) and min(nodes) <= min(others, default=min(nodes)) + MINUTE


def unknown_since(case: Case) -> str:
    """The metrics that were off when they fell silent, for a sentence; empty where none is."""
    if not case.silent:
        return ""
    off = sorted({f"{metric} of {name_of(resource or '')}" for resource, metric, _ in case.silent})
    shown = ", ".join(off[:3]) + (f" and {len(off) - 3} more" if len(off) > 3 else "")
    return f"{shown} sent nothing any more, the first since {format_time(min(case.silent.values()))}"


def failed_names(case: Case, topology: Topology) -> str:
    """What failed, for a title: owners rather than pods, first symptom first: `cart-db, cart and 3 more`."""
    names: dict[str, None] = {}
    for resource, _ in sorted(case.symptoms.items(), key=lambda item: (item[1], item[0])):
        names[name_of(topology.family(resource))] = None
    shown = list(names)
    if len(shown) > 3:
        shown = [*shown[:3], f"{len(shown) - 3} more"]
    return ", ".join(shown[:-1]) + f" and {shown[-1]}" if len(shown) > 1 else "".join(shown)
