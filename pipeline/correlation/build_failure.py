"""What a case about failing resources says: cause, what the agent did not know, which approval was missing. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from pipeline.core.limits import Limits
from pipeline.correlation import candidates, severity
from pipeline.correlation.attribution import Judged, judge
from pipeline.correlation.candidates import Cause
from pipeline.correlation.case import Case, failed_names, node_failed_first, states_of, unknown_since
from pipeline.correlation.context import GAPS, context_gaps
from pipeline.correlation.factors import Effect
from pipeline.correlation.facts import Ledger, fact_evidence, is_frozen
from pipeline.correlation.topology import Topology
from schemas.incidents import BlastResource, ContextGap, Evidence, GovernanceGap, Incident
from schemas.resources import kind_of, name_of, scope_of
from schemas.signals import Action, Fact
from schemas.times import MICROS, MINUTE, format_span, format_time

FIRST_PHASE = 5 * MINUTE  # what failed this soon after the first symptom is what a cause must explain
RECON_KINDS = (
    "deployment",
    "statefulset",
    "daemonset",
    "configmap",
    "service",
    "hook",
    "job",
    "cronjob",
    "database",
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a tenant's correlate knows beside the case."""

    actions: Sequence[Action]
    changes: Sequence[Fact]
    ledger: Ledger
    topology: Topology
    limits: Limits
    unseen: float = 0.0  # how many of the sources that tell of changes are silent
    silences: tuple[str, ...] = ()  # the same in words


def build(case: Case, now: int, around: Surroundings) -> Incident:
    """The revision of this moment of event time."""
    judged = _judge(case, around)
    agents = [cause for cause in judged.responsible if cause.verdict == "agent"]
    action = next((cause.action for cause in agents if cause.action is not None), None)
    gaps = context_gaps(action, around.ledger, around.topology, around.limits) if action else ()
    is_agent = judged.attribution.verdict == "agent"
    return Incident(
        incident_id=case.incident_id,
        fingerprint=case.fingerprint,
        revision=0,  # the operator numbers it
        tenant=case.tenant,
        kind="agent_caused_failure" if is_agent else "infrastructure_failure",
        status=case.status,
        severity=severity.of_failure(case),
        scope=_scope(case, judged),
        agent_id=action.agent_id if action else None,
        agent_version=action.agent_version if action else None,
        session_ids=tuple(sorted({cause.action.session_id for cause in agents if cause.action})),
        title=_title(case, judged, around.topology),
        started_at=case.started_at,
        detected_at=case.opened_by.detected_at,
        updated_at=now,
        resolved_at=case.resolved_at,
        summary=_summary(case, judged, action, gaps, around),
        attribution=judged.attribution,
        context_gaps=gaps,
        governance_gaps=governance_gaps(action, around) if action else (),
        blast_radius=_blast_radius(case, judged, around.topology),
        evidence=_evidence(case, judged, gaps, around),
        rule_version=around.limits.rule_version,
        **case.life,
    )


def _judge(case: Case, around: Surroundings) -> Judged:
    causes = candidates.find(_effect(case, around.topology), around.actions, around.changes, around.topology)
    return judge(causes, node_failed_first=node_failed_first(case), unseen=around.unseen, silences=around.silences)


def _effect(case: Case, topology: Topology) -> Effect:
    """What a cause must explain: the first minutes, a deployment with many pods as one."""
    failed: dict[str, int] = {}
    for resource, at in sorted(case.symptoms.items()):
        if at <= case.started_at + max(FIRST_PHASE, case.blur):
            family = topology.family(resource)
            failed[family] = min(at, failed.get(family, at))
    is_slow = any("OOM" in kind for _, kind, _ in case.evidence)
    return Effect(case.started_at, failed, is_slow, case.blur)


def _scope(case: Case, judged: Judged) -> str | None:
    """The scope of the cause where it is known; else where most failed, and of equals the first."""
    if judged.responsible and judged.responsible[0].resource:
        return scope_of(judged.responsible[0].resource)
    counts: dict[str, int] = {}
    for resource in sorted(case.symptoms, key=lambda name: (case.symptoms[name], name)):
        scope = scope_of(resource)
        if scope is not None and kind_of(resource) != "node":
            counts[scope] = counts.get(scope, 0) + 1
    return max(counts, key=lambda scope: counts[scope], default=case.opened_by.scope)


def _title(case: Case, judged: Judged, topology: Topology) -> str:
    failed = failed_names(case, topology)
    if judged.responsible:
        first = judged.responsible[0]
        who = first.action.agent_id if first.action else None
        lag = case.started_at - first.event_time
        # what is measured every five minutes may have begun before the change that broke it, as far as its points say
        when = f"{format_span(lag)} after" if lag >= MICROS else "at about the time of"
        did = f"{who}: {candidates.name_action(first.action)}" if first.action else first.shows
        other = " (one of two likely causes)" if judged.attribution.verdict == "shared" else ""
        return f"{failed} failed {when} {did}{other}"
    node = next((name_of(r) for r in sorted(case.symptoms) if kind_of(r) == "node"), None)
    if node and node_failed_first(case):
        others = [
            name_of(r) for r in sorted(case.symptoms, key=lambda r: (case.symptoms[r], r)) if kind_of(r) != "node"
        ]
        return f"node {node} failed" + (f" and took {', '.join(others[:3])} with it" if others else "")
    return f"{failed} failed"


def _summary(
    case: Case, judged: Judged, action: Action | None, gaps: tuple[ContextGap, ...], around: Surroundings
) -> str:
    attribution = judged.attribution
    show = "resource shows" if len(case.symptoms) == 1 else "resources show"
    parts = [f"{len(case.symptoms)} {show} symptoms since {format_time(case.started_at)}"]
    sure = f"{attribution.probability:.0%}"
    if judged.responsible:
        first = judged.responsible[0]
        parts.append(f"verdict {attribution.verdict} ({sure}): {first.shows} at {format_time(first.event_time)}")
    elif attribution.verdict == "infrastructure":
        parts.append(f"verdict infrastructure ({sure}): no change explains it better")
    else:
        parts.append("verdict undetermined: no candidate explains it clearly better than the others")
    if around.silences:
        parts.append(f"another cause may not be in sight: {'; '.join(around.silences)}")
    if unknown := unknown_since(case):
        parts.append(f"whether it is over is not known: {unknown}")
    if action is not None and action.summary:
        parts.append(f"the agent believed: {action.summary[:200].rstrip('.')}")
    known = {fact.fact_id: fact for fact in around.ledger.facts.values()}
    missed = [gap for gap in gaps if gap.class_ in GAPS and gap.class_ != "seen_not_used"]
    for gap in missed:
        fact = known.get(gap.event_id)
        told = f", which {fact.source} would have told" if fact and fact.source else ""
        parts.append(f"it did not know of the {gap.shows}{told} ({gap.class_})")
    return ". ".join(part[:1].upper() + part[1:] for part in parts) + "."


def governance_gaps(action: Action, around: Surroundings) -> tuple[GovernanceGap, ...]:
    """Which approval, freeze or look before the change was missing or bypassed."""
    gaps = []
    what = candidates.describe_action(action)
    agent = action.agent_id
    called = (action.tenant, agent, action.tool_name, action.target, action.agent_version)
    needed = around.limits.value("needs_approval", *called)
    if action.approval in ("requested", "denied") or (needed and action.approval != "granted"):
        state = action.approval or "not asked for"
        gaps.append(
            GovernanceGap(
                component=agent,
                failure_point=f"{what} ran with its approval {state}",
                gap=f"approval: {state}, not granted",
                references=(action.span_id,),
            )
        )
    gaps += [
        GovernanceGap(
            component=agent,
            failure_point=f"{what} ran during a {fact.kind} of {name_of(fact.resource)}",
            gap=f"freeze: no check of {fact.source or fact.kind} before the change",
            references=(action.span_id, fact.fact_id),
        )
        for fact in is_frozen(action, around.ledger, around.topology)
    ]
    reads = orjson.loads(action.observed)
    looked = any(read["target"] == action.target and read["ok"] for read in reads)
    if not looked and kind_of(action.target) in RECON_KINDS:
        gaps.append(
            GovernanceGap(
                component=agent,
                failure_point=f"{what} ran without a look at its target in this session",
                gap="reconnaissance: target not read before the change",
                references=(action.span_id,),
            )
        )
    return tuple(gaps)


def _blast_radius(case: Case, judged: Judged, topology: Topology) -> tuple[BlastResource, ...]:
    centre = judged.responsible[0].resource if judged.responsible else None
    if centre is None:
        centre = min(case.symptoms, key=lambda name: (case.symptoms[name], name))
    distances = {
        resource: min(topology.path(centre, resource).hops, topology.path(resource, centre).hops)
        for resource in case.symptoms
    }
    states = states_of(case)
    return tuple(
        BlastResource(
            resource=resource, distance=distance, state=states[resource], last_at=case.newest_of.get(resource)
        )
        for resource, distance in sorted(distances.items(), key=lambda item: (item[1], item[0]))
    )


def _evidence(case: Case, judged: Judged, gaps: tuple[ContextGap, ...], around: Surroundings) -> tuple[Evidence, ...]:
    found = list(case.evidence.values())
    for cause in judged.responsible[:5]:
        found += _cause_evidence(cause, around.changes)
    facts = around.ledger.facts
    found += [fact_evidence(facts[gap.event_id], gap.shows) for gap in gaps if gap.event_id in facts]
    unique = {(item.type, item.event_id, item.shows): item for item in found}
    return tuple(sorted(unique.values(), key=lambda e: (e.event_time, e.type, e.event_id, e.shows)))


def _cause_evidence(cause: Cause, changes: Iterable[Fact]) -> list[Evidence]:
    if cause.fact is not None:
        return [_change_evidence(cause.fact)]
    action = cause.action
    if action is None:
        return []
    shown = Evidence(
        type="action",
        topic=action.topic,
        partition=action.partition,
        offset=action.offset,
        event_id=action.span_id,
        event_time=action.start_time,
        resource=action.target,
        tool_name=action.tool_name,
        shows=f"{action.agent_id}: {cause.shows} -> {action.status}",
    )
    effects = [change for change in changes if candidates.is_effect_of(change, action)]
    return [shown, *map(_change_evidence, effects)]


def _change_evidence(change: Fact) -> Evidence:
    return Evidence(
        type="change",
        topic=change.topic,
        partition=change.partition,
        offset=change.offset,
        event_id=change.fact_id,
        event_time=change.event_time,
        resource=change.resource,
        shows=candidates.describe_change(change),
    )
