"""Which limits a new version of `limits.yml` widens: an agent may do more than it might before. Pure.

Both versions are asked the same: what holds for calls that look as an entry's `match` says. An entry that is gone, or
that a later one covers, counts by what holds instead. What describes calls rather than limits them (`access`,
`context_limit`, `volatile_arguments`, `budget_of`) is not judged.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from pipeline.core.limits import Limits, Match

MOST: Final = (
    "tokens_per_session",
    "calls_per_session",
    "tokens_per_day",
    "calls_per_day",
    "max_steps",
    "max_repeats",
)
ALLOWED: Final = ("allowed_tools", "allowed_targets")
NEEDS: Final = ("needs_approval", "needs_read_first", "needs_summary", "needs_canary")
MAY: Final = ("may_poll", "may_change_permissions", "may_change_in_freeze")


@dataclass(frozen=True, slots=True)
class Loosened:
    """One limit of one match: what it was, and what it is now; None where there is none."""

    match: Match
    name: str
    was: Any
    now: Any


def loosened(before: Limits, after: Limits) -> list[Loosened]:
    """In the order in which the versions state them, those that are there no more last."""
    found = []
    stated = [
        (entry.match, name)
        for version in (after, before)
        for entry in version.limits
        for name in (*MOST, *ALLOWED, *NEEDS, *MAY)
        if getattr(entry, name) is not None
    ]
    for match, name in dict.fromkeys(stated):
        was, now = _holds(before, match, name), _holds(after, match, name)
        if _is_wider(name, was, now):
            found.append(Loosened(match, name, was, now))
    return found


def _holds(version: Limits, match: Match, name: str) -> Any:
    """What the last entry says that covers every call of this match."""
    found = [
        value for entry in version.limits if (value := getattr(entry, name)) is not None and _covers(entry.match, match)
    ]
    return found[-1] if found else None


def _covers(wide: Match, narrow: Match) -> bool:
    return all(fnmatchcase(getattr(narrow, name), pattern) for name, pattern in wide)


def _is_wider(name: str, was: Any, now: Any) -> bool:
    if name in MAY:
        return bool(now) and not was
    if name in NEEDS:
        return bool(was) and not now
    if was is None:
        return False
    if now is None:
        return True
    if name in ALLOWED:
        return any(not any(fnmatchcase(pattern, had) for had in was) for pattern in now)
    return bool(now > was)
