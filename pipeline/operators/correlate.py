"""Correlate: a partition of `signals.v1` in, incident revisions out. What the stage and a backtest run alike. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pipeline.core.limits import Limits
from pipeline.core.merge import PaneMerge
from pipeline.core.panes import NEVER, TimeRules
from pipeline.correlation.correlator import Correlator
from schemas.incidents import Incident
from schemas.signals import Marker, Reduced, Row


class CorrelateOperator:
    """All tenants of one partition, and the merge of their sources."""

    def __init__(self, sources: Sequence[str], limits: Limits | None = None, rules: TimeRules | None = None) -> None:
        self.rules = rules or TimeRules()
        self.limits = limits or Limits()
        self._merge = PaneMerge(sources)
        self._tenants: dict[str, Correlator] = {}

    def read(self, messages: Iterable[Reduced | Marker]) -> list[Incident]:
        """Take messages in log order; return the revisions of every pane that is now complete over all sources."""
        out: list[Incident] = []
        for pane, rows in self._merge.read(messages):
            by_tenant: dict[str, list[Row]] = defaultdict(list)
            for row in rows:
                by_tenant[row.tenant].append(row)
            for tenant in sorted(by_tenant):
                if tenant not in self._tenants:
                    self._tenants[tenant] = Correlator(tenant, self.rules.pane, self.limits)
                out += self._tenants[tenant].apply(pane, by_tenant[tenant])
        if self._merge.applied > NEVER:
            for tenant in sorted(self._tenants):
                out += self._tenants[tenant].advance(self._merge.applied + self.rules.pane)
        return out
