"""What a session had observed before it acted: its reads, whether its context was cut since, and its approvals.

Every Action carries this, bounded, so that correlate can say what the agent did not know. A session remembers its
newest 20 different reads (tool, target, and whether it failed: a failed one does not hide that it worked before), each
with its span; where older ones had to go it says so, and what is not among them then counts as unknown, never as
unread.

Reads are kept as columns by session slot and written in rounds: the first event of every session in the batch, then
the second of each, and so on. Python works for each action, not for each read.
"""

from typing import Any

import numpy as np
import orjson
import polars as pl

from pipeline.core.observed_memory import ObservedMemory, Seen
from pipeline.core.panes import mix
from pipeline.core.rows import Rows
from pipeline.core.sessions import Slots
from schemas.signals import Action, from_columns

MOST_FACTS = 64
TOOL_OPERATIONS = ("execute_tool", "retrieval", "handoff")
ACTING = ("write", "destructive", "provision")
ACTION_COLUMNS = (
    "tenant", "trace_id", "span_id", "session_id", "root_session_id", "agent_id", "agent_version", "task_type",
    "requested_by", "operation", "tool_name", "tool_args", "access", "target", "start_time", "event_time", "status",
    "approval", "approved_by", "summary", "expects", "partition", "offset",
)  # fmt: skip

Bools = np.ndarray[Any, np.dtype[np.bool_]]
# the last chat, and when and in which chat the context was last cut
Context = tuple[str | None, tuple[int, str | None] | None]
Said = tuple[dict[str, int], tuple[str, str | None] | None]  # facts it had read and when; an approval, and by whom
NOTHING_SAID: Said = ({}, None)


def actions_of(rows: Rows, memory: ObservedMemory) -> list[Action]:
    """The actions among these rows, each with what its session had observed before it began; changes `memory`."""
    if not len(rows):
        return []
    is_tool = rows.equals("operation", *TOOL_OPERATIONS)
    acts = is_tool & rows.equals("access", *ACTING)
    order = np.argsort(rows.slots, kind="stable")
    contexts = _learn_chats(rows, order, acts, memory)
    return _in_rounds(rows, order, is_tool, acts, contexts, _rare_events(rows), memory)


def late_actions_of(rows: Rows) -> list[Action]:
    """Actions that came late: evidence. What their session had read by then is not known any more."""
    acts = rows.equals("operation", *TOOL_OPERATIONS) & rows.equals("access", *ACTING)
    found = rows.take(np.flatnonzero(acts), ACTION_COLUMNS)
    number = len(found)
    return _actions(
        found, ["[]"] * number, [True] * number, [NOTHING_SAID] * number, [(None, None)] * number, late=True
    )


def _learn_chats(rows: Rows, order: Slots, acts: Bools, memory: ObservedMemory) -> "dict[int, Context]":
    """Find where contexts were cut; learn each session's newest chat, context size and cut.

    Returns for each row that acts the last chat before it and its context's last cut.
    """
    slots = rows.slots[order]
    places = np.arange(slots.size)
    starts = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
    segment = np.repeat(starts, np.diff(np.concatenate([starts, [slots.size]])))
    is_chat = rows.equals("operation", "chat")[order]
    tokens = rows.ints("context_tokens")[order]
    says = is_chat & (tokens >= 0)
    previous = _previous(says, places, segment)
    columns = memory.columns
    before = np.where(previous >= 0, tokens[previous], columns["context_tokens"][slots] - 1)
    is_cut = says & (before >= 0) & (tokens * 2 < before)
    is_cut |= is_chat & (rows.equals("finish_reason", "length")[order] | _compacted(rows)[order])
    last_chat = _last(is_chat, places, segment)
    last_cut = _last(is_cut, places, segment)
    ends = np.concatenate([starts[1:], [slots.size]]) - 1
    times = rows.ints("event_time")[order]
    contexts = _contexts(rows, order, np.flatnonzero(acts[order]), last_chat, last_cut, memory)
    last_said = _last(says, places, segment)[ends]
    has = last_said >= 0
    columns["context_tokens"][slots[ends[has]]] = tokens[last_said[has]] + 1
    has = last_cut[ends] >= 0
    columns["cut_at"][slots[ends[has]]] = times[last_cut[ends[has]]]
    columns["cut_span"][slots[ends[has]]] = rows.spans[order[last_cut[ends[has]]]]
    has = last_chat[ends] >= 0
    columns["chat"][slots[ends[has]]] = rows.spans[order[last_chat[ends[has]]]]
    return contexts


def _contexts(
    rows: Rows, order: Slots, acting: Slots, last_chat: Slots, last_cut: Slots, memory: ObservedMemory
) -> "dict[int, Context]":
    """By row that acts, at these places of the session order: looked up at once, before what is remembered changes."""
    columns, slots = memory.columns, rows.slots[order][acting]
    chats = _span_texts(rows, order, last_chat[acting], columns["chat"][slots], memory)
    spans = _span_texts(rows, order, last_cut[acting], columns["cut_span"][slots], memory)
    cut = last_cut[acting]
    cuts = np.where(cut >= 0, rows.ints("event_time")[order[cut]], columns["cut_at"][slots]).tolist()
    found = zip(order[acting].tolist(), chats, cuts, spans, strict=True)
    return {row: (chat, (at, span) if at else None) for row, chat, at, span in found}


def _span_texts(rows: Rows, order: Slots, places: Slots, before: Any, memory: ObservedMemory) -> list[str | None]:
    """The ids of the spans at these places; where a place is -1 the one remembered from before."""
    numbers = before.copy()
    is_here = places >= 0
    numbers[is_here] = rows.spans[order[places[is_here]]]
    return memory.spans.texts(numbers)


def _last(mask: Bools, places: Slots, segment: Slots) -> Slots:
    """For each place the last place at or before it, in its segment, where the mask holds; -1 where there is none."""
    last = np.maximum.accumulate(np.where(mask, places, -1))
    return np.where(last >= segment, last, -1)


def _previous(mask: Bools, places: Slots, segment: Slots) -> Slots:
    """The same, strictly before it."""
    last = np.maximum.accumulate(np.where(mask, places, -1))
    shifted = np.concatenate([[-1], last[:-1]])
    return np.where(shifted >= segment, shifted, -1)


def _compacted(rows: Rows) -> Bools:
    found = np.zeros(len(rows), dtype=bool)
    places = rows.filled("attributes")
    for place, text in zip(places.tolist(), rows.texts("attributes", places), strict=True):
        if "context.compacted" not in text:
            continue
        try:
            said = orjson.loads(text)
        except orjson.JSONDecodeError:
            continue
        found[place] = isinstance(said, dict) and said.get("context.compacted") in (True, "true")
    return found


def _rare_events(rows: Rows) -> dict[int, list[tuple[int, str, Any]]]:
    """By slot: rows that name facts they read, and approvals; (row, what, value), in order."""
    found: dict[int, list[tuple[int, str, Any]]] = {}
    places, times = rows.filled("context_facts"), rows.ints("event_time")
    for place, text in zip(places.tolist(), rows.texts("context_facts", places), strict=True):
        found.setdefault(int(rows.slots[place]), []).append((place, "facts", (text, int(times[place]))))
    places = np.flatnonzero(rows.equals("operation", "approval") & rows.equals("approval", "granted", "denied"))
    for place, *said in zip(
        places.tolist(), rows.texts("approval", places), rows.texts("approved_by", places), strict=True
    ):
        found.setdefault(int(rows.slots[place]), []).append((place, "approval", tuple(said)))
    for events in found.values():
        events.sort(key=lambda event: event[0])
    return found


def _learn_rare(slot: int, events: list[tuple[int, str, Any]], upto: int, memory: ObservedMemory) -> None:
    """Learn a session's facts and approvals from rows up to this one."""
    while events and events[0][0] <= upto:
        _, what, value = events.pop(0)
        if what == "approval":
            memory.approvals[slot] = value
            continue
        text, at = value
        known = memory.facts.setdefault(slot, {})
        for event_id in _event_ids(text):
            known.pop(event_id, None)
            known[event_id] = at
        while len(known) > MOST_FACTS:
            del known[next(iter(known))]


def _event_ids(text: str) -> list[str]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return []
    items = found if isinstance(found, list) else []
    ids = [item.get("event_id") if isinstance(item, dict) else item for item in items]
    return [event_id for event_id in ids if isinstance(event_id, str)]


def _in_rounds(
    rows: Rows,
    order: Slots,
    is_tool: Bools,
    acts: Bools,
    contexts: "dict[int, Context]",
    rare: dict[int, list[tuple[int, str, Any]]],
    memory: ObservedMemory,
) -> list[Action]:
    """Reads and actions of every session in order: one of each session at a time."""
    wanted = np.flatnonzero(is_tool[order])  # places in the order of sessions
    actions: list[Action] = []
    if wanted.size:
        places = order[wanted]
        slots = rows.slots[places]
        ok = rows.equals("status", "ok")[places]
        keys = mix([rows.hashes("tool_name")[places], rows.hashes("target")[places], ok.astype(np.uint64)])
        is_action = acts[places]
        memory.keep_names(keys[~is_action], rows, places[~is_action])
        at, spans = rows.ints("event_time")[places], rows.spans[places]
        starts = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
        lengths = np.diff(np.concatenate([starts, [slots.size]]))
        acted: list[Slots] = []
        seen: list[Seen] = []
        lost: list[bool] = []
        said: list[Said] = []
        for number in range(int(lengths.max())):
            now = starts[lengths > number] + number
            reading, acting = now[~is_action[now]], now[is_action[now]]
            _remember(slots[reading], keys[reading], at[reading], ok[reading], spans[reading], memory)
            if acting.size:
                acted.append(acting)
                seen.append(memory.seen(slots[acting]))
                lost += (memory.columns["has_lost"][slots[acting]] > 0).tolist()
                said += _said(slots[acting].tolist(), places[acting].tolist(), rows, rare, memory)
        if acted:
            own = places[np.concatenate(acted)]
            found, around = rows.take(own, ACTION_COLUMNS), [contexts[place] for place in own.tolist()]
            actions = _actions(found, memory.reads(seen), lost, said, around, late=False)
    for slot, events in rare.items():
        _learn_rare(slot, events, len(rows), memory)
    return actions


def _remember(slots: Slots, keys: Any, at: Any, ok: Any, spans: Any, memory: ObservedMemory) -> None:
    """One read for each of these sessions, all different: where it is known it moves up, else the oldest goes."""
    if not slots.size:
        return
    columns = memory.columns
    times = columns["read_at"][slots]
    same = (columns["read_key"][slots] == keys[:, None]) & (times > 0)
    is_known = same.any(axis=1)
    place = np.where(is_known, same.argmax(axis=1), times.argmin(axis=1))
    loses = ~is_known & (times[np.arange(slots.size), place] > 0)
    columns["has_lost"][slots[loses]] = 1
    columns["read_key"][slots, place] = keys
    columns["read_at"][slots, place] = at
    columns["read_ok"][slots, place] = ok
    columns["read_span"][slots, place] = spans


def _said(
    slots: list[int], places: list[int], rows: Rows, rare: dict[int, list[tuple[int, str, Any]]], memory: ObservedMemory
) -> list[Said]:
    """For each of these actions the facts that its session says it had read, and the approval that it used."""
    if not rare and not memory.facts and not memory.approvals:
        return [NOTHING_SAID] * len(slots)
    asks = rows.texts("approval", np.array(places))
    found: list[Said] = []
    for slot, place, asked in zip(slots, places, asks, strict=True):
        if slot in rare:
            _learn_rare(slot, rare[slot], place, memory)
        # one approval, one action
        approval = memory.approvals.pop(slot, None) if asked in (None, "requested") else None
        found.append((dict(memory.facts.get(slot, ())), approval))
    return found


def _actions(
    frame: pl.DataFrame, observed: list[str], lost: list[bool], said: list[Said], contexts: list[Context], *, late: bool
) -> list[Action]:
    """The actions of these rows, which have ACTION_COLUMNS."""
    columns: dict[str, list[Any]] = frame.to_dict(as_series=False)
    asked, by = columns["approval"], columns["approved_by"]
    approvals = [approval for _, approval in said]
    columns["approval"] = [one if used is None else used[0] for one, used in zip(asked, approvals, strict=True)]
    columns["approved_by"] = [one or (used and used[1]) for one, used in zip(by, approvals, strict=True)]
    columns["end_time"] = columns["event_time"]
    columns["observed"], columns["has_lost_reads"] = observed, lost
    columns["context_facts"] = [_facts_text(facts) if facts else "[]" for facts, _ in said]
    columns["last_chat_span_id"] = [chat for chat, _ in contexts]
    columns["cut_at"] = [cut and cut[0] for _, cut in contexts]
    columns["cut_span_id"] = [cut and cut[1] for _, cut in contexts]
    columns["late"], columns["topic"] = [late] * len(said), ["agent.traces.v1"] * len(said)
    return from_columns(Action, columns, len(said))


def _facts_text(facts: dict[str, int]) -> str:
    return orjson.dumps([{"event_id": name, "read_at": at} for name, at in facts.items()]).decode()
