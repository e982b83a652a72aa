"""Budget burn: a daily budget of `limits.yml` is used up much faster than a day lasts, as with an error budget.

The burn rate of a window is what was used in it over what an even use of the budget would be. Spending a fraction f of
the budget within a window w means a burn rate of f * day / w: 5% in 5 min is 14.4, 10% in 15 min 9.6, 25% in 2 h 3.
`token_burn.budget` opens when such a window burns, and the window a twelfth as long, which ends now, burns too: so it
ends soon after the burn does. After a step from rate b to r it opens w (T - b) / (r - b) later. One call, however
large, is no burn: there must be several, and the rest of them must burn by half as much. It is said again every two
minutes, and once a day when the budget is used up.

Each says when the budget will be used up, as an interval: what is left over the rates of the two windows, widened by
the chance in the number of calls.

rows    Usage of one tenant and pane (correlate: budgets are of agents, models, tools or the tenant)
memory  budget -> Burn; about 7 kB; leaves after two days of silence
"""

import math
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from pipeline.core.evidence import usage_reference
from pipeline.core.limits import Budget, Limits
from pipeline.core.memory import Memory
from pipeline.core.rings import Ring
from pipeline.core.used import Used
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MICROS, MINUTE, format_span
from schemas.usage import COUNTED_CALLS

DAY = 24 * 60 * MINUTE
KEEP = 2 * DAY
# (length, fraction of a day's budget, cell): 14.4, 9.6 and 3 times an even use
WINDOWS = ((5 * MINUTE, 0.05, 5 * MICROS), (15 * MINUTE, 0.10, 5 * MICROS), (120 * MINUTE, 0.25, 30 * MICROS))
SHORT = 12  # the short window is this part of the long one
LEAST_CALLS = 5
SAY_AGAIN = 2 * MINUTE
BY = ("tenant", "agent_id", "agent_version", "model", "tool_name", "target")
TOKENS, CALLS = 0, 1
NAMES = ("tokens", "calls")


@dataclass(slots=True)
class Burn:
    """What one budget was used for lately, today, and what was said of it."""

    fine: Ring = field(default_factory=lambda: Ring.of(5 * MICROS, 180, 2))
    coarse: Ring = field(default_factory=lambda: Ring.of(30 * MICROS, 240, 2))
    day: int = -1
    used: list[int] = field(default_factory=lambda: [0, 0])  # today: tokens, calls
    opened: list[int] = field(default_factory=lambda: [0, 0])  # pane in which a burn began, 0: none
    said: list[int] = field(default_factory=lambda: [0, 0])  # pane in which it was said last
    is_used_up: list[bool] = field(default_factory=lambda: [False, False])


@dataclass(frozen=True, slots=True)
class Burning:
    """A window that burns: how fast, and how many calls its short window had."""

    window: int
    rate: float
    short_rate: float
    short_calls: int


def fresh() -> Memory[str, Burn]:
    """An empty memory."""
    return Memory(Burn, KEEP)


def detect(used: Used, pane: int, pane_size: int, memory: Memory[str, Burn], limits: Limits) -> list[Signal]:
    """Add what one pane used to the budgets it counts to, and judge those; changes `memory`."""
    if not used or not limits.states("tokens_per_day", "calls_per_day"):
        return []
    is_chat = pl.col("operation") == "chat"
    tokens = pl.col("input_tokens") - pl.col("cached_input_tokens") + pl.col("output_tokens")
    sums = (
        used.table.filter(pl.col("operation").is_in(COUNTED_CALLS))
        .group_by(BY)
        .agg(pl.when(is_chat).then(tokens).otherwise(0).sum().alias("tokens"), pl.col("calls").sum())
    )
    spent: dict[Budget, list[int]] = {}
    for *names, amount, calls in sums.iter_rows():
        for budget in limits.budgets(**dict(zip(BY, names, strict=True))):
            total = spent.setdefault(budget, [0, 0])
            total[TOKENS] += amount
            total[CALLS] += calls
    signals = []
    tenant = used.tenant
    for budget in sorted(spent, key=lambda budget: (budget.key, budget.tokens or 0, budget.calls or 0)):
        burn = memory.get(budget.key, pane)
        _add(burn, pane, spent[budget])
        for thing, most in ((TOKENS, budget.tokens), (CALLS, budget.calls)):
            if most is not None:
                signals += _judge(burn, budget, thing, most, tenant, pane, pane_size, limits)
    return signals


def _add(burn: Burn, pane: int, spent: list[int]) -> None:
    if pane // DAY != burn.day:
        burn.day, burn.used, burn.is_used_up = pane // DAY, [0, 0], [False, False]
    for ring in (burn.fine, burn.coarse):
        ring.add(pane, (spent[TOKENS], spent[CALLS]))
    burn.used = [burn.used[TOKENS] + spent[TOKENS], burn.used[CALLS] + spent[CALLS]]


def _judge(
    burn: Burn, budget: Budget, thing: int, most: int, tenant: str, pane: int, pane_size: int, limits: Limits
) -> list[Signal]:
    end = pane + pane_size
    burning = next(filter(None, (_burning(burn, thing, most, *window) for window in WINDOWS)), None)
    is_news = not burn.is_used_up[thing] and burn.used[thing] > most
    burn.is_used_up[thing] |= is_news
    if burning is None:
        burn.opened[thing] = 0
        if not is_news:
            return []
        shows = f"{_who(budget)} has used up the budget of today: {burn.used[thing]:,} of {most:,} {NAMES[thing]}"
        details: dict[str, Any] = {"used_today": burn.used[thing], "budget": most}
        return [_signal(budget, thing, shows, end - pane_size, end, 1.0, details, tenant, limits)]
    if not burn.opened[thing]:
        burn.opened[thing] = pane or 1
    elif not is_news and pane - burn.said[thing] < SAY_AGAIN:
        return []
    burn.said[thing] = pane
    soonest, latest = left_for(most - burn.used[thing], most, burning)
    when = f"used up in {format_span(soonest)} to {format_span(latest)}" if latest else "used up"
    shows = (
        f"{_who(budget)} uses {NAMES[thing]} {burning.rate:.1f} times as fast as its budget lasts, for "
        f"{format_span(burning.window)}: {burn.used[thing]:,} of {most:,} today, {when}"
    )
    details = {
        "used_today": burn.used[thing],
        "budget": most,
        "burn_rate": round(burning.rate, 2),
        "short_burn_rate": round(burning.short_rate, 2),
        "window_seconds": burning.window // MICROS,
        "used_up_in_seconds": [soonest // MICROS, latest // MICROS],
    }
    return [_signal(budget, thing, shows, end - burning.window, end, burning.rate, details, tenant, limits)]


def _burning(burn: Burn, thing: int, most: int, window: int, fraction: float, cell: int) -> Burning | None:
    """Whether a window and its short one burn."""
    ring = burn.fine if cell == burn.fine.width else burn.coarse
    cells = ring.last(window)
    least = fraction * most
    used = int(cells[thing].sum())
    if used < least or cells[CALLS].sum() < LEAST_CALLS or used - cells[thing].max() < least / 2:
        return None
    short = cells[:, -(window // SHORT // cell) :]
    even = most / DAY
    rate, short_rate = used / window / even, int(short[thing].sum()) * SHORT / window / even
    threshold = fraction * DAY / window
    return Burning(window, rate, short_rate, int(short[CALLS].sum())) if short_rate >= threshold else None


def left_for(left: int, most: int, burning: Burning) -> tuple[int, int]:
    """The soonest and the latest moment at which what is left is used up, in microseconds from now; 0 where it is."""
    if left <= 0:
        return 0, 0
    chance = 1 / math.sqrt(max(2, burning.short_calls))
    fastest = max(burning.rate, burning.short_rate) * (1 + chance)
    slowest = min(burning.rate, burning.short_rate * (1 - chance))
    even = most / DAY
    return round(left / (fastest * even)), round(left / (slowest * even))


def _who(budget: Budget) -> str:
    return f"{budget.budget_of} {budget.subject}" if budget.budget_of != "agent" else budget.subject


def _signal(
    budget: Budget, thing: int, shows: str, start: int, end: int, score: float, details: dict[str, Any], tenant: str,
    limits: Limits,
) -> Signal:  # fmt: skip
    signal_id = stable_hash(tenant, budget.key, "token_burn.budget", NAMES[thing], end)
    gap = f"{NAMES[thing]} budget: {'used up' if score <= 1 else 'burns'}, nothing stopped it"
    return Signal(
        signal_id=signal_id,
        type="token_burn.budget",
        tenant=tenant,
        agent_id=budget.subject if budget.budget_of == "agent" else None,
        window_start=start,
        window_end=end,
        detected_at=end,
        score=round(score, 2),
        summary=shows,
        evidence=compact_json(
            details
            | {
                "gap": gap,
                "budget_of": budget.budget_of,
                "subject": budget.subject,
                "unit": NAMES[thing],
                "references": [usage_reference(signal_id, end, shows)],
            }
        ),
        rule_version=limits.rule_version,
    )
