"""What is remembered of every live session, so that its actions can say what it had observed (observed.py).

Columns by session slot: 540 bytes a session. What a read was of stands in one dictionary for all sessions.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import orjson

from pipeline.core.rows import Rows
from pipeline.core.sessions import BySlot, Columns, SessionIndex, Slots

MOST_READS = 20
MOST_NAMES = 200_000  # different (tool, target) pairs before those that no session remembers are dropped
SEEN = ("read_at", "read_key", "read_ok", "read_span")
Seen = tuple[np.ndarray[Any, np.dtype[Any]], ...]  # a row a session, in the order of SEEN


class ObservedMemory:
    """What is remembered of every live session of a partition."""

    def __init__(self, index: SessionIndex) -> None:
        self.columns = Columns(
            read_key=("uint64", MOST_READS),
            read_at=("int64", MOST_READS),
            read_ok=("uint8", MOST_READS),
            read_span=("uint64", MOST_READS),
            has_lost=("uint8", 0),  # reads older than those remembered
            cut_at=("int64", 0),
            cut_span=("uint64", 0),  # the chat in which the context was cut last
            context_tokens=("int64", 0),  # of the last chat that said so, plus one
            chat=("uint64", 0),  # span of the last chat
        )
        self.facts: BySlot = BySlot()  # slot -> {event_id: when} that the session says it had read
        self.approvals: BySlot = BySlot()  # slot -> (granted or denied, by whom)
        self.names: dict[int, tuple[str | None, str | None]] = {}  # hash of a read -> its tool and target
        self.spans = index.spans
        for name in ("read_span", "cut_span", "chat"):
            self.spans.kept_in(partial(self.columns.__getitem__, name))
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

    def seen(self, slots: Slots) -> Seen:
        """What these sessions remember having read, as it is now."""
        return tuple(self.columns[name][slots] for name in SEEN)

    def reads(self, seen: Sequence[Seen]) -> list[str]:
        """Of each session its remembered reads, oldest first, as JSON.

        Those that ended after the action began are among them: an equal one before may be hidden behind them.
        """
        at, keys, ok, spans = (np.concatenate(parts) for parts in zip(*seen, strict=True))
        which, place = np.nonzero(at)
        order = np.lexsort((spans[which, place], ok[which, place], keys[which, place], at[which, place], which))
        which, place = which[order], place[order]
        found: list[list[dict[str, Any]]] = [[] for _ in at]
        for session, read_at, key, is_ok, span in zip(
            which.tolist(),
            at[which, place].tolist(),
            keys[which, place].tolist(),
            (ok[which, place] > 0).tolist(),
            self.spans.texts(spans[which, place]),
            strict=True,
        ):
            tool, target = self.names[key]
            read = {"ok": is_ok, "read_at": read_at, "span_id": span, "target": target, "tool": tool}
            found[session].append(read)
        return [orjson.dumps(reads).decode() for reads in found]
