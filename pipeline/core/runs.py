"""What a watched session repeats: the calls of a run, the loop it became, and what is said of it. Pure."""

from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.core.evidence import span_reference
from pipeline.core.limits import Limits
from pipeline.core.loops import Found, Totals, signal_of
from pipeline.core.sameness import Call, call_of
from schemas.resources import name_of
from schemas.signals import Signal
from schemas.times import format_span

Way = Literal["rounds", "named", "written", "undone", "failed"]


@dataclass(slots=True)
class Earlier:
    """A call before the watch began: hashes, and where it stands."""

    call: int
    arguments: int
    start: int
    end: int
    offset: int
    span_id: str


@dataclass(slots=True)
class Seen:
    """A call in the watch. `detail` is None for calls before it began."""

    call: int
    arguments: int
    start: int
    end: int
    span_id: str
    offset: int
    detail: Call | None
    cited: tuple[int, str | None, str | None, str] | None  # what a reference to it needs: partition, tool, target, text

    @property
    def reference(self) -> dict[str, Any] | None:
        """The reference to its row, where that is known."""
        if self.cited is None:
            return None
        partition, tool, target, shows = self.cited
        row = {
            "partition": partition, "offset": self.offset, "span_id": self.span_id, "event_time": self.end,
            "tool_name": tool, "target": target,
        }  # fmt: skip
        return span_reference(row, shows)


@dataclass(slots=True)
class Run:
    """How long a way to repeat has gone on: calls after the first round."""

    length: int = 0
    first: list[Seen] = field(default_factory=list)  # the first round
    called: list[Call] = field(default_factory=list)  # one call of each place in the round
    needed: Totals = field(default_factory=Totals)  # at the end of the first round
    jitter: frozenset[str] = frozenset()
    waits: int = 0  # calls that say how long they wait
    strangers: int = 0  # other calls since the last one that belongs to it
    is_varied: bool = False  # its calls are not all spelt alike

    def begin(self, first: list[Seen], needed: Totals) -> None:
        """The call after `first` is its first repetition."""
        self.first, self.needed = first, needed

    def extend(self, seen: Seen, period: int) -> None:
        """One more call that belongs to it."""
        if self.length < period:
            if seen.detail is not None:
                self.called.append(seen.detail)
            first = self.first[self.length] if self.length < len(self.first) else None
            if first is not None and first.cited is None:
                first.cited = seen.cited
        self.length += 1
        self.strangers = 0
        self.waits += seen.detail is not None and seen.detail.is_wait


@dataclass(slots=True)
class Loop:
    """A loop that was signalled and is not over; it outlives the reset of its run."""

    kind: str
    way: Way
    period: int
    length: int
    first: list[Seen]
    called: list[Call]
    needed: Totals
    jitter: frozenset[str]
    last: Seen
    totals: Totals
    said_at: int = 0
    said_repetitions: int = 0

    @property
    def repetitions(self) -> int:
        """Equal calls, or whole rounds."""
        return 1 + self.length // self.period


def seen_of(row: dict[str, Any], call: int, arguments: int, limits: Limits) -> Seen:
    """The call of this row."""
    called = (row["tenant"], row["agent_id"], row["tool_name"], row["target"], row["agent_version"])
    volatile = limits.value("volatile_arguments", *called)
    return Seen(
        call,
        arguments,
        row["start_time"],
        row["event_time"],
        row["span_id"],
        row["offset"],
        call_of(row, volatile or ()),
        (row["partition"], row["tool_name"], row["target"], _shows(row)),
    )


def _shows(row: dict[str, Any]) -> str:
    target = f" on {row['target']}" if row["target"] else ""
    arguments = f" {row['tool_args'][:120]}" if row["tool_args"] else ""
    return f"{row['tool_name'] or row['operation']}{target}{arguments} -> {row['status']}"


def _says(loop: Loop, tools: list[str], target: str | None) -> str:
    """The sentence, from the numbers."""
    names = ", ".join(tools)
    on = f" on {name_of(target)}" if target else ""
    lasted = format_span(loop.last.end - loop.first[0].start)
    calls = loop.length + loop.period
    if loop.way == "failed":
        return (
            f"{calls} calls of {names}{on} about the same thing in {lasted}, every one of them failed; no change worked"
        )
    if loop.kind == "retry_storm":
        return f"{calls} calls of {names}{on} in {lasted}, every one of them failed"
    if loop.way == "named":
        words = " in other words" if loop.kind == "near" else ""
        return f"{calls} calls of {names}{on}{words} in {lasted}: nothing new was asked for, nothing new came back"
    if loop.way == "undone":
        return f"{calls} writes of {names}{on} in {lasted} that take each other back: one way, the other, and again"
    if loop.way == "written":
        return f"{calls} equal calls of {names}{on} in {lasted}, one right after the other; only the answers differ"
    what = f"{calls} equal calls of {names}" if loop.period == 1 else f"{loop.repetitions} rounds of {names}"
    jitter = f"; only {', '.join(sorted(loop.jitter))} changed" if loop.jitter else ""
    return f"{what}{on} in {lasted}, nothing moved{jitter}"


def loop_signal(
    row: dict[str, Any], loop: Loop, pane_size: int, limits: Limits, wasted: int, *, is_over: bool
) -> Signal:
    """The loop as it stands at this row; notes that it was said."""
    loop.said_at, loop.said_repetitions = row["event_time"], loop.repetitions
    first, last = loop.first, loop.last
    tools = list(dict.fromkeys(call.tool or "a tool without a name" for call in loop.called))
    target = next((call.target for call in loop.called if call.target), None)
    found = Found(
        kind=loop.kind,
        first_id=first[0].span_id,
        started=first[0].start,
        ended=last.end,
        length=loop.length,
        period=loop.period,
        repetitions=loop.repetitions,
        tools=tools,
        target=target,
        says=_says(loop, tools, target),
        needed=loop.needed,
        totals=loop.totals,
        wasted=wasted,
        wall_time=last.end - first[-1].end,
        references=[item for item in (seen.reference for seen in (*first[:2], last)) if item is not None],
        jitter=tuple(sorted(loop.jitter)),
        error_share=sum(call.is_error for call in loop.called) / max(1, len(loop.called)),
        is_over=is_over,
    )
    return signal_of(row, found, pane_size, limits)
