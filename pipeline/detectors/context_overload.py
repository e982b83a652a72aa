"""Context overload: what an agent has in mind is near the most its model takes, or it acts on half an answer.

`context_overload.near_limit`  the context has reached 80% of the limit, and again at 95%; with its growth a call, and
                               the calls that are left. Said anew only after the context has been cut.
`context_overload.cut_off`     an answer was cut off (finish_reason length) while the context was that full
`context_overload.acted`       a change was made on the strength of an answer that was cut off

The limit is the span's own, else that of `limits.yml`, else what is known of the model; without one nothing is near it.
An answer that is cut off far from the limit has met a cap on its length, and is no signal of its own.

memory  300 bytes for each agent of a session whose context is more than half full; 16 bytes a session otherwise
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.core.evidence import action_reference, span_reference
from pipeline.core.limits import Limits
from pipeline.core.models import context_of
from pipeline.core.rows import Rows, asked
from pipeline.core.sessions import BySlot, SessionIndex, Slots
from schemas.resources import scope_of
from schemas.signals import Action, Signal, compact_json, stable_hash

WATCHED = 0.5
LEVELS = (0.8, 0.95)
CALLED = ("tenant", "agent_id", "agent_version", "model")  # as limits are asked for
ROW = (
    "tenant", "session_id", "root_session_id", "agent_id", "agent_version", "target", "event_time", "span_id",
    "partition", "offset", "pane",
)  # fmt: skip
Said = tuple[str, str, int, dict[str, Any]]  # last part of the type, what it shows, since when, details


@dataclass(slots=True)
class Fill:
    """The context of one agent since it was last cut, from when it was first watched."""

    first: int
    began: int
    calls: int
    context: int
    said: int = 0  # of LEVELS


class Memory:
    """What is remembered of sessions whose context is rather full, and of answers that were cut off."""

    def __init__(self, index: SessionIndex) -> None:
        self.fills: BySlot = BySlot()  # slot -> {agent: Fill}
        self.cut: BySlot = BySlot()  # slot -> span of the last answer that was cut off
        index.attach(self.fills)
        index.attach(self.cut)


def fresh(index: SessionIndex) -> Memory:
    """An empty memory."""
    return Memory(index)


def detect(rows: Rows, memory: Memory, limits: Limits) -> list[Signal]:
    """Judge the model calls of contexts that are rather full, and the changes after answers that were cut off."""
    if not len(rows):
        return []
    signals = _fills(rows, memory, limits)
    return signals + _acted(rows, memory, limits)


def _fills(rows: Rows, memory: Memory, limits: Limits) -> list[Signal]:
    tokens = rows.ints("context_tokens")
    places = np.flatnonzero(rows.equals("operation", "chat") & (tokens > 0) & rows.equals("status", "ok"))
    if not places.size:
        return []
    most = _limits(rows, places, limits)
    share = tokens[places] / np.maximum(most, 1)
    # fuller than full: the limit is not this model's
    is_full = (most > 0) & (share >= WATCHED) & (share <= 1.02)
    slots = rows.slots[places]
    watched = np.concatenate([np.fromiter(memory.fills, np.int64, len(memory.fills)), slots[is_full]])
    chosen = np.flatnonzero(np.isin(slots, watched))
    own = places[chosen]
    calls = zip(
        own.tolist(),
        slots[chosen].tolist(),
        rows.texts("agent_id", own),
        tokens[own].tolist(),
        rows.ints("start_time")[own].tolist(),
        rows.equals("finish_reason", "length")[own].tolist(),
        most[chosen].tolist(),
        is_full[chosen].tolist(),
        strict=True,
    )
    told: list[int] = []
    said: list[Said] = []
    for place, slot, agent, context, began, is_cut_off, limit, is_watched in calls:
        fills = memory.fills.setdefault(slot, {})
        fill = fills.get(agent)
        if fill is not None and context * 2 < fill.context:
            del fills[agent]
            fill = None
        if is_watched:
            if fill is None:
                fill = fills[agent] = Fill(context, began, 0, context)
            else:
                fill.calls, fill.context = fill.calls + 1, context
            judged = _judge(fill, limit, began, is_cut_off=is_cut_off)
            said += judged
            told += [place] * len(judged)
        if not fills:
            del memory.fills[slot]
    content = rows.take(np.array(told), ROW).rows(named=True) if told else []
    return [_signal(row, *words, rows.pane_size, limits) for row, words in zip(content, said, strict=True)]


def _judge(fill: Fill, limit: int, began: int, *, is_cut_off: bool) -> list[Said]:
    """What is to be said of a call that began then, after which the context is this full; mostly nothing."""
    tokens = fill.context
    level = sum(tokens >= share * limit for share in LEVELS)
    if level <= fill.said and not (is_cut_off and level):
        return []
    growth = (tokens - fill.first) / fill.calls if fill.calls else 0.0
    full = f"the context holds {tokens:,} of {limit:,} tokens ({tokens / limit:.0%})"
    details = {"context_tokens": tokens, "context_limit": limit, "growth_per_call": round(growth)}
    said: list[Said] = []
    if level > fill.said:
        fill.said = level
        calls = max(0, round((limit - tokens) / growth)) if growth > 0 else None
        grows = f", grows by {growth:,.0f} a call and is full in about {calls}" if calls is not None else ""
        said.append(("near_limit", full + grows, fill.began, details))
    if is_cut_off and level:
        said.append(("cut_off", f"an answer was cut off: {full}", began, details))
    return said


def _limits(rows: Rows, calls: Slots, limits: Limits) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """The limit of each of these model calls; 0 where none is known."""
    found = asked(rows, calls, ("model",), lambda model: context_of(model) or 0)
    if limits.states("context_limit"):
        stated = asked(rows, calls, CALLED, lambda *call: _stated(limits, *call))
        found = np.where(stated > 0, stated, found)
    own = rows.ints("context_limit")[calls]
    return np.where(own > 0, own, found)


def _stated(limits: Limits, tenant: str, agent_id: str, agent_version: str | None, model: str | None) -> int:
    return limits.value("context_limit", tenant, agent_id, agent_version=agent_version, model=model) or 0


def _acted(rows: Rows, memory: Memory, limits: Limits) -> list[Signal]:
    """Actions whose deciding model call is the one that was cut off."""
    cut = np.flatnonzero(rows.equals("operation", "chat") & rows.equals("finish_reason", "length"))
    if not cut.size and not memory.cut:
        return []
    spans = dict(zip(rows.texts("span_id", cut), rows.slots[cut].tolist(), strict=True))
    known = {*spans, *memory.cut.values()}
    signals = []
    for action in rows.actions:
        chat = action.last_chat_span_id
        if chat in known and chat is not None and action.status == "ok":
            signals.append(_action_signal(action, chat, rows.pane_size, limits))
    for span, slot in spans.items():
        memory.cut[slot] = span
    return signals


def _signal(
    row: dict[str, Any], name: str, shows: str, began: int, details: dict[str, Any], pane_size: int, limits: Limits
) -> Signal:
    kind = f"context_overload.{name}"
    return Signal(
        signal_id=stable_hash(row["tenant"], row["session_id"], kind, row["span_id"]),
        type=kind,
        tenant=row["tenant"],
        scope=scope_of(row["target"]),
        agent_id=row["agent_id"],
        agent_version=row["agent_version"],
        session_id=row["session_id"],
        root_session_id=row["root_session_id"],
        window_start=began,
        window_end=row["event_time"],
        detected_at=row["pane"] + pane_size,
        score=round(details["context_tokens"] / details["context_limit"], 3),
        severity="info" if name == "near_limit" else "warning",
        summary=shows,
        evidence=compact_json(details | {"references": [span_reference(row, shows)]}),
        rule_version=limits.rule_version,
    )


def _action_signal(action: Action, chat: str, pane_size: int, limits: Limits) -> Signal:
    shows = f"{action.tool_name or action.operation} ran on the strength of an answer that was cut off"
    return Signal(
        signal_id=stable_hash(action.tenant, action.session_id, "context_overload.acted", action.span_id),
        type="context_overload.acted",
        tenant=action.tenant,
        scope=scope_of(action.target),
        agent_id=action.agent_id,
        agent_version=action.agent_version,
        session_id=action.session_id,
        root_session_id=action.root_session_id,
        resource=action.target,
        window_start=action.start_time,
        window_end=action.end_time,
        detected_at=action.end_time // pane_size * pane_size + pane_size,
        score=1.0,
        summary=shows,
        evidence=compact_json({"chat_span_id": chat, "references": [action_reference(action, shows)]}),
        rule_version=limits.rule_version,
    )
