"""Which limit would have stopped it: the catalogue of limits, replayed over sessions as the raw tables tell them. Pure.

A limit looks at one session and names the first span that it would not have let begin. What came from there on
would not have happened, as far as can be told: an agent that is stopped may do something else. The limits are replayed
over healthy sessions too, because a limit that stops those is no remedy.

    step limit       more than so many steps
    repeat cap       a call again that was made so often before: same tool, target and arguments but for ids and times
    token budget     more than so many tokens (input without cache reads, plus output)
    reconnaissance   a change of a workload or a configuration that the session had not read before
    approval         a change without an approval that was granted
    freeze check     a change while a freeze or maintenance window holds for its target, or for what that needs
    canary           a change of a workload to everything at once, with no part tried before
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import orjson

from pipeline.core.arguments import share_of
from pipeline.core.sameness import JITTER_NAMES, NONCE
from pipeline.correlation.build_failure import RECON_KINDS
from pipeline.correlation.candidates import PAPER
from pipeline.correlation.facts import Ledger
from pipeline.correlation.topology import Topology
from schemas.incidents import Incident
from schemas.resources import kind_of, name_of
from schemas.signals import Fact, compact_json
from schemas.whatif import Healthy, Outcome, Stop, WhatIf

CHANGING = ("write", "destructive", "provision")
STEPS = ("chat", "execute_tool", "retrieval", "handoff")
STAGED_KINDS = ("deployment", "statefulset", "daemonset", "service", "flag")  # what can be changed in part


@dataclass(frozen=True, slots=True)
class Span:
    """What the limits look at. `arguments` is empty where they are not known."""

    session_id: str
    agent_id: str
    span_id: str
    began: int
    ended: int
    operation: str
    tool: str
    target: str
    arguments: str
    access: str
    status: str
    approval: str
    step: int | None
    tokens: int

    @property
    def is_change(self) -> bool:
        """Whether it changes anything but paper."""
        return self.access in CHANGING and kind_of(self.target or None) not in PAPER

    @property
    def shows(self) -> str:
        """`kubernetes.scale on deployment/cart`."""
        on = f" on {kind_of(self.target)}/{name_of(self.target)}" if self.target else ""
        return f"{self.tool or self.operation}{on}"


@dataclass(frozen=True, slots=True)
class Values:
    """What the limits with a number are set to."""

    steps: int = 50
    repeats: int = 5
    tokens: int = 1_000_000


@dataclass(slots=True)
class Known:
    """What was in force around the sessions: freezes, maintenance windows, who depends on whom."""

    ledger: Ledger = field(default_factory=Ledger)
    topology: Topology = field(default_factory=Topology)

    @classmethod
    def of(cls, facts: Iterable[Fact]) -> "Known":
        """From the facts of a tenant, in any order."""
        known = cls()
        for fact in sorted(facts, key=lambda fact: (fact.event_time, fact.fact_id)):
            known.topology.see(fact.resource)
            if fact.kind == "dependency" and fact.value:
                known.topology.add_dependency(fact.resource, fact.value)
            elif fact.kind in ("freeze", "maintenance"):
                known.ledger.add(fact)
        return known


def fact_of(tenant: str, row: Mapping[str, Any]) -> Fact:
    """A row of sinks/clickhouse/whatif.py; empty text stands for null there."""
    return Fact(
        tenant=tenant,
        fact_id=row["fact_id"],
        kind=row["kind"],
        resource=row["resource"],
        event_time=row["happened"],
        published_time=row["published"],
        valid_from=row["begins"],
        valid_until=row["ends"],
        value=row["value"] or None,
        source=row["source"] or None,
        actor=row["actor"] or None,
        session_id=row["session_id"] or None,
        message=row["message"] or None,
    )


def span_of(row: Mapping[str, Any]) -> Span:
    """A row of sinks/clickhouse/whatif.py."""
    return Span(**{name: row[name] for name in Span.__slots__ if name != "arguments"}, arguments=_arguments(row))


def _arguments(row: Mapping[str, Any]) -> str:
    """The arguments without ids and times, the same text for the same call."""
    try:
        given = orjson.loads(row["tool_args"]) if row["tool_args"] else None
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        return str(row["args_digest"] or row["tool_args"])
    return compact_json(
        {
            name: value
            for name, value in given.items()
            if name.lower() not in JITTER_NAMES and not (isinstance(value, str) and NONCE.match(value))
        }
    )


Check = Callable[[Sequence[Span], Values, Known], Span | None]


def _step_limit(spans: Sequence[Span], values: Values, _: Known) -> Span | None:
    return next((span for number, span in _numbered(spans) if number > values.steps), None)


def _numbered(spans: Sequence[Span]) -> Iterable[tuple[int, Span]]:
    """Steps with their numbers: the span's own, else which one of the session it is."""
    steps = [span for span in spans if span.operation in STEPS]
    return [(span.step if span.step is not None else number, span) for number, span in enumerate(steps, 1)]


def _repeat_cap(spans: Sequence[Span], values: Values, _: Known) -> Span | None:
    made: Counter[tuple[str, str, str]] = Counter()
    for span in spans:
        if span.operation != "execute_tool" or not span.arguments:
            continue
        call = (span.tool, span.target, span.arguments)
        made[call] += 1
        if made[call] > values.repeats:
            return span
    return None


def _token_budget(spans: Sequence[Span], values: Values, _: Known) -> Span | None:
    used = 0
    for ended in sorted(spans, key=attrgetter("ended", "span_id")):
        used += ended.tokens
        if used > values.tokens:
            return next((span for span in spans if span.began >= ended.ended), None)
    return None


def _reconnaissance(spans: Sequence[Span], _: Values, __: Known) -> Span | None:
    read: dict[str, int] = {}  # target -> when a look at it first had an answer
    for span in spans:
        if span.access == "read" and span.status == "ok" and span.target:
            read[span.target] = min(span.ended, read.get(span.target, span.ended))
    return next(
        (
            span
            for span in spans
            if span.is_change and kind_of(span.target) in RECON_KINDS and read.get(span.target, span.ended) > span.began
        ),
        None,
    )


def _approval(spans: Sequence[Span], _: Values, __: Known) -> Span | None:
    granted: set[str] = set()  # targets, by a span of its own before the change
    for span in spans:
        if span.operation == "approval" and span.approval == "granted":
            granted.add(span.target)
        elif span.is_change and span.approval != "granted" and span.target not in granted:
            return span
    return None


def _freeze_check(spans: Sequence[Span], _: Values, known: Known) -> Span | None:
    return next((span for span in spans if span.is_change and span.target and _is_frozen(span, known)), None)


def _is_frozen(span: Span, known: Known) -> bool:
    """By a window that could be read when it acted, and that is not for its own work."""
    return any(
        fact.published_time <= span.began and fact.session_id != span.session_id and fact.actor != span.agent_id
        for fact in known.ledger.about(span.target, span.began, known.topology)
    )


def _canary(spans: Sequence[Span], _: Values, __: Known) -> Span | None:
    tried: set[str] = set()
    for span in spans:
        if not span.is_change or kind_of(span.target) not in STAGED_KINDS:
            continue
        share = share_of(span.arguments)
        if share is not None and share < 100:
            tried.add(span.target)
        elif span.target not in tried:
            return span
    return None


def catalogue(values: Values) -> tuple[tuple[str, Check], ...]:
    """The limits in the order of the table, with their values in the name."""
    return (
        (f"step limit of {values.steps}", _step_limit),
        (f"repeat cap of {values.repeats}", _repeat_cap),
        (f"token budget of {values.tokens:,}", _token_budget),
        ("reconnaissance before write", _reconnaissance),
        ("approval", _approval),
        ("freeze check", _freeze_check),
        ("canary", _canary),
    )


def by_session(spans: Iterable[Span]) -> list[list[Span]]:
    """The spans of each session, in the order in which they began."""
    found: dict[str, list[Span]] = {}
    for span in sorted(spans, key=attrgetter("began", "ended", "span_id")):
        found.setdefault(span.session_id, []).append(span)
    return [found[name] for name in sorted(found)]


def what_if(
    incident: Incident,
    sessions: Sequence[Sequence[Span]],
    healthy: Sequence[Sequence[Span]],
    known: Known,
    values: Values,
    days: int,
) -> WhatIf:
    """Every limit over the incident's sessions, and over the healthy ones."""
    return WhatIf(
        incident_id=incident.incident_id,
        kind=incident.kind,
        title=incident.title,
        agent_id=incident.agent_id,
        sessions=len(sessions),
        of=len(incident.session_ids),
        days=days,
        outcomes=tuple(
            _outcome(name, check, incident, sessions, healthy, known, values) for name, check in catalogue(values)
        ),
    )


def _outcome(
    name: str,
    check: Check,
    incident: Incident,
    sessions: Sequence[Sequence[Span]],
    healthy: Sequence[Sequence[Span]],
    known: Known,
    values: Values,
) -> Outcome:
    stops = [(span, session) for session in sessions if (span := check(session, values, known)) is not None]
    stopped = [session for session in healthy if check(session, values, known) is not None]
    return Outcome(
        limit=name,
        stop=_stop(stops) if stops else None,
        is_in_time=any(_is_in_time(span, session, incident) for span, session in stops),
        healthy=Healthy(sessions=len(healthy), stopped=len(stopped)),
        healthy_of_agent=Healthy(
            sessions=sum(session[0].agent_id == incident.agent_id for session in healthy),
            stopped=sum(session[0].agent_id == incident.agent_id for session in stopped),
        ),
    )


def _stop(stops: Sequence[tuple[Span, Sequence[Span]]]) -> Stop:
    first, session = min(stops, key=lambda stop: (stop[0].began, stop[0].span_id))
    avoided = [span for stop, spans in stops for span in spans if span.began >= stop.began]
    numbers = {span.span_id: number for number, span in _numbered(session)}
    return Stop(
        at=first.began,
        session_id=first.session_id,
        agent_id=first.agent_id,
        span_id=first.span_id,
        step=numbers.get(first.span_id, 0),
        shows=first.shows,
        calls_avoided=sum(span.operation == "execute_tool" for span in avoided),
        tokens_avoided=sum(span.tokens for span in avoided),
    )


def _is_in_time(stop: Span, session: Sequence[Span], incident: Incident) -> bool:
    """Before the action that did the damage, where there is one; else any stop spares what comes after it."""
    ranked = incident.attribution.ranked
    cause = ranked[0] if incident.blast_radius and ranked else None
    if cause is None or cause.span_id is None:
        return True
    return any(span.span_id == cause.span_id and stop.began <= span.began for span in session)
