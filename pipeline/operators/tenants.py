"""All tenants of a partition as of one pane of event time, and the numbers of what is said of them. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.core.limits import Limits
from pipeline.core.panes import NEVER, TimeRules
from pipeline.core.spent import Spent
from pipeline.correlation.correlator import Correlator
from schemas.incidents import Incident
from schemas.signals import Row
from schemas.times import MICROS
from schemas.watches import Watched

STEP_BITS = 20
LAST_STEP = (1 << STEP_BITS) - 1
HAPPENED, OVER, FOLLOWS = 0, 1, 2


def revision_number(pane: int, step: int) -> int:
    """One number that sorts as (pane of the firm state, how far ahead of it).

    The upper bits are the whole second in which the firm pane starts (0 before the first), the lower 20 the step:
    0 what the rows of that pane led to, 1 what was over by time within it, and from 2 on the nth time that anything
    was said while the firm state stood there: confirmations, then what the copy finds ahead of it, pane after pane.
    Until the year 2200 it stays below 2^53, so that every JSON reader keeps it exactly.
    """
    return max(pane, 0) // MICROS << STEP_BITS | min(step, LAST_STEP)


class Tenants:
    """All tenants of a partition as of one pane: the firm state, or a copy that runs ahead of it.

    A copy takes a tenant over when something happens to it, and looks through to the firm state until then: that one
    stands still for as long as the copy lives. So running ahead costs what happens, not what is known.
    """

    def __init__(self, rules: TimeRules, limits: Limits, spent: Spent, firm: "Tenants | None" = None) -> None:
        self.rules = rules
        self.limits = limits
        self._spent = spent
        self.upto: int = firm.upto if firm else NEVER  # the pane it has reached
        self._below: Mapping[str, Correlator] = firm._own if firm else {}
        self._own: dict[str, Correlator] = {}
        self._is_copy = firm is not None
        self.partitions: dict[str, float] = {}  # topic that tells of changes -> the part that a copy runs without
        self.watched: list[Watched] = []  # of the firm state alone, until they are taken

    @property
    def names(self) -> set[str]:
        """Every tenant seen so far."""
        return self._own.keys() | self._below.keys()

    def said(self, incident: Incident) -> Incident | None:
        """What was said last of this incident, unless it was over long ago."""
        known = self._own.get(incident.tenant) or self._below.get(incident.tenant)
        return known.said.get(incident.incident_id) if known else None

    def apply(self, pane: int, rows: Sequence[Row]) -> list[tuple[int, Incident]]:
        """One pane; panes come in order. Returns (step, incident), those of one incident in the order of time."""
        by_tenant: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            by_tenant[row.tenant].append(row)
        out: list[tuple[int, Incident]] = []
        for tenant in sorted(by_tenant):
            correlator = self._correlator(tenant)
            out += [(OVER, incident) for incident in correlator.advance(pane)]
            out += [(HAPPENED, incident) for incident in correlator.apply(pane, by_tenant[tenant])]
            self._keep(correlator.take_watched())
        return out

    def advance(self, upto: int) -> list[tuple[int, Incident]]:
        """Nothing more happens up to the end of pane `upto`: what is over by then."""
        self.upto = upto
        end = upto + self.rules.pane
        out = []
        for tenant in sorted(self.names):
            due = (self._own.get(tenant) or self._below[tenant]).next_due
            if due is not None and due <= end:
                correlator = self._correlator(tenant)
                out += [(OVER, incident) for incident in correlator.advance(end)]
                self._keep(correlator.take_watched())
        return out

    def _keep(self, watched: list[Watched]) -> None:
        """What became of a write is said once, by the firm state: nobody is paged for it, so it can wait."""
        if not self._is_copy:
            self.watched += watched

    def use(self, limits: Limits) -> None:
        """Go by these limits from now on."""
        self.limits = limits
        for correlator in self._own.values():
            correlator.limits = limits

    @property
    def open_incidents(self) -> int:
        """Of all tenants; any thread may ask."""
        return sum(len(correlator.cases.open) for correlator in list(self._own.values()))

    def saved(self) -> Any:
        """The firm state, for a snapshot; a copy is made anew from it."""
        return {"upto": self.upto, "tenants": {name: found.saved() for name, found in self._own.items()}}

    def restore(self, saved: Any) -> None:
        """The other way."""
        self.upto = saved["upto"]
        for tenant, found in saved["tenants"].items():
            self._own[tenant] = Correlator(tenant, self.rules.pane, self.limits, self._spent)
            self._own[tenant].restore(found)

    def _correlator(self, tenant: str) -> Correlator:
        if tenant not in self._own:
            below = self._below.get(tenant)
            fresh = Correlator(tenant, self.rules.pane, self.limits, self._spent) if below is None else below.twin()
            self._own[tenant] = fresh
        self._own[tenant].partitions = self.partitions
        return self._own[tenant]
