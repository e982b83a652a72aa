"""Token spike: an agent without a budget uses far more tokens than it usually does.

Judged five minutes at a time for each agent and type of task, over all its sessions, against the last 120 stretches in
which it used any, on a log scale (pipeline/core/baseline.py): a perfectly steady agent that explodes is found, tasks
that differ ten times in what they need are not. Each stretch is compared by what it would be at an hour of the week
like any other (pipeline/core/seasons.py), which takes weeks to learn: a report every Monday is no spike for ever, and a
night that is as busy as a day is one. The stretch judged is never in its own baseline, and one out of the ordinary is
not learned. Tokens are input without cache reads, plus output, of model calls. An agent that has a budget of its own is
judged by that (budget_burn.py).

rows    usage of one tenant and pane (correlate)
memory  (tenant, agent, type of task) -> Spending; 2 kB, and in the course of a month 25 kB more; leaves after two weeks
        of silence
"""

from dataclasses import dataclass, field

from pipeline.core.baseline import Usual
from pipeline.core.evidence import usage_reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from pipeline.core.seasons import Season
from pipeline.core.used import Used
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MINUTE

STRETCH = 5 * MINUTE
KEEP = 15 * 24 * 60 * MINUTE
LEAST_TOKENS = 30_000
Key = tuple[str, str, str | None]


@dataclass(slots=True)
class Spending:
    """What a key used in the stretches before, and at which hours it uses more."""

    usual: Usual = field(default_factory=Usual)
    season: Season = field(default_factory=Season)

    def add(self, pane: int, tokens: int) -> None:
        """Add to the stretch at hand; what was used in the one before is learned when another begins."""
        stretch, usual = pane // STRETCH, self.usual
        factor = usual.factor
        if stretch != usual.bucket:
            if usual.bucket >= 0:
                self.season.add(usual.bucket * STRETCH, usual.amount)
            self.season.add(pane, 0)
            factor = self.season.factor(pane)
        usual.add(stretch, tokens, factor)


def fresh() -> Memory[Key, Spending]:
    """An empty memory."""
    return Memory(Spending, KEEP)


def detect(used: Used, pane: int, pane_size: int, memory: Memory[Key, Spending], limits: Limits) -> list[Signal]:
    """Add the tokens of one pane; changes `memory`. Fires at most once a stretch and key."""
    sums: dict[tuple[str, str | None], int] = {}
    for spent in used.by_agent:
        if spent.chats:
            key = spent.agent_id, spent.task_type
            sums[key] = sums.get(key, 0) + spent.tokens
    tenant, end = used.tenant, pane + pane_size
    signals = []
    for (agent, task), number in sums.items():
        spending = memory.get((tenant, agent, task), pane)
        spending.add(pane, number)
        seen = spending.usual
        found = None if seen.is_odd or _has_budget(limits, tenant, agent) else seen.excess(LEAST_TOKENS)
        if found is None:
            continue
        score, usual = found
        of_task = f" for {task}" if task else ""
        shows = f"{seen.amount:,} tokens in 5 min{of_task}, usually {usual:,.0f}"
        signal_id = stable_hash(tenant, agent, task, "token_burn.baseline", pane // STRETCH)
        signals.append(
            Signal(
                signal_id=signal_id,
                type="token_burn.baseline",
                tenant=tenant,
                agent_id=agent,
                window_start=pane // STRETCH * STRETCH,
                window_end=end,
                detected_at=end,
                score=round(score, 2),
                summary=shows,
                evidence=compact_json(
                    {
                        "gap": "token budget: none",
                        "tokens": seen.amount,
                        "usual": round(usual),
                        "references": [usage_reference(signal_id, end, shows)],
                    }
                ),
                rule_version=limits.rule_version,
            )
        )
    return signals


def _has_budget(limits: Limits, tenant: str, agent: str) -> bool:
    if not limits.states("tokens_per_day"):
        return False
    call = dict.fromkeys(("agent_version", "model", "tool_name", "target"))
    found = limits.budgets(tenant=tenant, agent_id=agent, **call)
    return any(budget.budget_of == "agent" and budget.tokens is not None for budget in found)
