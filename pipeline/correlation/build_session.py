"""What a case about a session or an agent says: kind, waste, verdict and the limits that were missing. Pure."""

from typing import Any

from pipeline.core.limits import Limits
from pipeline.correlation import severity
from pipeline.correlation.case import BETWEEN, Case
from schemas.incidents import (
    Attribution,
    Candidate,
    Exhaustion,
    GovernanceGap,
    Incident,
    Kind,
)
from schemas.resources import name_of
from schemas.times import MICROS, format_span

EXHAUSTING = {  # what is said of an agent, by the family of its newest signal
    "token_burn": "uses more than planned",
    "call_rate": "calls out of the ordinary",
    "stuck_tool": "waits for a tool",
    "version_regression": "got worse with its new version",
    "context_overload": "runs out of context",
}
DOES = {  # what an agent does, by the type of its loop
    "feedback_loop.retry_storm": "tries {tools}{on} again and fails",
    "feedback_loop.no_tool": "says the same and calls no tool",
    "feedback_loop.ping_pong": "hands to and fro ({tools})",
    "feedback_loop.restarted": "is restarted and repeats {tools}{on}",
    "feedback_loop.cron": "is started again and fails the same way ({tools}{on})",
    "feedback_loop.fan_out": "starts agents that start agents ({tools})",
}
SUMS = (
    "redundant_calls",
    "unplanned_tokens",
    "unplanned_input_tokens",
    "unplanned_output_tokens",
    "unplanned_cached_input_tokens",
    "unplanned_reasoning_tokens",
)


def build(case: Case, now: int, limits: Limits) -> Incident:
    """The revision of this moment of event time."""
    waste = exhaustion(case)
    kind = _kind(case)
    loop = next((case.newest[t] for t in sorted(case.newest) if t.startswith("feedback_loop.")), None)
    resource = loop.resource if loop else case.opened_by.resource
    return Incident(
        incident_id=case.incident_id,
        fingerprint=case.fingerprint,
        revision=0,  # the operator numbers it
        tenant=case.tenant,
        kind=kind,
        status=case.status,
        severity=severity.of_session(case, kind, waste),
        scope=(loop.scope if loop else None) or case.opened_by.scope,
        agent_id=case.agent_id,
        agent_version=case.agent_version,
        session_ids=tuple(sorted(case.sessions)),
        title=_title(case, kind, resource, waste),
        started_at=case.started_at,
        detected_at=case.opened_by.detected_at,
        updated_at=now,
        resolved_at=case.resolved_at,
        summary=_summary(case, waste),
        attribution=_attribution(case, resource),
        exhaustion=waste,
        governance_gaps=governance_gaps(case, limits),
        evidence=tuple(sorted(case.evidence.values(), key=lambda e: (e.event_time, e.type, e.event_id, e.shows))),
        rule_version=limits.rule_version,
        **case.life,
    )


def exhaustion(case: Case) -> Exhaustion | None:
    """The waste of all loops of the case together; None where nothing repeats."""
    if not case.loops:
        return None
    counted = _counted(case)
    ledgers = [loop["ledger"] for _, loop in counted]
    total = {name: sum(ledger[name] for ledger in ledgers) for name in SUMS}
    first_of_session: dict[str, int] = {}
    for session, loop in counted:
        needed = loop["ledger"]["needed_calls"]
        first_of_session[session] = max(first_of_session.get(session, 0), needed)
    needed = sum(first_of_session.values())
    calls = needed + total["redundant_calls"]
    return Exhaustion(
        needed_calls=needed,
        calls=calls,
        calls_percent_of_expected=round(100 * calls / max(1, needed), 1),
        wall_time_seconds=round(sum(ledger["wall_time_seconds"] for ledger in ledgers), 3),
        **total,
    )


def _counted(case: Case) -> list[tuple[str, dict[str, Any]]]:
    """(session, loop), without loops that say of the same calls what a larger one says: those count once."""
    counted: list[tuple[str, dict[str, Any]]] = []
    by_size = sorted(case.loops.items(), key=lambda item: (-item[1]["ledger"]["redundant_calls"], item[0]))
    for (session, _), loop in by_size:
        if not any(_is_within(session, loop, other, larger) for other, larger in counted):
            counted.append((session, loop))
    return counted


def _is_within(session: str, loop: dict[str, Any], other: str, larger: dict[str, Any]) -> bool:
    """Whether most of a loop's time is that of a larger one, of the same session or between agents."""
    if session != other and BETWEEN.isdisjoint([loop["type"], larger["type"]]):
        return False
    shared: int = min(loop["ended"], larger["ended"]) - max(loop["started"], larger["started"])
    length: int = loop["ended"] - loop["started"]
    return shared * 2 > length


def _kind(case: Case) -> Kind:
    families = {name.split(".")[0] for name in case.newest}
    if "feedback_loop" in families:
        return "feedback_loop"
    return "resource_exhaustion" if families & EXHAUSTING.keys() else "governance_breach"


def _title(case: Case, kind: Kind, resource: str | None, waste: Exhaustion | None) -> str:
    who = case.agent_id or "an agent"
    if kind == "feedback_loop" and waste is not None:
        loop = max(case.loops.values(), key=lambda found: (found["type"] in BETWEEN, found["repetitions"]))
        tools = ", ".join(loop["tools"][:2])
        on = f" on {name_of(resource)}" if resource else ""
        tokens = f", {tokens_text(waste.unplanned_tokens)} unplanned tokens" if waste.unplanned_tokens else ""
        does = DOES.get(loop["type"], "repeats {tools}{on}").format(tools=tools, on=on)
        rounds = "rounds" if loop["period"] > 1 else "times"
        return f"{who} {does}: {loop['repetitions']} {rounds}{tokens}"
    newest = max(case.newest.values(), key=lambda signal: (signal.detected_at, signal.signal_id))
    verb = EXHAUSTING.get(newest.family, "goes past a limit")
    return f"{who} {verb}: {newest.summary}"


def tokens_text(tokens: int) -> str:
    """`10.0 M`, `120 k` or `812`."""
    if tokens >= 1_000_000:
        return f"{tokens / 1_000_000:.1f} M"
    return f"{tokens / 1000:.0f} k" if tokens >= 10_000 else str(tokens)


def _summary(case: Case, waste: Exhaustion | None) -> str:
    parts = [signal.summary for _, signal in sorted(case.newest.items())]
    if waste is not None:
        parts.append(
            f"{waste.needed_calls} calls were needed, {waste.calls} were made "
            f"({waste.calls_percent_of_expected:.0f}% of those needed)"
        )
        lasted = format_span(round(waste.wall_time_seconds * MICROS))
        parts.append(f"{waste.unplanned_tokens:,} unplanned tokens in {lasted}")
    return ". ".join(part[:1].upper() + part[1:] for part in parts) + "."


def _attribution(case: Case, resource: str | None) -> Attribution:
    """The agent repeats itself; the more of its calls failed, the more its surroundings had a part in it."""
    errors = max((loop["error_share"] for loop in case.loops.values()), default=0.0)
    probability = round(0.95 - 0.4 * errors, 3)
    return Attribution(
        verdict="agent",
        probability=probability,
        ranked=(
            Candidate(
                kind="agent_session",
                resource=resource,
                event_id=None,
                session_id=next(iter(sorted(case.sessions)), None),
                agent_id=case.agent_id,
                event_time=case.started_at,
                probability=probability,
                factors={"error_share": errors},
                shows=case.opened_by.summary,
            ),
        ),
    )


def governance_gaps(case: Case, limits: Limits) -> tuple[GovernanceGap, ...]:
    """Which limit was missing, too wide or passed."""
    gaps = []
    agent, version = case.agent_id or "", case.agent_version
    references = tuple(sorted({item.event_id for item in case.evidence.values()})[:4])
    for loop in list(case.loops.values())[:1]:
        where = f"{', '.join(loop['tools'][:2])} repeated {loop['repetitions']} times"
        if loop["max_steps"] is None and limits.value("max_steps", case.tenant, agent, agent_version=version) is None:
            gaps.append(
                GovernanceGap(component=agent, failure_point=where, gap="step limit: none", references=references)
            )
        budget = limits.value("tokens_per_session", case.tenant, agent, agent_version=version)
        if budget is None and loop["ledger"]["unplanned_tokens"]:
            gaps.append(
                GovernanceGap(component=agent, failure_point=where, gap="token budget: none", references=references)
            )
    for _, signal in sorted(case.newest.items()):
        if gap := signal.details.get("gap"):
            cited = tuple(item["event_id"] for item in signal.details["references"])
            gaps.append(GovernanceGap(component=agent, failure_point=signal.summary, gap=gap, references=cited))
    return tuple(gaps)
