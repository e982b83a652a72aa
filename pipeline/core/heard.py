"""Which resources send metrics: each is named once a minute, in the first pane of it that has a point.

rows    MetricPoint rows of closed panes, ordered, with `pane`
memory  the minute at hand, and hashes of the resources named in it; about 100 bytes a resource
"""

from collections import defaultdict
from typing import Any

import numpy as np

from pipeline.core.panes import mix
from pipeline.core.rows import Rows
from schemas.signals import Heard, compact_json
from schemas.times import MINUTE


class Hearing:
    """What was named in the minute at hand; panes come in order, so no older minute is needed."""

    def __init__(self) -> None:
        self._minute = 0
        self._named: set[int] = set()

    def __len__(self) -> int:
        return len(self._named)

    def expire(self, at: int) -> None:
        """Forget the minute at hand if it is over at this moment."""
        if at // MINUTE > self._minute:
            self._named = set()

    def saved(self) -> Any:
        """For a snapshot."""
        return {"minute": self._minute, "named": self._named}

    def restore(self, saved: Any) -> None:
        """The other way."""
        self._minute, self._named = saved["minute"], saved["named"]

    def name(self, minute: int, resource: int) -> bool:
        """Whether this resource (a hash) is new in this minute; it is named from now on."""
        if minute != self._minute:
            self._minute, self._named = minute, set()
        if resource in self._named:
            return False
        self._named.add(resource)
        return True


def heard_in(rows: Rows, memory: Hearing) -> list[Heard]:
    """One message a tenant and pane in which a resource is named; changes `memory`."""
    if not len(rows):
        return []
    resources = mix([rows.hashes("tenant"), rows.hashes("resource")])
    minutes = rows.ints("pane") // MINUTE
    _, first = np.unique(mix([resources, minutes.view(np.uint64)]), return_index=True)
    first.sort()  # the first row of each resource in each minute, in the order of time
    new = [
        place
        for place, minute, resource in zip(
            first.tolist(), minutes[first].tolist(), resources[first].tolist(), strict=True
        )
        if memory.name(minute, resource)
    ]
    found: dict[tuple[int, str], list[str]] = defaultdict(list)
    named = rows.take(np.array(new, dtype=np.int64), ("tenant", "pane", "resource"))
    for tenant, pane, resource in named.iter_rows():
        found[pane, tenant].append(resource)
    return [
        Heard(tenant=tenant, pane=pane, resources=compact_json(sorted(names)))
        for (pane, tenant), names in sorted(found.items())
    ]
