"""Where the time goes: CPU and calls of named parts, measured from outside, so that the product has no timers.

`Split.wrap` puts a timer round a function; nested parts count once, for the innermost. CPU is that of the calling
thread and of polars' own threads, read from their clocks: not the wall, which on a busy core would also count what
other threads do meanwhile. polars' threads work for one caller at a time here, so the sum is right; a part that runs
while another one waits for polars would be counted wrongly, and there is none.
"""

import functools
import importlib
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

DECODE, EMIT = "decode, rest", "encode rows"
PLACES = (  # part, module, owner in it, function: what every mode splits
    ("decode: walk", "schemas.codecs.blocks", None, "walk"),
    ("decode: ranges", "schemas.codecs.ranges", None, "faults"),
    ("decode: ticks and JSON", "schemas.codecs.blocks", None, "_read_rest"),
    ("decode: order", "schemas.codecs.blocks", None, "_in_order"),
    ("lateness", "pipeline.core.panes", "Lateness", "judge"),
    ("panes", "pipeline.core.panes", "Panes", "read"),
    ("sessions", "pipeline.operators.detect", None, "with_sessions"),
    ("observed", "pipeline.operators.detect", None, "actions_of"),
    ("usage", "pipeline.operators.detect", None, "usage_in"),
)
REST = "operator, rest"
POOL = re.compile(r"polars-\d+")  # polars' workers; it has other threads that do nothing for us


class Split:
    """CPU nanoseconds and calls by part."""

    def __init__(self) -> None:
        self.nanos: dict[str, int] = defaultdict(int)
        self.calls: dict[str, int] = defaultdict(int)
        self.missing: list[str] = []  # what was to be wrapped and is not there: its time is in the part around it
        self._local = threading.local()
        self._pool: list[int] = []
        self._undo: list[tuple[Any, str, Any]] = []

    def wrap(self, part: str, owner: Any, name: str) -> None:
        """Time a function of a module or class from now on; those that were bound before keep the old one."""
        function = getattr(owner, name, None)
        if function is None:
            self.missing.append(f"{getattr(owner, '__name__', owner)}.{name}")
            return
        self._undo.append((owner, name, function))
        setattr(owner, name, self.timed(part, function))

    def wrap_operator(self) -> None:
        """Time decoding, what all detectors share, and each detector. Make operators after this."""
        from pipeline.operators.detect import DETECTORS, DetectOperator

        for part, module_name, owner_name, name in PLACES:
            module = importlib.import_module(module_name)
            self.wrap(part, getattr(module, owner_name, None) if owner_name else module, name)
        for module in {module for modules in DETECTORS.values() for module in modules}:
            self.wrap(module.__name__.rsplit(".", 1)[-1], module, "detect")
        self.wrap(REST, DetectOperator, "read")

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with its timer."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            inner: list[int] = getattr(self._local, "inner", [])
            self._local.inner = inner
            inner.append(0)
            began = self._clock()
            try:
                return function(*args, **kwargs)
            finally:
                took = self._clock() - began
                self.nanos[part] += took - inner.pop()
                self.calls[part] += 1
                if inner:
                    inner[-1] += took

        return call

    def undo(self) -> None:
        """Take the timers away."""
        while self._undo:
            setattr(*self._undo.pop())

    def reset(self) -> None:
        """Forget what was measured, keep the timers."""
        self.nanos.clear()
        self.calls.clear()

    def micros_an_event(self, events: int) -> dict[str, float]:
        """Microseconds of CPU for each event, by part, the dearest first."""
        parts = sorted(self.nanos.items(), key=lambda item: -item[1])
        return {part: nanos / 1000 / max(1, events) for part, nanos in parts}

    def _clock(self) -> int:
        if not self._pool:
            self._pool = [clock_of(thread) for thread, name in threads().items() if POOL.fullmatch(name)]
        return time.thread_time_ns() + sum(time.clock_gettime_ns(clock) for clock in self._pool)


def threads() -> dict[int, str]:
    """Thread id -> name, of this process; Python's threads by the name Python gave them."""
    named = {thread.native_id: thread.name for thread in threading.enumerate()}
    found = {}
    for path in Path("/proc/self/task").iterdir():
        try:
            found[int(path.name)] = named.get(int(path.name)) or (path / "comm").read_text().strip()
        except OSError:  # it ended meanwhile
            continue
    return found


def clock_of(thread: int) -> int:
    """The CPU clock of a thread of this process (Linux: CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED of its id)."""
    return (~thread << 3) | 6


def cpu_by_thread() -> dict[str, float]:
    """Seconds of CPU so far, by the name of the thread; those of one name added up."""
    found: dict[str, float] = defaultdict(float)
    for thread, name in threads().items():
        try:
            found[name] += time.clock_gettime(clock_of(thread))
        except OSError:
            continue
    return dict(found)


def resident_mb() -> float:
    """Memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_resident_mb() -> float:
    """The most it ever had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1000
