"""What a session had observed before it acted: its reads, whether its context was cut since, and its approvals.

Every Action carries this, bounded, so that correlate can say what the agent did not know. A session remembers its
newest 24 different reads (tool and target); where older ones had to go it says so, and what is not among them then
counts as unknown, never as unread.

Reads are kept as columns by session slot and written in rounds: the first event of every session in the batch, then
the second of each, and so on. Python works for each action, not for each read.
"""

from typing import Any

import numpy as np
import orjson

from pipeline.core.panes import mix
from pipeline.core.rows import Rows
from pipeline.core.sessions import BySlot, Columns, SessionIndex, Slots
from schemas.signals import Action

MOST_READS = 24
MOST_FACTS = 64
MOST_NAMES = 200_000  # different (tool, target) pairs before those that no session remembers are dropped
TOOL_OPERATIONS = ("execute_tool", "retrieval", "handoff")
ACTING = ("write", "destructive", "provision")
ACTION_COLUMNS = (
    "tenant", "trace_id", "span_id", "session_id", "root_session_id", "agent_id", "agent_version", "task_type",
    "requested_by", "operation", "tool_name", "tool_args", "access", "target", "start_time", "event_time", "status",
    "approval", "approved_by", "summary", "expects", "partition", "offset",
)  # fmt: skip

Bools = np.ndarray[Any, np.dtype[np.bool_]]
Context = tuple[str | None, int | None]  # the last chat, and when the context was last cut


class ObservedMemory:
    """What is remembered of every live session of a partition."""

    def __init__(self, index: SessionIndex) -> None:
        self.columns = Columns(
            read_key=("uint64", MOST_READS),
            read_at=("int64", MOST_READS),
            read_ok=("uint8", MOST_READS),
            has_lost=("uint8", 0),  # reads older than those remembered
            cut_at=("int64", 0),
            context_tokens=("int64", 0),  # of the last chat that said so, plus one
            chat=("S64", 0),  # span of the last chat
        )
        self.facts: BySlot = BySlot()  # slot -> {event_id: None} that the session says it had read
        self.approvals: BySlot = BySlot()  # slot -> (granted or denied, by whom)
        self.names: dict[int, tuple[str | None, str | None]] = {}  # hash of a read -> its tool and target
        for table in (self.columns, self.facts, self.approvals):
            index.attach(table)

    def keep_names(self, keys: "np.ndarray[Any, np.dtype[np.uint64]]", rows: Rows, places: Slots) -> None:
        """Remember what new keys stand for; drop those that no session remembers once there are too many."""
        known, first = np.unique(keys, return_index=True)
        new = [at for key, at in zip(known.tolist(), first.tolist(), strict=True) if key not in self.names]
        if not new:
            return
        if len(self.names) > MOST_NAMES:
            alive = set(np.unique(self.columns["read_key"]).tolist())
            self.names = {key: name for key, name in self.names.items() if key in alive}
        for at, name in zip(new, rows.take(places[new], ("tool_name", "target")).rows(), strict=True):
            self.names[int(keys[at])] = name

    def reads(self, slot: int, before: int) -> list[dict[str, Any]]:
        """The remembered reads of a session up to a moment, oldest first."""
        columns = self.columns
        remembered = zip(
            columns["read_at"][slot].tolist(),
            columns["read_key"][slot].tolist(),
            columns["read_ok"][slot].tolist(),
            strict=True,
        )
        wanted = sorted(read for read in remembered if 0 < read[0] <= before)
        found = []
        for at, key, ok in wanted:
            tool, target = self.names[key]
            found.append({"ok": bool(ok), "read_at": at, "target": target, "tool": tool})
        return found


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
    found = rows.take(np.flatnonzero(acts), ACTION_COLUMNS).rows(named=True)
    return [_action(row, [], lost=True, facts={}, cut_at=None, chat=None, approval=None, late=True) for row in found]


def _learn_chats(rows: Rows, order: Slots, acts: Bools, memory: ObservedMemory) -> "dict[int, Context]":
    """Find where contexts were cut; learn each session's newest chat, context size and cut.

    Returns for each row that acts the last chat before it and when its context was last cut.
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
    acting = np.flatnonzero(acts[order])
    chat, cut = last_chat[acting], last_cut[acting]
    chats = np.where(chat >= 0, _short_ids(rows, order[chat]), columns["chat"][slots[acting]]).tolist()
    cuts = np.where(cut >= 0, times[cut], columns["cut_at"][slots[acting]]).tolist()
    contexts = {
        row: (span.decode(errors="replace") or None, at or None)
        for row, span, at in zip(order[acting].tolist(), chats, cuts, strict=True)
    }
    last_said = _last(says, places, segment)[ends]
    has = last_said >= 0
    columns["context_tokens"][slots[ends[has]]] = tokens[last_said[has]] + 1
    has = last_cut[ends] >= 0
    columns["cut_at"][slots[ends[has]]] = times[last_cut[ends[has]]]
    has = last_chat[ends] >= 0
    columns["chat"][slots[ends[has]]] = _short_ids(rows, order[last_chat[ends[has]]])
    return contexts


def _short_ids(rows: Rows, places: Slots) -> Any:
    """The ids of these spans as they are remembered."""
    return np.array([span.encode()[:64] for span in rows.texts("span_id", places)], dtype="S64")


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
    places = rows.filled("context_facts")
    for place, text in zip(places.tolist(), rows.texts("context_facts", places), strict=True):
        found.setdefault(int(rows.slots[place]), []).append((place, "facts", text))
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
        known = memory.facts.setdefault(slot, {})
        known.update(dict.fromkeys(_event_ids(value)))
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
        keys = mix([rows.hashes("tool_name")[places], rows.hashes("target")[places]])
        is_action = acts[places]
        memory.keep_names(keys[~is_action], rows, places[~is_action])
        at, ok = rows.ints("event_time")[places], rows.equals("status", "ok")[places]
        found = np.flatnonzero(is_action)
        content = rows.take(places[found], ACTION_COLUMNS).rows(named=True) if found.size else []
        row_of = dict(zip(found.tolist(), content, strict=True))
        starts = np.flatnonzero(np.concatenate([[True], slots[1:] != slots[:-1]]))
        lengths = np.diff(np.concatenate([starts, [slots.size]]))
        for number in range(int(lengths.max())):
            now = starts[lengths > number] + number
            reading = now[~is_action[now]]
            _remember(slots[reading], keys[reading], at[reading], ok[reading], memory)
            actions += [
                _act(int(slots[place]), int(places[place]), row_of[place], contexts, rare, memory)
                for place in now[is_action[now]].tolist()
            ]
    for slot, events in rare.items():
        _learn_rare(slot, events, len(rows), memory)
    return actions


def _remember(slots: Slots, keys: Any, at: Any, ok: Any, memory: ObservedMemory) -> None:
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


def _act(
    slot: int,
    place: int,
    row: dict[str, Any],
    contexts: "dict[int, Context]",
    rare: dict[int, list[tuple[int, str, Any]]],
    memory: ObservedMemory,
) -> Action:
    if slot in rare:
        _learn_rare(slot, rare[slot], place, memory)
    chat, cut_at = contexts[place]
    approval = None
    if row["approval"] in (None, "requested"):
        approval = memory.approvals.pop(slot, None)  # one approval, one action
    return _action(
        row,
        memory.reads(slot, row["start_time"]),
        lost=bool(memory.columns["has_lost"][slot]),
        facts=memory.facts.get(slot, {}),
        cut_at=cut_at,
        chat=chat,
        approval=approval,
        late=False,
    )


def _action(
    row: dict[str, Any],
    reads: list[dict[str, Any]],
    *,
    lost: bool,
    facts: dict[str, None],
    cut_at: int | None,
    chat: str | None,
    approval: tuple[str, str | None] | None,
    late: bool,
) -> Action:
    granted, by = approval if approval is not None else (row["approval"], None)
    return Action(
        **{name: row[name] for name in ACTION_COLUMNS if name not in ("approval", "approved_by", "event_time")},
        approval=granted,
        approved_by=row["approved_by"] or by,
        end_time=row["event_time"],
        observed=orjson.dumps(reads).decode(),
        has_lost_reads=lost,
        context_facts=orjson.dumps(list(facts)).decode(),
        cut_at=cut_at,
        last_chat_span_id=chat,
        late=late,
        topic="agent.traces.v1",
    )
