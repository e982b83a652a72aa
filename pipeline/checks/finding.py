"""What a check found."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.settings import Settings
from schemas.errors import AftermathError, DependencyError

CLOCK_SECONDS = 2.0  # closer is one time
LATE_SECONDS = 60.0  # rows so far ahead of the broker's stamp count as late

Level = Literal["ok", "warn", "todo"]  # warn: it works, and somebody should know


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. says: what was seen, or what to do. is_down: because something does not answer."""

    check: str
    level: Level
    says: str
    is_down: bool = False


Check = Callable[[Settings], Iterable[Finding]]


def findings(name: str, check: Check, settings: Settings) -> Iterator[Finding]:
    """What a check found; where it ends with an error of ours, that is the last finding."""
    try:
        yield from check(settings)
    except AftermathError as error:
        yield Finding(name, "todo", str(error), isinstance(error, DependencyError))


def clock(check: str, whose: str, ahead_seconds: float) -> Finding:
    """How far another clock is from ours."""
    direction = "ahead of" if ahead_seconds > 0 else "behind"
    says = f"{whose} clock is {abs(ahead_seconds):.1f} s {direction} this machine's"
    if abs(ahead_seconds) <= CLOCK_SECONDS:
        return Finding(check, "ok", f"{whose} clock is that of this machine, to {CLOCK_SECONDS:.0f} s")
    level: Level = "warn" if abs(ahead_seconds) <= LATE_SECONDS else "todo"
    return Finding(check, level, f"{says}: let both follow one time server (NTP)")
