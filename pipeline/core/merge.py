"""The reader's side of the markers: panes of all sources put together, each once, in the order of event time.

A pane of a source is taken with the rows of the run whose marker came first; what other runs (a restarted or a
lingering worker) wrote for it is dropped. One pane number a source is all it remembers: no set of known ids. Panes are
handed out up to the least of what the sources have closed, so what comes out does not depend on how messages of
different sources were interleaved.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pipeline.core.panes import NEVER
from schemas.errors import AftermathError
from schemas.signals import Marker, Reduced, Row


class MarkerMismatchError(AftermathError):
    """A marker names another number of rows than arrived before it: the log lost or doubled rows, so we stop."""


class PaneMerge:
    """Rows and markers of a `signals.v1` partition in, complete panes out."""

    def __init__(self, sources: Sequence[str]) -> None:
        if not sources:
            raise ValueError("a merge needs the list of sources it waits for")
        self.closed: dict[str, int] = dict.fromkeys(sources, NEVER)
        self.applied = NEVER  # last pane handed out, or skipped as empty
        self._held: dict[tuple[str, int], dict[str, list[Row]]] = defaultdict(dict)
        self._ready: dict[int, list[Row]] = defaultdict(list)

    def read(self, messages: Iterable[Reduced | Marker]) -> list[tuple[int, list[Row]]]:
        """Panes that are now complete over all sources and have rows: (start of the pane, its rows), oldest first."""
        for message in messages:
            if message.source not in self.closed:
                raise AftermathError(
                    f"a message from {message.source}, which is not among the {len(self.closed)} configured sources: "
                    "stop correlate, set the partition counts, start it again"
                )
            if isinstance(message, Marker):
                self._close(message)
            elif message.pane > self.closed[message.source]:
                self._held[message.source, message.pane].setdefault(message.run, []).append(message.row)
        firm = min(self.closed.values())
        if firm <= self.applied:
            return []
        self.applied = firm
        return [(pane, self._ready.pop(pane)) for pane in sorted(pane for pane in self._ready if pane <= firm)]

    def _close(self, marker: Marker) -> None:
        if marker.pane <= self.closed[marker.source]:
            return  # another run was first
        rows = self._held.get((marker.source, marker.pane), {}).get(marker.run, [])
        if len(rows) != marker.rows:
            raise MarkerMismatchError(
                f"{marker.source}: the marker of pane {marker.pane} says {marker.rows} rows, {len(rows)} arrived: "
                "messages were lost or doubled in signals.v1; restart detect from its earliest offset"
            )
        self.closed[marker.source] = marker.pane
        if rows:
            self._ready[marker.pane] += rows
        for held in [key for key in self._held if key[0] == marker.source and key[1] <= marker.pane]:
            del self._held[held]
