"""Token burn: a session has used more tokens than `limits.yml` allows it.

A limit that is declared, not a baseline: without `tokens_per_session` for the agent this detector is silent. Tokens
are input without cache reads, plus output, of model calls; an `invoke_agent` span sums its children and is not
counted. Fires when the limit is passed, then at each doubling.

memory  24 bytes a live session
"""

import polars as pl

from pipeline.core.evidence import span_reference
from pipeline.core.limits import Limits
from pipeline.core.rows import Rows
from pipeline.core.sessions import Columns, SessionIndex
from schemas.resources import scope_of
from schemas.signals import Signal, compact_json, stable_hash

AGENT = ("tenant", "agent_id", "agent_version")
SESSION = ("tenant", "session_id", "agent_id", "agent_version")


def fresh(index: SessionIndex) -> Columns:
    """An empty memory: tokens of a session, when it began, and the total at which it speaks next (0: at the limit)."""
    memory = Columns(tokens=("int64", 0), began=("int64", 0), next_at=("int64", 0))
    index.attach(memory)
    return memory


def detect(rows: Rows, memory: Columns, limits: Limits) -> list[Signal]:
    """Add up the model calls of these panes, session by session and pane by pane; changes `memory`."""
    if not limits.limits or not len(rows):
        return []
    agents = rows.frame.select(*AGENT).unique(maintain_order=True).rows()
    limited = {
        (tenant, agent, version): limits.value("tokens_per_session", tenant, agent, agent_version=version)
        for tenant, agent, version in agents
    }
    limited = {agent: limit for agent, limit in limited.items() if limit is not None}
    if not limited:
        return []
    is_chat = rows.equals("operation", "chat") & rows.equals("agent_id", *(agent for _, agent, _ in limited))
    spent = (
        rows.frame.with_columns(pl.Series("slot", rows.slots))
        .filter(pl.Series(is_chat))
        .with_columns(tokens=pl.col("input_tokens") - pl.col("cached_input_tokens") + pl.col("output_tokens"))
        .group_by("pane", "slot", *SESSION, maintain_order=True)
        .agg(
            pl.col("tokens").sum(),
            pl.col("start_time").min(),
            pl.col("event_time", "span_id", "partition", "offset", "root_session_id", "target").last(),
        )
    )
    signals = []
    for row in spent.iter_rows(named=True):
        limit = limited.get((row["tenant"], row["agent_id"], row["agent_version"]))
        if limit is None:
            continue
        slot = row["slot"]
        if not memory["began"][slot]:
            memory["began"][slot] = row["start_time"]
        memory["tokens"][slot] += row["tokens"]
        tokens, threshold = int(memory["tokens"][slot]), int(memory["next_at"][slot]) or limit
        if tokens <= threshold:
            continue
        while threshold < tokens:
            threshold *= 2
        memory["next_at"][slot] = threshold
        shows = f"{tokens:,} tokens in this session, limit {limit:,}"
        signals.append(
            Signal(
                signal_id=stable_hash(row["tenant"], row["session_id"], "token_burn.session", threshold),
                type="token_burn.session",
                tenant=row["tenant"],
                scope=scope_of(row["target"]),
                agent_id=row["agent_id"],
                agent_version=row["agent_version"],
                session_id=row["session_id"],
                root_session_id=row["root_session_id"],
                window_start=int(memory["began"][slot]),
                window_end=row["event_time"],
                detected_at=row["pane"] + rows.pane_size,
                score=round(tokens / limit, 2),
                summary=shows,
                evidence=compact_json(
                    {
                        "gap": "token budget: passed, nothing stopped the session",
                        "tokens": tokens,
                        "limit": limit,
                        "references": [span_reference(row, shows)],
                    }
                ),
                rule_version=limits.rule_version,
            )
        )
    return signals
