"""OpenTelemetry metrics -> MetricPoint rows.

Gauges and sums go through as they are: who reads them takes differences of a cumulative one, and a fall for a reset. A
histogram becomes quantiles of its interval and its count. For a cumulative one that is the difference to the point
before it, which is remembered; the first after a start, or after a reset, has none and gives no quantile.

memory  series -> Last; at most 50,000 series of a partition, those silent for longest leave
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from pipeline.ingest.histograms import quantile
from pipeline.ingest.resources import resource_of
from pipeline.ingest.services import tenant_of
from pipeline.ingest.telemetry import Distribution, Origin, Quantity, UnmappableError
from pipeline.ingest.values import json_text, name_of
from schemas.errors import Reason
from schemas.events import TEXT_LENGTH
from schemas.times import EARLIEST, LATEST

Row = dict[str, Any]

QUANTILES: Final = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
PLACES: Final = ("k8s.pod.name", "host.name")  # of the resource: which of its processes counted
INSTANCE: Final = "service.instance.id"  # of SDKs a new one at each start, so only where there is no other
MOST_SERIES: Final = 50_000


@dataclass(frozen=True, slots=True)
class Last:
    """The newest point of a cumulative histogram."""

    time: int
    start: int
    counts: tuple[int, ...]


Memory = OrderedDict[tuple[str, ...], Last]


def metric_points(point: Quantity | Distribution, memory: Memory, default_tenant: str) -> list[Row]:
    """The rows of one data point. Raises UnmappableError where its time makes no sense; changes `memory`."""
    if not EARLIEST <= point.time < LATEST:
        raise UnmappableError(Reason.TIME_OUT_OF_RANGE, f"{point.name[:80]} at {point.time} µs; from 2000, before 2200")
    name = name_of(point.name)
    if name is None:
        raise UnmappableError(Reason.MISSING_FIELD, "a metric without a name")
    resource = resource_of(point.origin.resource, point.attributes)
    labels = _labels(point.origin, point.attributes)
    tenant = tenant_of(point.origin, default_tenant)
    row: Row = {
        "event_time": point.time,
        "tenant": tenant,
        "resource": resource,
        "unit": name_of(point.unit),
        "labels": labels,
    }
    if isinstance(point, Quantity):
        if not math.isfinite(point.value):
            raise UnmappableError(Reason.NOT_FINITE, f"{name[:80]} is {point.value}; leave the point out")
        return [row | {"metric": name, "value": point.value, "kind": point.kind}]
    kind = "cumulative" if point.is_cumulative else "delta"
    rows = [row | {"metric": f"{name}.count", "value": float(point.count), "kind": kind, "unit": None}]
    found = point.quantiles or _quantiles(point, (tenant, resource, name, labels or ""), memory)
    said = {f"p{share * 100:g}": value for share, value in found}
    rows += [row | {"metric": f"{name}.{which}", "value": value, "kind": "gauge"} for which, value in said.items()]
    return [row for row in rows if math.isfinite(row["value"])]


def _quantiles(point: Distribution, series: tuple[str, ...], memory: Memory) -> list[tuple[float, float]]:
    counts: tuple[int, ...] | None = point.counts
    least, most = point.least, point.most
    if point.is_cumulative:
        least = most = None  # of its whole life
        before = memory.get(series)
        if before is not None and before.time >= point.time:
            return []  # late or twice: what came between is known already
        memory[series] = Last(point.time, point.start, point.counts)
        memory.move_to_end(series)
        if len(memory) > MOST_SERIES:
            memory.popitem(last=False)
        counts = _since(before, point)
    if counts is None:
        return []
    found = [(share, quantile(share, point.bounds, counts, least, most)) for share, _ in QUANTILES]
    return [(share, value) for share, value in found if value is not None]


def _since(before: Last | None, point: Distribution) -> tuple[int, ...] | None:
    """What was counted since the point before; None where there is none, or the counter began anew in between."""
    if before is None or before.start != point.start or len(before.counts) != len(point.counts):
        return None
    counts = tuple(now - then for now, then in zip(point.counts, before.counts, strict=True))
    return None if any(count < 0 for count in counts) else counts


def _labels(origin: Origin, attributes: dict[str, Any]) -> str | None:
    said = {name: value for name in PLACES if (value := origin.resource.get(name))}
    if not said and (instance := origin.resource.get(INSTANCE)):  # Prometheus has no other name for a process
        said = {INSTANCE: instance}
    found = {**said, **attributes}
    if not found:
        return None
    text = json_text(found)
    return text if len(text) <= TEXT_LENGTH else None
