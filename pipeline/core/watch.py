"""A session that repeats itself, watched call by call: which periods hold, and when that is a loop.

Of the calls before the watch only hashes are known. A call that equals one of them in tool, target, status and result,
but not in its arguments, is taken as a repetition with arguments that jitter until the next one, whose arguments are
known, confirms it or not.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.evidence import span_reference
from pipeline.core.limits import Limits
from pipeline.core.sameness import Call, arguments_of, repeats
from schemas.resources import name_of, scope_of
from schemas.signals import Signal, compact_json, stable_hash
from schemas.times import MICROS, format_span

LONGEST_PERIOD = 8
REPETITIONS = 5
SAY_AGAIN = 30 * MICROS
GROWN = 1.1  # or when the repetitions have grown by this factor: what was said last is never far off
TOKENS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens")


@dataclass(frozen=True, slots=True)
class Totals:
    """Counted calls and tokens of a session up to and including one call."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0


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
    reference: dict[str, Any] | None


@dataclass(slots=True)
class Run:
    """How long every call has equalled the one `period` before it."""

    length: int = 0
    first: list[Seen] = field(default_factory=list)  # the first cycle
    called: list[Call] = field(default_factory=list)  # one call of each place in the cycle
    needed: Totals = field(default_factory=Totals)  # at the end of the first cycle
    jitter: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Loop:
    """A loop that was signalled and is not over; it outlives the reset of its run."""

    period: int
    length: int
    first: list[Seen]
    called: list[Call]
    needed: Totals
    jitter: set[str]
    last: Seen
    totals: Totals
    said_at: int = 0
    said_repetitions: int = 0

    @property
    def repetitions(self) -> int:
        """Equal calls, or whole rounds."""
        return 1 + self.length // self.period

    def is_news(self, at: int) -> bool:
        """Whether it has gone on long enough, or grown enough, to be said again."""
        return at - self.said_at >= SAY_AGAIN or self.repetitions >= self.said_repetitions * GROWN


@dataclass(slots=True)
class Watch:
    """The state of one watched session."""

    calls: deque[Seen]  # the last eight
    totals: Totals  # at the last call
    parent: int  # of the last call
    runs: list[Run] = field(default_factory=lambda: [Run() for _ in range(LONGEST_PERIOD)])
    loop: Loop | None = None

    @classmethod
    def begun(cls, earlier: list[Earlier], totals: Totals, parent: int) -> "Watch":
        """A watch that begins now; of the eight calls before it only hashes are known."""
        calls = (Seen(e.call, e.arguments, e.start, e.end, e.span_id, e.offset, None, None) for e in earlier)
        return cls(deque(calls, maxlen=LONGEST_PERIOD), totals, parent)

    @property
    def is_idle(self) -> bool:
        """Nothing repeats any more."""
        return self.loop is None and not any(run.length for run in self.runs)

    def judge(
        self,
        row: dict[str, Any],
        call: int,
        arguments: int,
        totals: Totals,
        pane_size: int,
        limits: Limits,
        parent: int,
        wasted: Any,
        slot: int,
    ) -> list[Signal]:
        """Take one tool call; the signals it leads to. `wasted[slot]` is what earlier loops of the session wasted."""
        seen = _seen(row, call, arguments)
        if self._is_same_turn(seen, parent):
            return []  # equal calls side by side in one turn count once
        for period, run in enumerate(self.runs, start=1):
            self._extend(run, seen, period)
        signals: list[Signal] = []
        if self.loop is not None:
            run = self.runs[self.loop.period - 1]
            if run.length == 0:
                signals += self.end(row, pane_size, limits, wasted, slot)
            else:
                self.loop.length, self.loop.last, self.loop.totals = run.length, seen, totals
                self.loop.jitter = run.jitter
        self.calls.append(seen)
        self.totals, self.parent = totals, parent
        if self.loop is None:
            self.loop = self._found(seen, totals)
        if self.loop is not None and self.loop.is_news(row["event_time"]):
            signals.append(_signal(row, self.loop, pane_size, limits, int(wasted[slot]), is_over=False))
        return signals

    def end(self, row: dict[str, Any], pane_size: int, limits: Limits, wasted: Any, slot: int) -> list[Signal]:
        """The loop is over, at this row: a call that is new, or the end of the session."""
        loop = self.loop
        if loop is None:
            return []
        signal = _signal(row, loop, pane_size, limits, int(wasted[slot]), is_over=True)
        wasted[slot] += loop.totals.calls - loop.needed.calls
        self.loop = None
        self.runs = [Run() for _ in range(LONGEST_PERIOD)]
        return [signal]

    def _is_same_turn(self, seen: Seen, parent: int) -> bool:
        last = self.calls[-1]
        return (
            parent != 0
            and parent == self.parent
            and seen.start < last.end
            and (seen.call, seen.arguments) == (last.call, last.arguments)
        )

    def _extend(self, run: Run, seen: Seen, period: int) -> None:
        jitter = self._jitter(seen, period)
        if jitter is None:
            if run.length:
                run.length, run.first, run.called, run.jitter = 0, [], [], set()
            return
        if run.length == 0:
            run.first = list(self.calls)[-period:]
            run.needed = self.totals
        if run.length < period:
            if seen.detail is not None:
                run.called.append(seen.detail)
            first = run.first[run.length]
            if first.reference is None and seen.reference is not None:
                same = {"event_id": first.span_id, "event_time": first.end, "offset": first.offset}
                first.reference = seen.reference | same
        run.length += 1
        run.jitter |= jitter

    def _jitter(self, seen: Seen, period: int) -> frozenset[str] | None:
        earlier = self.calls[-period]
        if seen.call == 0 or seen.call != earlier.call:
            return None
        if seen.arguments == earlier.arguments:
            return frozenset()
        if seen.detail is None:
            return None
        if earlier.detail is None:
            is_proof = seen.detail.is_error or seen.detail.result is not None or seen.detail.is_write
            return frozenset() if is_proof else None
        beside = self.calls[-1].detail if period > 1 else None
        return repeats(seen.detail, earlier.detail, beside)

    def _found(self, seen: Seen, totals: Totals) -> Loop | None:
        for period, run in enumerate(self.runs, start=1):
            if run.length >= (REPETITIONS - 1) * period:
                return Loop(period, run.length, run.first, run.called, run.needed, run.jitter, seen, totals)
        return None


def _seen(row: dict[str, Any], call: int, arguments: int) -> Seen:
    detail = Call(
        tool=row["tool_name"],
        target=row["target"],
        arguments=arguments_of(row["tool_args"]),
        digest=row["args_digest"],
        result=row["result_digest"],
        is_error=row["status"] == "error",
        is_write=row["access"] not in (None, "read"),
    )
    reference = span_reference(row, _shows(row))
    return Seen(call, arguments, row["start_time"], row["event_time"], row["span_id"], row["offset"], detail, reference)


def _shows(row: dict[str, Any]) -> str:
    target = f" on {row['target']}" if row["target"] else ""
    arguments = f" {row['tool_args'][:120]}" if row["tool_args"] else ""
    return f"{row['tool_name'] or row['operation']}{target}{arguments} -> {row['status']}"


def _ledger(loop: Loop, wasted: int) -> dict[str, Any]:
    """What was needed and what was not, up to the last repeated call."""
    needed, last = loop.needed, loop.totals
    redundant = last.calls - needed.calls
    spent = {name: getattr(last, name) - getattr(needed, name) for name in TOKENS}
    expected = max(1, needed.calls - wasted)
    return {
        "needed_calls": expected,
        "calls": expected + redundant,
        "redundant_calls": redundant,
        "calls_percent_of_expected": round(100 * (expected + redundant) / expected, 1),
        "unplanned_tokens": spent["input_tokens"] - spent["cached_input_tokens"] + spent["output_tokens"],
        **{f"unplanned_{name}": value for name, value in spent.items()},
        "wall_time_seconds": round((loop.last.end - loop.first[-1].end) / MICROS, 3),
    }


def _signal(row: dict[str, Any], loop: Loop, pane_size: int, limits: Limits, wasted: int, *, is_over: bool) -> Signal:
    loop.said_at, loop.said_repetitions = row["event_time"], loop.repetitions
    first, last, period, length = loop.first, loop.last, loop.period, loop.length
    repetitions = loop.repetitions
    references = [seen.reference for seen in (*first[:2], last) if seen.reference is not None]
    tools = list(dict.fromkeys(call.tool or "a tool without a name" for call in loop.called))
    target = next((call.target for call in loop.called if call.target), None)
    errors = sum(call.is_error for call in loop.called) / len(loop.called)
    what = f"{repetitions} equal calls of {tools[0]}" if period == 1 else f"{repetitions} rounds of {', '.join(tools)}"
    on = f" on {name_of(target)}" if target else ""
    jitter = f"; only {', '.join(sorted(loop.jitter))} changed" if loop.jitter else ""
    kind = "feedback_loop.exact" if period == 1 else "feedback_loop.cycle"
    calls = length + period
    gap = (last.end - first[0].end) // max(1, calls - 1)
    return Signal(
        signal_id=stable_hash(row["tenant"], row["session_id"], kind, first[0].span_id, length, is_over),
        type=kind,
        tenant=row["tenant"],
        scope=scope_of(target),
        agent_id=row["agent_id"],
        agent_version=row["agent_version"],
        session_id=row["session_id"],
        root_session_id=row["root_session_id"],
        resource=target,
        window_start=first[0].start,
        window_end=last.end,
        detected_at=row["pane"] + pane_size,
        score=float(repetitions),
        severity="warning",
        summary=f"{what}{on} in {format_span(last.end - first[0].start)}, nothing moved{jitter}",
        evidence=compact_json(
            {
                "period": period,
                "repetitions": repetitions,
                "tools": tools,
                "jitter": sorted(loop.jitter),
                "error_share": round(errors, 3),
                "is_over": is_over,
                "max_steps": row["max_steps"],
                "quiet_after_seconds": max(300, round(3 * gap / MICROS)),
                "ledger": _ledger(loop, wasted),
                "references": references,
            }
        ),
        rule_version=limits.rule_version,
    )
