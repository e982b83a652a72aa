"""Call rate: an agent calls far more often than it usually does.

Judged a minute at a time over all sessions of an agent, against the last two hours of minutes in which it called at all
(pipeline/core/baseline.py). The minute judged is never in its own baseline, and a spike is not learned from.

rows    usage of one tenant and pane (correlate: it sees all sessions of an agent)
memory  (tenant, agent) -> Usual; about 2 kB; leaves after 24 h of silence
"""

from pipeline.core.baseline import Usual
from pipeline.core.evidence import usage_reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from pipeline.core.used import Used
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MINUTE

KEEP = 24 * 60 * MINUTE
LEAST_CALLS = 30
FEW_CALLS = 20  # a minute: below, a rate is a matter of chance


def fresh() -> Memory[tuple[str, str], Usual]:
    """An empty memory."""
    return Memory(Usual, KEEP)


def detect(
    used: Used, pane: int, pane_size: int, memory: Memory[tuple[str, str], Usual], limits: Limits
) -> list[Signal]:
    """Add the calls of one pane, agent by agent; changes `memory`. Fires at most once a minute and agent."""
    minute, tenant = pane // MINUTE, used.tenant
    signals = []
    for agent, number in used.calls.items():
        seen = memory.get((tenant, agent), pane)
        seen.add(minute, number)
        found = None if seen.is_odd else seen.excess(LEAST_CALLS, FEW_CALLS)
        if found is None:
            continue
        score, usual = found
        shows = f"{seen.amount} calls in this minute, usually {usual:.0f}"
        signal_id = stable_hash(tenant, agent, "call_rate.spike", minute)
        signals.append(
            Signal(
                signal_id=signal_id,
                type="call_rate.spike",
                tenant=tenant,
                agent_id=agent,
                window_start=minute * MINUTE,
                window_end=pane + pane_size,
                detected_at=pane + pane_size,
                score=round(score, 2),
                summary=shows,
                evidence=compact_json(
                    {
                        "calls": seen.amount,
                        "usual": round(usual, 1),
                        "references": [usage_reference(signal_id, pane + pane_size, shows)],
                    }
                ),
                rule_version=limits.rule_version,
            )
        )
    return signals
