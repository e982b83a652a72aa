"""Call rate: an agent, a tool or a target gets far more calls than it usually does.

Judged a minute at a time over all sessions: of an agent, of a tool by whomever it is called, and of a target. Each
against the last two hours of minutes in which there was any call (pipeline/core/baseline.py). The minute judged is
never in its own baseline, and a spike is not learned from. Of tools and targets, whose shares move with the work, three
times the busiest minute is asked for, and nothing is said where the agent that makes most of the calls spikes itself:
then that was said.

rows    usage of one tenant and pane (correlate: it sees all sessions of an agent)
memory  (tenant, agent, tool or target, its name) -> Usual; about 2 kB; leaves after 24 h of silence; not more than
        4,000 of a tenant: further ones are not watched
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from pipeline.core.baseline import ABOVE_ALL, Usual
from pipeline.core.evidence import usage_reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from pipeline.core.used import Used
from schemas.resources import name_of
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MINUTE

KEEP = 24 * 60 * MINUTE
LEAST_CALLS = 30
FEW_CALLS = 20  # a minute: below, a rate is a matter of chance
ABOVE_ALL_OF_A_PART = 3.0
MOST_KEYS = 4_000
What = Literal["agent", "tool", "target"]
Key = tuple[str, What, str]


class Called(NamedTuple):
    """How often an agent, a tool or a target was called in a pane, and the agent that made most of the calls."""

    what: What
    name: str
    number: int
    agent: str | None


def fresh() -> Memory[Key, Usual]:
    """An empty memory."""
    return Memory(Usual, KEEP)


def detect(used: Used, pane: int, pane_size: int, memory: Memory[Key, Usual], limits: Limits) -> list[Signal]:
    """Add the calls of one pane; changes `memory`. Fires at most once a minute for each agent, tool and target."""
    minute, tenant = pane // MINUTE, used.tenant
    signals = []
    for called in _called(used):
        key: Key = (tenant, called.what, called.name)
        if len(memory) >= MOST_KEYS and memory.peek(key) is None:
            continue
        seen = memory.get(key, pane)
        seen.add(minute, called.number)
        if seen.is_odd:
            continue
        is_agent = called.what == "agent"
        found = seen.excess(LEAST_CALLS, FEW_CALLS, ABOVE_ALL if is_agent else ABOVE_ALL_OF_A_PART)
        if found is None or (not is_agent and _spikes(memory, tenant, called.agent, minute)):
            continue
        signals.append(_signal(tenant, called, seen.amount, *found, pane + pane_size, limits))
    return signals


def _called(used: Used) -> Iterator[Called]:
    """Agents first: who spikes must be known before what it calls is judged."""
    for agent, number in used.calls.items():
        yield Called("agent", agent, number, agent)
    parts: tuple[What, What] = ("tool", "target")
    for what in parts:
        for name, callers in used.callers("tool_name" if what == "tool" else "target").items():
            number = sum(callers.values())
            agent, most = max(callers.items(), key=lambda caller: (caller[1], caller[0]))
            yield Called(what, name, number, agent if most * 2 > number else None)


def _spikes(memory: Memory[Key, Usual], tenant: str, agent: str | None, minute: int) -> bool:
    seen = memory.peek((tenant, "agent", agent)) if agent is not None else None
    return seen is not None and seen.bucket == minute and seen.is_odd


def _signal(
    tenant: str, called: Called, amount: int, score: float, usual: float, end: int, limits: Limits
) -> Signal:  # fmt: skip
    minute = (end - 1) // MINUTE
    target = called.name if called.what == "target" else None
    of = {"agent": "", "tool": f" of {called.name}", "target": f" on {name_of(called.name)}"}[called.what]
    shows = f"{amount} calls{of} in this minute, usually {usual:.0f}"
    # an agent's spike has the id it had before tools and targets were watched
    name = () if called.what == "agent" else (called.what, called.name)
    signal_id = stable_hash(tenant, called.agent, "call_rate.spike", minute, *name)
    return Signal(
        signal_id=signal_id,
        type="call_rate.spike",
        tenant=tenant,
        agent_id=called.agent,
        resource=target,
        window_start=minute * MINUTE,
        window_end=end,
        detected_at=end,
        score=round(score, 2),
        summary=shows,
        evidence=compact_json(
            {
                "calls": amount,
                "usual": round(usual, 1),
                "of": called.what,
                "name": called.name,
                "references": [usage_reference(signal_id, end, shows)],
            }
        ),
        rule_version=limits.rule_version,
    )
