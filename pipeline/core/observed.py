"""What a session had observed before it acted: its reads, whether its context was cut since, and its approvals.

Every Action carries this, bounded, so that correlate can say what the agent did not know.

rows    AgentSpan rows of closed panes, ordered, with `pane`
memory  (tenant, session) -> Observed: the newest 32 different reads; about 2 kB; leaves after 24 h of silence
"""

from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl

from pipeline.core.memory import Memory
from schemas.signals import Action, compact_json
from schemas.times import MINUTE

KEEP = 24 * 60 * MINUTE
MOST_READS = 32
MOST_FACTS = 64
ACTING = ("write", "destructive", "provision")


@dataclass(slots=True)
class Observed:
    """What is remembered of one session."""

    reads: dict[tuple[str | None, str | None], dict[str, Any]] = field(default_factory=dict)
    facts: dict[str, None] = field(default_factory=dict)  # event_ids it says it had read, in order
    cut_at: int | None = None
    context_tokens: int | None = None
    last_chat: str | None = None
    approval: tuple[str, str | None] | None = None  # granted or denied by an approval span, and by whom


def fresh() -> Memory[tuple[str, str], Observed]:
    """An empty memory."""
    return Memory(Observed, KEEP)


def actions_of(rows: pl.DataFrame, memory: Memory[tuple[str, str], Observed], *, late: bool = False) -> list[Action]:
    """The actions among these rows, each with what its session had observed before it began; changes `memory`.

    Late rows only become actions: they teach the session nothing.
    """
    actions = []
    acts = pl.col("access").is_in(ACTING) & pl.col("operation").is_in(("execute_tool", "handoff", "retrieval"))
    relevant = rows.filter(pl.col("operation").is_in(("execute_tool", "retrieval", "approval", "chat", "handoff")))
    for row in (relevant.filter(acts) if late else relevant).iter_rows(named=True):
        session = memory.get((row["tenant"], row["session_id"]), row["event_time"])
        _learn_facts(row["context_facts"], session)
        if row["access"] in ACTING and row["operation"] not in ("chat", "approval"):
            actions.append(_action(row, session, late=late))
        elif row["operation"] == "chat":
            _learn_chat(row, session)
        elif row["operation"] == "approval":
            if row["approval"] in ("granted", "denied"):
                session.approval = (row["approval"], row["approved_by"])
        else:
            _learn_read(row, session)
    return actions


def _learn_read(row: dict[str, Any], session: Observed) -> None:
    key = (row["tool_name"], row["target"])
    session.reads.pop(key, None)
    session.reads[key] = {
        "tool": row["tool_name"],
        "target": row["target"],
        "read_at": row["event_time"],
        "ok": row["status"] == "ok",
        "span_id": row["span_id"],
    }
    while len(session.reads) > MOST_READS:
        del session.reads[next(iter(session.reads))]


def _learn_chat(row: dict[str, Any], session: Observed) -> None:
    before, now = session.context_tokens, row["context_tokens"]
    fell = before is not None and now is not None and now * 2 < before
    if row["finish_reason"] == "length" or fell or _says_compacted(row["attributes"]):
        session.cut_at = row["event_time"]
    session.context_tokens = now if now is not None else before
    session.last_chat = row["span_id"]


def _says_compacted(attributes: str | None) -> bool:
    if not attributes or "context.compacted" not in attributes:
        return False
    try:
        found = orjson.loads(attributes)
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and found.get("context.compacted") in (True, "true")


def _learn_facts(text: str | None, session: Observed) -> None:
    if not text:
        return
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return
    for item in found if isinstance(found, list) else []:
        event_id = item.get("event_id") if isinstance(item, dict) else item
        if isinstance(event_id, str):
            session.facts[event_id] = None
    while len(session.facts) > MOST_FACTS:
        del session.facts[next(iter(session.facts))]


def _action(row: dict[str, Any], session: Observed, *, late: bool) -> Action:
    approval, approved_by = row["approval"], row["approved_by"]
    if approval in (None, "requested") and session.approval is not None:
        approval, approved_by = session.approval[0], approved_by or session.approval[1]
        session.approval = None  # one approval, one action
    reads = [read for read in session.reads.values() if read["read_at"] <= row["start_time"]]
    return Action(
        tenant=row["tenant"],
        trace_id=row["trace_id"],
        span_id=row["span_id"],
        session_id=row["session_id"],
        root_session_id=row["root_session_id"],
        agent_id=row["agent_id"],
        agent_version=row["agent_version"],
        task_type=row["task_type"],
        requested_by=row["requested_by"],
        operation=row["operation"],
        tool_name=row["tool_name"],
        tool_args=row["tool_args"],
        access=row["access"],
        target=row["target"],
        start_time=row["start_time"],
        end_time=row["event_time"],
        status=row["status"],
        approval=approval,
        approved_by=approved_by,
        summary=row["summary"],
        observed=compact_json(reads),
        context_facts=compact_json(list(session.facts)),
        cut_at=session.cut_at,
        last_chat_span_id=session.last_chat,
        late=late,
        topic="agent.traces.v1",
        partition=row["partition"],
        offset=row["offset"],
    )
