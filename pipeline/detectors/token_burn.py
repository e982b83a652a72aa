"""Token burn: a session has used more tokens than `limits.yml` allows it.

A limit that is declared, not a baseline: without `tokens_per_session` for the agent this detector is silent. Tokens
are input without cache reads, plus output, of model calls; an `invoke_agent` span sums its children and is not
counted. Fires when the limit is passed, then at each doubling.

rows    AgentSpan rows of closed panes, ordered, with `pane`
memory  (tenant, session) -> Spent; under 200 bytes; leaves after 24 h of silence
"""

from dataclasses import dataclass

import polars as pl

from pipeline.core.evidence import span_reference
from pipeline.core.limits import Limits
from pipeline.core.memory import Memory
from schemas.resources import scope_of
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MINUTE

KEEP = 24 * 60 * MINUTE
SESSION = ("tenant", "session_id", "agent_id")


@dataclass(slots=True)
class Spent:
    """Tokens of a session, when it began, and the total at which it speaks next (0: at the limit)."""

    tokens: int = 0
    began: int = 0
    next_at: int = 0


def fresh() -> Memory[tuple[str, str], Spent]:
    """An empty memory."""
    return Memory(Spent, KEEP)


def detect(rows: pl.DataFrame, pane_size: int, memory: Memory[tuple[str, str], Spent], limits: Limits) -> list[Signal]:
    """Add up the model calls of these panes, session by session and pane by pane; changes `memory`."""
    if not limits.limits:
        return []
    spent = (
        rows.filter(pl.col("operation") == "chat")
        .with_columns(tokens=pl.col("input_tokens") - pl.col("cached_input_tokens") + pl.col("output_tokens"))
        .group_by("pane", *SESSION, maintain_order=True)
        .agg(
            pl.col("tokens").sum(),
            pl.col("start_time").min(),
            pl.col("event_time", "span_id", "partition", "offset", "agent_version", "root_session_id", "target").last(),
        )
    )
    signals = []
    for row in spent.iter_rows(named=True):
        limit = limits.value("tokens_per_session", row["tenant"], row["agent_id"])
        if limit is None:
            continue
        session = memory.get((row["tenant"], row["session_id"]), row["event_time"])
        session.began = session.began or row["start_time"]
        session.tokens += row["tokens"]
        threshold = session.next_at or limit
        if session.tokens <= threshold:
            continue
        while threshold < session.tokens:
            threshold *= 2
        session.next_at = threshold
        shows = f"{session.tokens:,} tokens in this session, limit {limit:,}"
        signals.append(
            Signal(
                signal_id=stable_hash(row["tenant"], row["session_id"], "token_burn.session", session.next_at),
                type="token_burn.session",
                tenant=row["tenant"],
                scope=scope_of(row["target"]),
                agent_id=row["agent_id"],
                agent_version=row["agent_version"],
                session_id=row["session_id"],
                root_session_id=row["root_session_id"],
                window_start=session.began,
                window_end=row["event_time"],
                detected_at=row["pane"] + pane_size,
                score=round(session.tokens / limit, 2),
                summary=shows,
                evidence=compact_json(
                    {"tokens": session.tokens, "limit": limit, "references": [span_reference(row, shows)]}
                ),
                rule_version=limits.rule_version,
            )
        )
    return signals
