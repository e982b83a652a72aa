"""A thread that ends a worker which looks alive and is not.

Faust never looks at its coordinator: a membership that is broken for good leaves a process that is up, silent and deaf
(H4, H5). A thread, because what runs in the loop waits for the same things. It looks each second at two things: what
aiokafka and Faust know to be broken, for longer than `TROUBLE_SECONDS`; and whether anything was taken or confirmed in
`STALL_SECONDS` although there is something to read. A dependency that is down is no reason to exit: the stage says so
in `waiting_on`, and goes on by itself.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.clock import monotonic

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
TROUBLE_SECONDS = 5.0
STALL_SECONDS = 60.0


class Progress(Protocol):
    """How far a stage is."""

    @property
    def elements(self) -> int: ...
    @property
    def confirmed(self) -> int: ...


class Watched(Protocol):
    """What is looked at; from this thread, so all of it may be read at any time."""

    @property
    def name(self) -> str: ...
    @property
    def waiting_on(self) -> str: ...
    @property
    def progress(self) -> Progress: ...
    def trouble(self) -> str | None: ...
    def lag(self) -> int: ...


@dataclass(slots=True)
class _Seen:
    moved_at: float
    numbers: tuple[int, int] = (0, 0)
    trouble_since: float | None = None


class Watchdog(threading.Thread):
    """Calls `bite` once, with the name of the stage and the reason, and ends."""

    def __init__(
        self,
        stages: Sequence[Watched],
        bite: Callable[[str, str], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._stages = stages
        self._bite = bite
        self._clock = clock
        self._over = threading.Event()
        self._seen = {id(stage): _Seen(clock()) for stage in stages}

    def run(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            found = self.look()
            if found is not None and not self._over.is_set():
                self._bite(*found)
                return

    def stop(self) -> None:
        """No bite after this."""
        self._over.set()

    def look(self) -> tuple[str, str] | None:
        """One round: the first stage that must end, and why."""
        now = self._clock()
        for stage in self._stages:
            reason = self._judge(stage, self._seen[id(stage)], now)
            if reason is not None:
                return stage.name, reason
        return None

    def _judge(self, stage: Watched, seen: _Seen, now: float) -> str | None:
        trouble = stage.trouble()
        if trouble is None:
            seen.trouble_since = None
        elif seen.trouble_since is None:
            seen.trouble_since = now
        elif now - seen.trouble_since >= TROUBLE_SECONDS:
            return trouble
        numbers = (stage.progress.elements, stage.progress.confirmed)
        if numbers != seen.numbers or stage.waiting_on or stage.lag() == 0:
            seen.numbers, seen.moved_at = numbers, now
        elif now - seen.moved_at >= STALL_SECONDS:
            return f"nothing was read or confirmed for {STALL_SECONDS:.0f} s although {stage.lag()} messages wait"
        return None
