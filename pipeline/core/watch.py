"""A session that repeats itself, watched call by call: what repeats, and when that is a loop.

Five ways to repeat oneself are followed side by side. In rounds: every call equals the one `period` before it. By
what is asked for: a call brings what one of the last eight brought, and names nothing new (paraphrase, or strangers
between). By what is done: the same write right after itself, whatever it answers, for a pid or a duration makes every
answer a new one (but the answer of a click is the page: another one means that it moved). By what is undone: one thing
is written one way and the other in turn, whatever is looked at between. By what fails: one tool fails again and again
at the same thing, however its arguments change, and no change works between.

Of the calls before the watch only hashes are known. A call that equals one of them in tool, target, status and result,
but not in its arguments, is taken as a repetition with arguments that jitter until the next one, whose arguments are
known, confirms it or not.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from pipeline.core.limits import Limits
from pipeline.core.loops import Totals, is_news
from pipeline.core.runs import Earlier, Loop, Run, Seen, Way, loop_signal, seen_of
from pipeline.core.sameness import repeats
from pipeline.core.undone import Undone
from schemas.signals import Signal

LONGEST_PERIOD = 8
REPETITIONS = 5
NOTHING_NEW = 10  # calls in a row that named nothing new and brought nothing new
WRITES = 10  # the same write right after itself, each time with another answer
PATIENT = 30  # rounds of a poll that says how long it waits: half an hour at a minute each
MOST_IN_A_ROUND = 4  # calls of a poll: it waits, and looks at up to three things
FAILURES = 10  # of one tool about one thing in a row
LOOKS = 3  # other calls in a row that may stand between failures
STRANGERS = 1  # other calls in a row that may stand between calls that bring nothing new
MOST_NAMES = 32


@dataclass(slots=True)
class Watch:
    """The state of one watched session."""

    calls: deque[Seen]  # the last eight
    totals: Totals  # at the last call
    parent: int  # of the last call
    runs: list[Run] = field(default_factory=lambda: [Run() for _ in range(LONGEST_PERIOD)])
    named: Run = field(default_factory=Run)
    names: dict[int, None] = field(default_factory=dict)  # what the calls of `named` were about
    written: Run = field(default_factory=Run)
    undone: Undone = field(default_factory=Undone)
    failed: Run = field(default_factory=Run)
    about: tuple[int, ...] = ()  # what all calls of `failed` name
    loop: Loop | None = None

    @classmethod
    def begun(cls, earlier: list[Earlier], totals: Totals, parent: int) -> "Watch":
        """A watch that begins now; of the eight calls before it only hashes are known."""
        calls = (Seen(e.call, e.arguments, e.start, e.end, e.span_id, e.offset, None, None) for e in earlier)
        return cls(deque(calls, maxlen=LONGEST_PERIOD), totals, parent)

    @property
    def is_idle(self) -> bool:
        """Nothing repeats any more."""
        runs = (*self.runs, self.named, self.written, self.undone.run)
        return self.loop is None and not self.failed.first and not any(run.length for run in runs)

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
        seen = seen_of(row, call, arguments, limits)
        if self._is_same_turn(seen, parent):
            return []  # equal calls side by side in one turn count once
        for period, run in enumerate(self.runs, start=1):
            self._extend(run, seen, period)
        self._extend_named(seen)
        self._extend_written(seen)
        self.undone.extend(seen, self.calls, self.totals)
        self._extend_failed(seen, totals)
        signals: list[Signal] = []
        if self.loop is not None:
            run = self._run_of(self.loop)
            if run.length == 0 and self.loop.period == 1 and self.named.length >= self.loop.length:
                self.loop.way, run = "named", self.named  # a stranger stands between: it goes on all the same
            if run.length == 0:
                signals += self.end(row, pane_size, limits, wasted, slot)
            elif run.strangers == 0:
                self.loop.length, self.loop.last, self.loop.totals = run.length, seen, totals
                self.loop.jitter = run.jitter
        self.calls.append(seen)
        self.totals, self.parent = totals, parent
        if self.loop is None:
            self.loop = self._found(row, seen, totals, limits)
        loop = self.loop
        if loop is not None and self._is_news(loop, row["event_time"]):
            signals.append(loop_signal(row, loop, pane_size, limits, int(wasted[slot]), is_over=False))
        return signals

    def end(self, row: dict[str, Any], pane_size: int, limits: Limits, wasted: Any, slot: int) -> list[Signal]:
        """The loop is over, at this row: a call that is new, or the end of the session."""
        loop = self.loop
        if loop is None:
            return []
        signal = loop_signal(row, loop, pane_size, limits, int(wasted[slot]), is_over=True)
        wasted[slot] += loop.totals.calls - loop.needed.calls
        self.loop = None
        self.runs = [Run() for _ in range(LONGEST_PERIOD)]
        self.named, self.written, self.names = Run(), Run(), {}
        self.undone = Undone()
        self.failed, self.about = Run(), ()
        return [signal]

    def _is_news(self, loop: Loop, at: int) -> bool:
        is_stranger = self._run_of(loop).strangers > 0
        return not is_stranger and is_news(at, loop.repetitions, loop.said_at, loop.said_repetitions)

    def _run_of(self, loop: Loop) -> Run:
        if loop.way == "rounds":
            return self.runs[loop.period - 1]
        ways = {"named": self.named, "written": self.written, "undone": self.undone.run, "failed": self.failed}
        return ways[loop.way]

    def _is_same_turn(self, seen: Seen, parent: int) -> bool:
        last = self.calls[-1]
        is_equal = seen.arguments == last.arguments and (
            seen.call == last.call or (seen.detail is not None and seen.detail.is_write)
        )
        return parent != 0 and parent == self.parent and seen.start < last.end and is_equal

    def _extend(self, run: Run, seen: Seen, period: int) -> None:
        jitter = self._jitter(seen, period)
        if jitter is None:
            if run.length:
                run.length, run.first, run.called, run.jitter, run.waits = 0, [], [], frozenset(), 0
            return
        if run.length == 0:
            run.begin(list(self.calls)[-period:], self.totals)
        run.extend(seen, period)
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

    def _extend_named(self, seen: Seen) -> None:
        """Nothing new was named, and nothing new came back: a read, an equal write, or a call that failed."""
        detail, run = seen.detail, self.named
        alike = next((earlier for earlier in reversed(self.calls) if earlier.call == seen.call), None)
        if detail is None or alike is None or seen.call == 0:
            self._stranger(seen)
            return
        is_telling = not detail.is_write or seen.arguments == alike.arguments != 0  # "ok" tells nothing of a new write
        if not detail.is_error and (detail.result is None or not is_telling):
            self._stranger(seen)
            return
        is_known = all(name in self.names for name in detail.names)
        if not is_known and alike.detail is not None:
            self._stranger(seen)
        else:
            if run.length == 0:
                run.begin([alike], self.totals)
            run.extend(seen, LONGEST_PERIOD)
            run.is_varied |= seen.arguments != run.first[0].arguments
        self.names |= dict.fromkeys(detail.names)
        while len(self.names) > MOST_NAMES:
            del self.names[next(iter(self.names))]

    def _stranger(self, seen: Seen) -> None:
        """A call that belongs to something else: one may stand between, unless it moved the world."""
        run, detail = self.named, seen.detail
        run.strangers += 1
        has_moved = detail is not None and detail.is_write and not detail.is_error
        brings_new = seen.arguments != 0 and any(self._is_asked_again(seen, earlier) for earlier in self.calls)
        if run.length and (run.strangers > STRANGERS or has_moved or brings_new):
            self.named, self.names = Run(), {}

    def _is_asked_again(self, seen: Seen, earlier: Seen) -> bool:
        """The same call; as it is a stranger, with another outcome: something has moved."""
        if seen.arguments != earlier.arguments:
            return False
        if seen.detail is None or earlier.detail is None:
            return earlier is self.calls[-1]
        return (seen.detail.tool, seen.detail.target) == (earlier.detail.tool, earlier.detail.target)

    def _extend_written(self, seen: Seen) -> None:
        """The same write again, with nothing between; its answer is another each time."""
        last, detail, run = self.calls[-1], seen.detail, self.written
        is_again = (
            detail is not None
            and detail.is_write
            and not detail.is_error
            and not (detail.is_gesture and detail.result is not None)
            and seen.arguments == last.arguments != 0
            and (last.detail is None or (last.detail.tool, last.detail.target) == (detail.tool, detail.target))
        )
        if not is_again:
            if run.length:
                self.written = Run()
            return
        if run.length == 0:
            run.begin([last], self.totals)
        run.extend(seen, 1)

    def _extend_failed(self, seen: Seen, totals: Totals) -> None:
        """One tool fails at one thing, whatever else it is given; it may look elsewhere between, and change nothing."""
        detail, run = seen.detail, self.failed
        if detail is None:
            return
        if not detail.is_error:
            run.strangers += 1
            is_same_tool = bool(run.called) and run.called[0].tool == detail.tool
            if run.first and (is_same_tool or detail.is_write or run.strangers > LOOKS):
                self.failed, self.about = Run(), ()
            return
        shared = tuple(thing for thing in self.about if thing in detail.things)
        if run.called and run.called[0].tool != detail.tool:
            run.strangers += 1
        elif run.first and shared:
            run.extend(seen, 1)
            self.about = shared
        else:
            self.failed, self.about = Run(first=[seen], needed=totals, called=[detail]), detail.things

    def _found(self, row: dict[str, Any], seen: Seen, totals: Totals, limits: Limits) -> Loop | None:
        for period, run in enumerate(self.runs, start=1):
            rounds = run.length // period
            if rounds >= REPETITIONS - 1 and not _is_patient(row, run, rounds, limits):
                return _loop(_kind(run, period), "rounds", period, run, seen, totals)
        run = self.named
        is_round = any(other.length * 2 >= run.length for other in self.runs[1:])  # in rounds: then those decide
        is_enough = run.length >= NOTHING_NEW and not run.strangers and not is_round
        if is_enough and not _is_patient(row, run, run.length // MOST_IN_A_ROUND, limits):
            return _loop(_kind(run, 1), "named", 1, run, seen, totals)
        if self.undone.run.length // 2 >= REPETITIONS - 1 and not self.undone.run.strangers:
            return _loop("cycle", "undone", 2, self.undone.run, seen, totals)
        if self.failed.length + 1 >= FAILURES and not self.failed.strangers:
            return _loop("retry_storm", "failed", 1, self.failed, seen, totals)
        if self.written.length + 1 >= WRITES and not _is_patient(row, self.written, self.written.length, limits):
            return _loop("exact", "written", 1, self.written, seen, totals)
        return None


def _is_patient(row: dict[str, Any], run: Run, rounds: int, limits: Limits) -> bool:
    """A poll that was meant: it only looks, and limits.yml lets it, or it says how long it waits.

    What is declared may go on. What waits by itself may, for a time: after PATIENT rounds nobody will come.
    """
    if not run.called or any(call.is_error or (call.is_write and not call.is_wait) for call in run.called):
        return False
    if any(
        limits.value("may_poll", row["tenant"], row["agent_id"], call.tool, call.target, row["agent_version"])
        for call in run.called
        if call.tool is not None
    ):
        return True
    return run.waits >= rounds - 1 > 0 and rounds < PATIENT


def _kind(run: Run, period: int) -> str:
    if run.called and all(call.is_error for call in run.called):
        return "retry_storm"
    if run.jitter or run.is_varied:
        return "near"
    return "exact" if period == 1 else "cycle"


def _loop(kind: str, way: Way, period: int, run: Run, seen: Seen, totals: Totals) -> Loop:
    return Loop(kind, way, period, run.length, run.first, run.called, run.needed, run.jitter, seen, totals)
