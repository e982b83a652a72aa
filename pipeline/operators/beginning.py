"""Where nothing is remembered and the log begins later: every tenant is told so, for as long as it matters. Pure.

No snapshot can be used, and old records are deleted: what caused an incident may lie before what can be read.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.core.limits import Limits
from pipeline.core.panes import NEVER
from pipeline.correlation import build_gap
from pipeline.correlation.candidates import LOOK_BACK
from schemas.incidents import Incident


@dataclass(slots=True)
class Forgotten:
    """Reading began at this offset of the log, with nothing remembered of what was before.

    begins: where every source has spoken first, in event time; None until then.
    """

    offset: int
    begins: int | None = None
    told: dict[str, Incident] = field(default_factory=dict)
    is_over: bool = False

    @property
    def until(self) -> int:
        """What begins before this may have causes that are not known."""
        return NEVER if self.begins is None else self.begins + LOOK_BACK

    def tell(self, tenants: Iterable[str], passed: int, now: int, number: int, limits: Limits) -> list[Incident]:
        """Tell each of these tenants once, and all that were told when it does not matter any more.

        passed: up to where the firm state has come; now: the event time at which it is said; both in microseconds.
        number: the revision of what is said.
        """
        if self.is_over or self.begins is None:
            return []
        if passed >= self.until:
            self.is_over, told, self.told = True, self.told, {}
            return [build_gap.outlived(begun, self.begins, self.until, number) for begun in told.values()]
        version = limits.in_force(self.begins).rule_version
        new = {
            tenant: build_gap.forgotten(tenant, self.offset, self.begins, self.until, now, number, version)
            for tenant in sorted(set(tenants) - self.told.keys())
        }
        self.told |= new
        return list(new.values())
