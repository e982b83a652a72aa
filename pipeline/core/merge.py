"""The reader's side of the markers: panes of all sources put together, each once, in the order of event time.

A pane of a source is taken with the rows of the run whose marker came first; what other runs (a restarted or a
lingering worker) wrote for it is dropped. One pane number a source is all it remembers: no set of known ids. Panes are
handed out up to the least of what the sources have closed, so what comes out does not depend on how messages of
different sources were interleaved.

A silent source holds all others back. From its gap record until its next marker, `ahead` shows the panes that the
others have closed, without taking them: they are handed out when the silent source has passed them too. Which source
is silent is read from the log and nowhere else; `SilenceWatch` is what writes it there.
"""

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.core.panes import NEVER
from schemas.errors import AftermathError
from schemas.signals import Gap, Marker, Reduced, Row
from schemas.times import MINUTE

MOST_HELD_ROWS = 200_000  # a kilobyte each, about; from there on the stage pauses reading
Pane = tuple[int, list[Row]]


class MarkerMismatchError(AftermathError):
    """A marker names another number of rows than arrived before it: the log lost or doubled rows, so we stop."""


class PaneMerge:
    """Rows, markers and gaps of a `signals.v1` partition in, complete panes out."""

    def __init__(self, sources: Sequence[str]) -> None:
        if not sources:
            raise ValueError("a merge needs the list of sources it waits for")
        self.closed: dict[str, int] = dict.fromkeys(sources, NEVER)  # source -> start of the last pane it closed
        self.silent: set[str] = set()
        self.applied = NEVER  # last pane handed out, or skipped as empty
        self.held_rows = 0
        self._held: dict[tuple[str, int], dict[str, list[Row]]] = defaultdict(dict)
        self._ready: dict[int, list[Row]] = defaultdict(list)
        self._ready_panes: list[int] = []  # keys of `_ready`, sorted

    @property
    def is_full(self) -> bool:
        """Whether as many rows wait as may; reading must pause, since every message may bring another."""
        return self.held_rows >= MOST_HELD_ROWS

    @property
    def ahead_upto(self) -> int:
        """Last pane closed by every source that is not silent; NEVER where no source is silent, or all are."""
        if not self.silent or len(self.silent) == len(self.closed):
            return NEVER
        return min(pane for source, pane in self.closed.items() if source not in self.silent)

    def silent_part(self, topic: str) -> float:
        """Which part of the sources of this topic is silent; 0 where none of them is waited for."""
        sources = [source for source in self.closed if source.rpartition("/")[0] == topic]
        return sum(source in self.silent for source in sources) / max(1, len(sources))

    def read(self, messages: Iterable[Reduced | Marker | Gap]) -> list[Pane]:
        """Panes that are now complete over all sources and have rows: (start of the pane, its rows), oldest first."""
        return [pane for message in messages for pane in self.take(message)]

    def take(self, message: Reduced | Marker | Gap) -> list[Pane]:
        """`read` for one message: who looks at `silent` and `ahead` must do so after each, not after each batch."""
        if message.source not in self.closed:
            raise AftermathError(
                f"a message from {message.source}, which is not among the {len(self.closed)} configured sources: "
                "stop correlate, set the partition counts, start it again"
            )
        if isinstance(message, Reduced):
            self._hold(message)
            return []
        if isinstance(message, Gap):
            if message.pane >= self.closed[message.source]:  # else it has spoken since
                self.silent.add(message.source)
            return []
        if message.pane <= self.closed[message.source]:
            return []  # another run was first
        self._close(message)
        return self._complete()

    def ahead(self, after: int) -> list[Pane]:
        """Panes with rows behind `after`, up to `ahead_upto`, oldest first. They stay here. Do not change the rows."""
        begin = bisect_right(self._ready_panes, max(after, self.applied))
        end = bisect_right(self._ready_panes, self.ahead_upto)
        return [(pane, self._ready[pane]) for pane in self._ready_panes[begin:end]]

    def saved(self) -> Any:
        """What each source has closed and the rows that wait, for a snapshot."""
        return {
            "closed": self.closed,
            "silent": self.silent,
            "applied": self.applied,
            "held": dict(self._held),
            "ready": dict(self._ready),
        }

    def restore(self, saved: Any) -> None:
        """The other way, into a merge of the same sources. Raises ValueError where they are others."""
        if saved["closed"].keys() != self.closed.keys():
            raise ValueError("the snapshot waits for other sources: partitions were added or taken away")
        self.closed, self.silent, self.applied = saved["closed"], saved["silent"], saved["applied"]
        self._held.update(saved["held"])
        self._ready.update(saved["ready"])
        self._ready_panes = sorted(self._ready)
        by_run = [rows for runs in self._held.values() for rows in runs.values()]
        self.held_rows = sum(map(len, by_run)) + sum(map(len, self._ready.values()))

    def _hold(self, message: Reduced) -> None:
        if message.pane > self.closed[message.source]:
            self._held[message.source, message.pane].setdefault(message.run, []).append(message.row)
            self.held_rows += 1

    def _close(self, marker: Marker) -> None:
        rows = self._held.get((marker.source, marker.pane), {}).get(marker.run, [])
        if len(rows) != marker.rows:
            raise MarkerMismatchError(
                f"{marker.source}: the marker of pane {marker.pane} says {marker.rows} rows, {len(rows)} arrived: "
                "messages were lost or doubled in signals.v1; restart detect from its earliest offset"
            )
        self.closed[marker.source] = marker.pane
        self.silent.discard(marker.source)
        for key in [key for key in self._held if key[0] == marker.source and key[1] <= marker.pane]:
            self.held_rows -= sum(map(len, self._held.pop(key).values()))
        if rows:
            if marker.pane not in self._ready:
                insort(self._ready_panes, marker.pane)
            self._ready[marker.pane] += rows
            self.held_rows += len(rows)

    def _complete(self) -> list[Pane]:
        firm = min(self.closed.values())
        if firm <= self.applied:
            return []
        self.applied = firm
        number = bisect_right(self._ready_panes, firm)
        done = [(pane, self._ready.pop(pane)) for pane in self._ready_panes[:number]]
        del self._ready_panes[:number]
        self.held_rows -= sum(len(rows) for _, rows in done)
        return done


class SilenceWatch:
    """Says once of each source when its marker has not moved for `after`. Live only: a replay reads gaps in the log.

    The stage asks it with the clock's time, and only when it has read its partition of `signals.v1` to the end: else
    its own lag would look like silence. What it says is appended to that partition, and nothing else is done with it.
    """

    def __init__(self, sources: Iterable[str], after: int = MINUTE) -> None:
        self.after = after
        self._seen: dict[str, tuple[int, int] | None] = dict.fromkeys(sources)  # (its last pane, since when)
        self._noticed: set[str] = set()

    def notice(self, closed: Mapping[str, int], now: int) -> list[Gap]:
        """`closed` as in PaneMerge; `now` in microseconds. A source that was named is named again once it has moved."""
        gaps = []
        for source, seen in self._seen.items():
            if seen is None or seen[0] != closed[source]:
                self._seen[source] = (closed[source], now)
                self._noticed.discard(source)
            elif source not in self._noticed and now - seen[1] >= self.after:
                self._noticed.add(source)
                gaps.append(Gap(source=source, pane=closed[source]))
        return gaps
