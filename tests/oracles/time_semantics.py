"""The rules of time, record by record and message by message: what `Panes` and `PaneMerge` are held against.

Written for being read, not for speed: no frames, no batches, a state that is walked through whole at each step. It
imports nothing of the engine. Times are whole half seconds, so that a pane has ten moments and edges are hit often.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

PANE, LATENESS, SKEW = 10, 20, 120
NEVER = -(10**9)

Event = tuple[int, int, str]  # event time, key, content
Record = tuple[int, Event | None]  # stamp of the broker, event; None is a tick
Place = tuple[int, int]  # event time, key: what tells two events apart


def pane_of(moment: int) -> int:
    """Start of the pane."""
    return moment // PANE * PANE


@dataclass
class Source:
    """One partition: `read` each record; `rows` and `carried` are what its panes hold, open ones included."""

    newest: int = NEVER
    closed_upto: int = NEVER
    rows: dict[int, set[Place]] = field(default_factory=lambda: defaultdict(set))
    carried: dict[int, set[Place]] = field(default_factory=lambda: defaultdict(set))
    late: list[bool] = field(default_factory=list)  # of each event

    @property
    def watermark(self) -> int:
        return self.newest - LATENESS

    def read(self, record: Record) -> None:
        """The stamp closes panes first; then the event is judged by it."""
        stamp, event = record
        self.newest = max(self.newest, stamp)
        self.closed_upto = max(self.closed_upto, pane_of(self.watermark) - PANE)
        if event is None:
            return
        moment, key, _ = event
        pane = pane_of(moment)
        is_ahead = moment > self.newest + SKEW
        is_closed = pane + PANE <= self.watermark
        self.late.append(is_ahead or is_closed)
        if not self.late[-1]:
            self.rows[pane].add((moment, key))
        elif not is_ahead:
            self.carried[pane_of(self.watermark)].add((moment, key))

    def closed(self, panes: dict[int, set[Place]]) -> list[tuple[int, Place]]:
        """(pane, place) of every closed pane, by pane and then by event time."""
        return [(pane, place) for pane in sorted(panes) if pane <= self.closed_upto for place in sorted(panes[pane])]


def straight_through(log: Sequence[Record]) -> Source:
    """A partition read to its end."""
    source = Source()
    for record in log:
        source.read(record)
    return source


@dataclass(frozen=True)
class Message:
    """What stands on the signals partition: a row, a marker (`rows` of its run and pane), or a gap."""

    kind: str
    source: int
    pane: int = NEVER
    run: int = 0
    row: str = ""
    rows: int = 0


Panes = list[tuple[int, list[str]]]


@dataclass
class Reader:
    """The reader of a signals partition. `read` returns the panes that are firm now, and those that lie ahead of them.

    Every pane between the first and the last is in it, empty ones too.
    """

    sources: int
    closed: dict[int, int] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)
    applied: int = NEVER
    held: dict[tuple[int, int], dict[int, list[str]]] = field(default_factory=lambda: defaultdict(dict))
    taken: dict[tuple[int, int], list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.closed = dict.fromkeys(range(self.sources), NEVER)

    def read(self, message: Message) -> tuple[Panes, Panes]:
        source, pane = message.source, message.pane
        if message.kind == "gap":
            self.silent.add(source)
        elif message.kind == "row" and pane > self.closed[source]:
            self.held[source, pane].setdefault(message.run, []).append(message.row)
        elif message.kind == "marker" and pane > self.closed[source]:
            self.taken[source, pane] = self.held[source, pane].get(message.run, [])
            if len(self.taken[source, pane]) != message.rows:
                raise AssertionError(f"{message}: {self.taken[source, pane]}")
            self.closed[source] = pane
            self.silent.discard(source)
        upto = min(self.closed.values())
        firm = self._panes(self.applied, upto)
        self.applied = max(self.applied, upto)
        speaking = [closed for source, closed in self.closed.items() if source not in self.silent]
        is_ahead = bool(self.silent) and bool(speaking)
        return firm, self._panes(self.applied, min(speaking)) if is_ahead else []

    def _panes(self, after: int, upto: int) -> Panes:
        if upto <= after:
            return []
        begin = after + PANE if after > NEVER else 0
        return [
            (pane, sorted(row for source in range(self.sources) for row in self.taken.get((source, pane), [])))
            for pane in range(begin, upto + 1, PANE)
        ]
