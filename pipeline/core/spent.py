"""How long each detector took. Detectors are pure: who runs them gives the clock; without one nothing is measured."""

from collections.abc import Callable
from typing import Any


class Spent:
    """Seconds by detector since it was made; only ever read by other threads.

    timer: seconds that only grow. It decides nothing: what detectors find is the same with and without it.
    """

    def __init__(self, timer: Callable[[], float] | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._timer = timer

    def call(self, module: Any, detect: Callable[..., Any], *args: Any) -> Any:
        """What `detect` of a detector's module returns."""
        if self._timer is None:
            return detect(*args)
        began = self._timer()
        found = detect(*args)
        name = module.__name__.rpartition(".")[2]
        self.seconds[name] = self.seconds.get(name, 0.0) + self._timer() - began
        return found
