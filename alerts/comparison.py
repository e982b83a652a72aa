"""Two sets of rules over the same incidents: who would be told how often, and what would be new and gone. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from alerts.rehearsal import Heard
from schemas.times import format_time

DAY = len("2026-03-02")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Alerts are the same where rule, mode, receiver and incident are; when they are told does not matter."""

    added: tuple[Heard, ...]
    removed: tuple[Heard, ...]
    by_rule: dict[str, tuple[int, int]]  # rule -> alerts before, after
    pages_by_day: dict[str, tuple[int, int]]  # day in UTC -> pages before, after

    @property
    def is_same(self) -> bool:
        """Whether nobody would notice."""
        return not self.added and not self.removed


def compare(before: Sequence[Heard], after: Sequence[Heard]) -> Comparison:
    """Beginnings alone: each has its end."""
    old, new = _beginnings(before), _beginnings(after)
    known, wanted = {_key(one) for one in old}, {_key(one) for one in new}
    return Comparison(
        added=tuple(one for one in new if _key(one) not in known),
        removed=tuple(one for one in old if _key(one) not in wanted),
        by_rule=_counted(old, new, lambda one: one.rule),
        pages_by_day=_counted(_pages(old), _pages(new), lambda one: format_time(one.at)[:DAY]),
    )


def _beginnings(heard: Iterable[Heard]) -> list[Heard]:
    return sorted((one for one in heard if one.transition == "firing"), key=lambda one: (one.at, *_key(one)))


def _pages(heard: Iterable[Heard]) -> list[Heard]:
    return [one for one in heard if one.mode == "page"]


def _key(one: Heard) -> tuple[str, str, str, str]:
    return (one.rule, one.mode, one.receiver, one.incident_id)


def _counted(old: list[Heard], new: list[Heard], name: Callable[[Heard], str]) -> dict[str, tuple[int, int]]:
    before, after = Counter(map(name, old)), Counter(map(name, new))
    return {key: (before[key], after[key]) for key in sorted(before | after)}
