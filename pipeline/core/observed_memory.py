"""What is remembered of every live session, so that its actions can say what it had observed (observed.py).

Columns by session slot: 540 bytes a session. What a read was of stands in one dictionary for all sessions.
"""

from functools import partial
from typing import Any

import numpy as np

from pipeline.core.rows import Rows
from pipeline.core.sessions import BySlot, Columns, SessionIndex, Slots

MOST_READS = 20
MOST_NAMES = 200_000  # different (tool, target) pairs before those that no session remembers are dropped


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

    def reads(self, slot: int) -> list[dict[str, Any]]:
        """The remembered reads of a session, oldest first.

        Those that ended after the action began are among them: an equal one before may be hidden behind them.
        """
        columns = ("read_at", "read_key", "read_ok", "read_span")
        remembered = zip(*(self.columns[name][slot].tolist() for name in columns), strict=True)
        found = []
        for at, key, ok, span in sorted(read for read in remembered if read[0] > 0):
            tool, target = self.names[key]
            found.append(
                {"ok": bool(ok), "read_at": at, "span_id": self.spans.text(span), "target": target, "tool": tool}
            )
        return found
