"""The metrics of the story: every series, its usual level, and what the story does to it.

Every series has a point every 15 seconds from the first second on, and a bounded noise of its own: what is
normal can be learned, and nothing outside the story leaves it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.demo.recorder import Event, Recorder
from pipeline.demo.timeline import (
    END,
    FAILURE_AT,
    MEMORY_FALLS_AT,
    NODE_OOM_AT,
    NODE_WELL_AT,
    RECOVERED_AT,
    START,
)
from schemas.times import MICROS

STEP = 15 * MICROS
MAX_CONNECTIONS = 500

CART = "prod-eu/checkout/deployment/cart"
CART_DB = "prod-eu/checkout/statefulset/cart-db"
NODES = tuple(f"prod-eu/cluster/node/node-{number}" for number in range(1, 8))
SICK_NODE = NODES[6]
GIB = 1024.0**3

# moment -> the level at that moment, or None: as usual
Effect = Callable[[int], float | None]


def as_usual(_: int) -> float | None:
    """Nothing happens to this series."""
    return None


def during_failure(level: float, after_seconds: int = 0) -> Effect:
    """`level` from the failure (or a little after it) until the recovery."""

    def effect(moment: int) -> float | None:
        return level if FAILURE_AT + after_seconds * MICROS <= moment < RECOVERED_AT else None

    return effect


def memory_runs_out(moment: int) -> float | None:
    """Falls in a straight line to almost nothing, stays there while the kernel kills, and comes back."""
    if moment < MEMORY_FALLS_AT or moment >= NODE_WELL_AT:
        return None
    left = max(0.0, (NODE_OOM_AT - moment) / (NODE_OOM_AT - MEMORY_FALLS_AT))
    return (0.1 + 6.0 * left) * GIB


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one resource: `usual` give or take `noise`, never outside least and most.

    At another level the noise is as large in proportion.
    """

    resource: str
    metric: str
    unit: str
    usual: float
    noise: float
    effect: Effect = as_usual
    least: float = 0.0
    most: float = float("inf")
    digits: int = 2

    def value(self, moment: int, unrest: float) -> float:
        """The value at a moment; `unrest` is between -1 and 1."""
        level = self.effect(moment)
        scale = 1.0 if level is None else level / self.usual
        wanted = (self.usual if level is None else level) + self.noise * scale * unrest
        return float(round(min(self.most, max(self.least, wanted)), self.digits))


SERIES = (
    # The failure begins at the database and reaches the service one or two points later.
    # The wish for connections goes far beyond what the database has: it stays at its maximum.
    Series(CART_DB, "db.connections", "{connection}", 180, 9, during_failure(700), most=MAX_CONNECTIONS, digits=0),
    Series(CART_DB, "db.queries_per_second", "{query}/s", 1200, 70, during_failure(9600, 15)),
    Series(CART_DB, "db.cpu_percent", "%", 34, 3, during_failure(97, 15), most=100),
    Series(CART, "http.latency_p95_ms", "ms", 120, 9, during_failure(2400, 15)),
    Series(CART, "http.availability_percent", "%", 99.93, 0.04, during_failure(61, 30), most=100, digits=3),
    Series(CART, "http.requests_per_second", "{request}/s", 410, 26),
    *(
        Series(node, "memory.available_bytes", "By", 6.1 * GIB, 0.2 * GIB, digits=0)
        for node in NODES
        if node != SICK_NODE
    ),
    Series(SICK_NODE, "memory.available_bytes", "By", 6.1 * GIB, 0.2 * GIB, memory_runs_out, digits=0),
    # Five replicas carry on for the two that died: the service itself is not harmed.
    Series("prod-eu/docs/deployment/docs-api", "http.latency_p95_ms", "ms", 85, 7),
    Series("prod-eu/docs/deployment/docs-api", "http.requests_per_second", "{request}/s", 150, 12),
    Series("prod-eu/payments/deployment/payments", "http.latency_p95_ms", "ms", 210, 15),
    Series("prod-eu/payments/deployment/payments", "http.requests_per_second", "{request}/s", 95, 8),
    Series("site-12/wordpress/service/site", "http.requests_per_second", "{request}/s", 32, 5),
    Series("site-12/wordpress/service/site", "http.latency_p95_ms", "ms", 340, 22),
)


def readings(seed: int) -> Iterator[Event]:
    """Every point of every series over the half hour."""
    for series in SERIES:
        # a stream of numbers for each series: adding one leaves the others as they are
        recorder = Recorder(seed, f"{series.resource}/{series.metric}")
        for moment in range(START, END, STEP):
            recorder.metric(
                moment,
                resource=series.resource,
                metric=series.metric,
                value=series.value(moment, recorder.rng.triangular(-1, 1, 0)),
                unit=series.unit,
                kind="gauge",
            )
        yield from recorder.events
