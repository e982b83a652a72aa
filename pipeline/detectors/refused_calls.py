"""Refused calls: a provider refuses an agent, or a fleet, for its rate or its quota; or all that is tried fails.

A refusal is an error whose type says so (429, rate limit, quota, throttled). An agent is refused when eight calls in
two minutes were, and half of its model calls, or ten in five, and 60%; or when six in a row were, over five minutes,
without one success between: from outside the end of a quota looks like that, few retries and no spike. Of any other
error twelve model calls in a row are asked for. When three agents fail in a row at the same time it is one thing: the
fleet, told of earlier and once; agents that are refused and give up count from the first of them on. Said again every
two minutes while it lasts.

rows    usage of one tenant and pane (correlate)
memory  (tenant, agent) -> Refusals; about 700 bytes; leaves after a day of silence
"""

from dataclasses import dataclass, field

from pipeline.core.evidence import usage_reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from pipeline.core.rings import Ring
from pipeline.core.used import Used
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MICROS, MINUTE, format_span

KEEP = 24 * 60 * MINUTE
WINDOW = 5 * MINUTE
REFUSED = ((2 * MINUTE, 8, 0.5), (WINDOW, 10, 0.6))  # in this time so many, and this share of the calls
IN_A_ROW, FAILED_IN_A_ROW = 6, 12
FLEET, FLEET_IN_A_ROW, FLEET_FOR = 3, 3, 2 * MINUTE
SAY_AGAIN = 2 * MINUTE
Key = tuple[str, str]  # tenant, agent; "" for the fleet


@dataclass(slots=True)
class Refusals:
    """Model calls of an agent lately, and those that failed since it last had a success."""

    ring: Ring = field(default_factory=lambda: Ring.of(30 * MICROS, 10, 2))  # calls, refused
    began: int = 0  # of the failures in a row, 0: the last call was a success
    failed: int = 0
    refused: int = 0
    last: int = 0  # pane of the last failure
    opened: int = 0  # 0: nothing was said
    said: int = 0


def fresh() -> Memory[Key, Refusals]:
    """An empty memory."""
    return Memory(Refusals, KEEP)


def detect(used: Used, pane: int, pane_size: int, memory: Memory[Key, Refusals], limits: Limits) -> list[Signal]:
    """Add the calls of one pane, then judge who failed in it; changes `memory`."""
    sums: dict[str, list[int]] = {}
    for spent in used.by_agent:
        # tools fail for many reasons: only refusals of theirs count
        failed, refused = spent.failed_chats + spent.refused_tools, spent.refused_chats + spent.refused_tools
        own = (spent.chats + spent.refused_tools, failed, refused, spent.chats - spent.failed_chats)
        known = sums.setdefault(spent.agent_id, [0, 0, 0, 0])
        sums[spent.agent_id] = [sum(pair) for pair in zip(known, own, strict=True)]
    tenant = used.tenant
    signals = []
    fleet: list[str] | None = None
    for agent, (calls, failed, refused, worked) in sums.items():
        if not calls:
            continue
        seen = memory.get((tenant, agent), pane)
        _add(seen, pane, calls, failed, refused, worked)
        if not failed:
            continue
        if fleet is None:
            fleet = _failing_together(memory, pane)
        whole = memory.get((tenant, ""), pane)
        if len(fleet) >= FLEET:
            if _is_news(whole, pane):
                signals.append(_signal(tenant, fleet, whole, memory, pane + pane_size, limits))
        elif not whole.opened or pane - whole.said > WINDOW:
            whole.opened = 0
            if _is_refused(seen, pane) and _is_news(seen, pane):
                signals.append(_signal(tenant, [agent], seen, memory, pane + pane_size, limits))
    return signals


def _add(seen: Refusals, pane: int, calls: int, failed: int, refused: int, worked: int) -> None:
    seen.ring.add(pane, (calls, refused))
    if worked:
        seen.began = seen.failed = seen.refused = 0
    if failed:
        seen.began = seen.began or pane
        seen.failed, seen.refused, seen.last = seen.failed + failed, seen.refused + refused, pane


def _is_refused(seen: Refusals, pane: int) -> bool:
    for window, least, share in REFUSED:
        calls, refused = seen.ring.last(window).sum(axis=1).tolist()
        if refused >= least and refused >= share * calls:
            return True
    has_lasted = bool(seen.began) and pane - seen.began >= WINDOW
    return has_lasted and (seen.refused >= IN_A_ROW or seen.failed >= FAILED_IN_A_ROW)


def _failing_together(memory: Memory[Key, Refusals], pane: int) -> list[str]:
    """Agents whose calls still fail in a row: for a while, each by itself or, if refused, one after the other."""
    failing = [
        (agent, seen)
        for (_, agent), seen in memory.items()
        if agent and seen.failed >= FLEET_IN_A_ROW and seen.last >= pane - WINDOW
    ]
    refused = [seen for _, seen in failing if seen.refused >= FLEET_IN_A_ROW]
    have_lasted = bool(refused) and max(s.last for s in refused) - min(s.began for s in refused) >= FLEET_FOR
    return sorted(
        agent
        for agent, seen in failing
        if seen.last - seen.began >= FLEET_FOR or (have_lasted and seen.refused >= FLEET_IN_A_ROW)
    )


def _is_news(seen: Refusals, pane: int) -> bool:
    if seen.opened and pane - seen.said > WINDOW:
        seen.opened = 0
    if seen.opened and pane - seen.said < SAY_AGAIN:
        return False
    seen.opened = seen.opened or pane
    seen.said = pane
    return True


def _signal(
    tenant: str, agents: list[str], seen: Refusals, memory: Memory[Key, Refusals], end: int, limits: Limits
) -> Signal:
    parts = [found for agent in agents if (found := memory.peek((tenant, agent))) is not None]
    began = min((part.began for part in parts if part.began), default=end)
    calls, refused = sum(part.ring.last(WINDOW).sum(axis=1) for part in parts).tolist()
    failed = sum(part.failed for part in parts)
    names = ", ".join(agents[:3]) + (" ..." if len(agents) > 3 else "")
    who = names if len(agents) == 1 else f"{len(agents)} agents ({names})"
    if all(part.began for part in parts) and end - began >= FLEET_FOR:
        refused = sum(part.refused for part in parts)
        is_quota = refused * 2 >= failed
        why = "refused for their rate or quota" if is_quota else "failed"
        shows = f"{who}: {failed} calls {why}, none has worked for {format_span(end - began)}"
    else:
        is_quota, began = True, end - WINDOW
        shows = f"{who}: {refused} of {calls} calls in {format_span(WINDOW)} refused for their rate or quota"
    name = "throttled" if is_quota else "no_success"
    signal_id = stable_hash(tenant, agents[0] if len(agents) == 1 else "", f"call_rate.{name}", seen.said)
    return Signal(
        signal_id=signal_id,
        type=f"call_rate.{name}",
        tenant=tenant,
        agent_id=agents[0] if len(agents) == 1 else None,
        window_start=began,
        window_end=end,
        detected_at=end,
        score=float(max(failed, refused)),
        summary=shows,
        evidence=compact_json(
            {
                "agents": agents[:20],
                "refused": refused,
                "failed": failed,
                "references": [usage_reference(signal_id, end, shows)],
            }
        ),
        rule_version=limits.rule_version,
    )
