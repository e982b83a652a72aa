"""What is not remembered: where the log begins later than the state that was lost, and what may hang on it. Pure.

Correlate's own memory is lost where reading begins in the middle of `signals.v1`; that of a source of it where a worker
of detect says so by a Forgetting. Either way every tenant is told by a telemetry gap, and what may have a cause (or an
end) that nobody remembers stays marked provisional.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.core.panes import NEVER
from pipeline.correlation import build_gap
from pipeline.correlation.build_gap import OWN
from pipeline.correlation.candidates import LOOK_BACK
from schemas.incidents import Incident
from schemas.signals import Forgetting


@dataclass(slots=True)
class Forgotten:
    """One memory that was lost.

    offset: where its log begins now. since: what was said by then was said with the memory in hand. begins: from here
    on it remembers, in event time; None until that is known.
    """

    offset: int
    since: int = NEVER
    begins: int | None = None
    told: dict[str, Incident] = field(default_factory=dict)
    is_over: bool = False

    @property
    def until(self) -> int:
        """What begins before this may have causes that are not known."""
        return NEVER if self.begins is None else self.begins + LOOK_BACK


class LostMemories:
    """All of them, of one partition of `signals.v1`."""

    def __init__(self) -> None:
        self._lost: dict[str, Forgotten] = {}

    def saved(self) -> dict[str, Forgotten]:
        """For a snapshot."""
        return self._lost

    def restore(self, saved: dict[str, Forgotten]) -> None:
        """The other way."""
        self._lost = saved

    @property
    def is_young(self) -> bool:
        """Whether causes of what begins now may lie before what is remembered."""
        return any(not lost.is_over for lost in self._lost.values())

    def lose_own(self, offset: int) -> None:
        """Reading begins here, and nothing is remembered of what was before."""
        self._lost[OWN] = Forgotten(offset)

    def find_beginning(self, now: int) -> None:
        """Every source has spoken: from `now` on correlate remembers."""
        own = self._lost.get(OWN)
        if own is not None and own.begins is None:
            own.begins = now

    def take(self, message: Forgetting, since: int) -> None:
        """A source says that it forgot. since: end of the last pane it had closed.

        The same once more, from a worker that died before its first snapshot, changes nothing; one that forgets again
        while that still matters is told of as before, for longer.
        """
        known = self._lost.get(message.source)
        if message.pane + LOOK_BACK <= since or (known is not None and message.pane <= (known.begins or NEVER)):
            return
        if known is None or known.is_over:
            self._lost[message.source] = Forgotten(message.offset, since, message.pane)
        else:
            known.offset, known.begins = message.offset, message.pane

    def is_unsure(self, incident: Incident) -> bool:
        """Whether this firm revision may hang on what is not remembered."""
        return any(
            lost.since < incident.updated_at and incident.started_at < lost.until for lost in self._lost.values()
        )

    def tell(self, tenants: Iterable[str], stands_at: int, now: int, number: int, version: str) -> list[Incident]:
        """Tell every tenant once of each, and when it does not matter any more.

        stands_at: end of the newest pane of all sources; now: of any source. version: of the limits in force.
        """
        out: list[Incident] = []
        for source, lost in self._lost.items():
            if lost.is_over or lost.begins is None:
                continue
            if stands_at >= lost.until:
                lost.is_over, told, lost.told = True, lost.told, {}
                out += [build_gap.outlived(begun, lost.begins, lost.until, number) for begun in told.values()]
                continue
            new = {
                tenant: build_gap.forgotten(tenant, source, lost.offset, lost.begins, lost.until, now, number, version)
                for tenant in sorted(set(tenants) - lost.told.keys())
            }
            lost.told |= new
            out += new.values()
        return out
