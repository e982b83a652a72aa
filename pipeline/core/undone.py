"""Writes that take each other back: one thing is written A, B, A, B, whatever is looked at between. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.core.loops import Totals
from pipeline.core.runs import Run, Seen
from pipeline.core.sameness import Call

BETWEEN = 12  # calls that may stand between two of these writes


@dataclass(slots=True)
class Undone:
    """The writes of one thing that go on one way and the other in turn."""

    run: Run = field(default_factory=Run)
    writes: list[Seen] = field(default_factory=list)  # the last two

    def extend(self, seen: Seen, calls: Iterable[Seen], totals: Totals) -> None:
        """One more call, after `calls` (the last eight); totals: before it.

        It belongs to the run when it equals the last write but one of the same thing, and its answer, too: where that
        is another, something has moved.
        """
        detail, run = seen.detail, self.run
        if detail is None or not detail.may_write or detail.is_error or detail.is_gesture or seen.arguments == 0:
            run.strangers += 1
            if run.strangers > BETWEEN:
                self._begin_anew()
            return
        last_two = self.writes if run.length else [earlier for earlier in calls if _is_same_write(seen, earlier)][-2:]
        if not last_two or not _is_same_write(seen, last_two[-1]):
            run.strangers += 1
            return
        before, last = last_two[0], last_two[-1]
        is_back = before.arguments == seen.arguments != last.arguments and before.call == seen.call != 0
        if not is_back or not _share(detail, last.detail):
            self._begin_anew()
            return
        if run.length == 0:
            run.begin(last_two, totals)
        run.extend(seen, 2)
        self.writes = [last, seen]

    def _begin_anew(self) -> None:
        self.run, self.writes = Run(), []


def _is_same_write(seen: Seen, earlier: Seen) -> bool:
    """Whether both write the same thing; of calls before the watch only hashes of tool, target and answer are known."""
    one, two = seen.detail, earlier.detail
    if one is None or two is None:
        return seen.call == earlier.call != 0
    return (one.tool, one.target) == (two.tool, two.target) and two.may_write and not two.is_error


def _share(one: Call, two: Call | None) -> bool:
    """Whether two writes with other arguments are about one thing: its target, or an argument, is the same."""
    if two is None or one.target is not None:
        return True
    return bool(set((one.arguments or {}).items()) & set((two.arguments or {}).items()))
