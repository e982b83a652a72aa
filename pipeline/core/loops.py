"""What every signal of a feedback loop carries: the waste ledger, references, when it may be called over. Pure.

The ledger counts calls needed (up to and including the first occurrence of what is then repeated), redundant calls and
the tokens of the redundant calls by class. Never money.
"""

from dataclasses import dataclass
from typing import Any

from pipeline.core.limits import Limits
from schemas.resources import scope_of
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MICROS

TOKENS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")
SAY_AGAIN = 30 * MICROS
GROWN = 1.1  # or when the repetitions have grown by this factor: what was said last is never far off
LEAST_QUIET_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Totals:
    """Counted calls and tokens of a session up to and including one call."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A loop as it stands at one row. `calls` are those of the loop itself, for the gap between two of them."""

    kind: str  # `exact` of `feedback_loop.exact`
    first_id: str  # span of its first call: the loop's name
    started: int
    ended: int
    length: int  # grows with every repetition
    period: int
    repetitions: int
    tools: list[str]
    target: str | None
    says: str
    needed: Totals
    totals: Totals
    wasted: int  # calls wasted by earlier loops of the session
    wall_time: int
    references: list[dict[str, Any]]
    jitter: tuple[str, ...] = ()
    error_share: float = 0.0
    is_over: bool = False
    sessions: tuple[str, ...] = ()  # the newest, where the loop is not one session's


def is_news(at: int, repetitions: int, said_at: int, said_repetitions: int) -> bool:
    """Whether a loop has gone on long enough, or grown enough, to be said again."""
    return at - said_at >= SAY_AGAIN or repetitions >= said_repetitions * GROWN


def ledger_of(needed: Totals, totals: Totals, wasted: int, wall_time: int) -> dict[str, Any]:
    """What was needed and what was not, up to the last repeated call."""
    redundant = totals.calls - needed.calls
    spent = {name: getattr(totals, name) - getattr(needed, name) for name in TOKENS}
    expected = max(1, needed.calls - wasted)
    return {
        "needed_calls": expected,
        "calls": expected + redundant,
        "redundant_calls": redundant,
        "calls_percent_of_expected": round(100 * (expected + redundant) / expected, 1),
        "unplanned_tokens": spent["input_tokens"] - spent["cached_input_tokens"] + spent["output_tokens"],
        **{f"unplanned_{name}": value for name, value in spent.items()},
        "wall_time_seconds": round(wall_time / MICROS, 3),
    }


def signal_of(row: dict[str, Any], found: Found, pane_size: int, limits: Limits) -> Signal:
    """The signal of this loop, said at this row (tenant, session, agent and pane are taken from it)."""
    kind = f"feedback_loop.{found.kind}"
    gap = (found.ended - found.started) // max(1, found.length + found.period - 1)
    return Signal(
        signal_id=stable_hash(row["tenant"], row["session_id"], kind, found.first_id, found.length, found.is_over),
        type=kind,
        tenant=row["tenant"],
        scope=scope_of(found.target),
        agent_id=row["agent_id"],
        agent_version=row["agent_version"],
        session_id=row["session_id"],
        root_session_id=row["root_session_id"],
        resource=found.target,
        window_start=found.started,
        window_end=found.ended,
        detected_at=row["pane"] + pane_size,
        score=float(found.repetitions),
        severity="warning",
        summary=found.says,
        evidence=compact_json(
            {
                "period": found.period,
                "repetitions": found.repetitions,
                "tools": found.tools,
                "jitter": sorted(found.jitter),
                "error_share": round(found.error_share, 3),
                "is_over": found.is_over,
                "max_steps": row["max_steps"],
                "quiet_after_seconds": max(LEAST_QUIET_SECONDS, round(3 * gap / MICROS)),
                "ledger": ledger_of(found.needed, found.totals, found.wasted, found.wall_time),
                "references": found.references,
            }
            | ({"sessions": list(found.sessions)} if found.sessions else {})
        ),
        rule_version=limits.rule_version,
    )
