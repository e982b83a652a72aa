"""Agreement: how much weak symptoms near to each other say together, and how much they must. Pure.

A series leaves what is usual for it now and then, and one that does so alone waits. What it says grows with the
logarithm of how far beyond its limit it is, for the tails of such series are heavy: 1 at the limit, MOST_OF_ONE at
seven times that. A metric without a bad side, such as load, says half: more requests harm nobody by themselves.
Metrics of one resource are of the same calls, so the strongest counts whole and the others half. A warning of
Kubernetes is no matter of chance: three different ones are enough.

How much is enough is learned for each namespace. Weak symptoms that nothing came of are its noise; were they spread by
chance (Poisson), so many together must come less often than once in a thousand waits.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log

from pipeline.core.scales import kind_of_metric
from schemas.signals import Signal
from schemas.times import MINUTE

ENOUGH = 3.5
WARNING = 1.25
MOST_OF_ONE = 3.0
NO_SIDE = 0.75
SAME_RESOURCE = 0.5
BY_CHANCE = 1e-3  # a wait
ABOVE_CHANCE = 0.5
DAY = 24 * 60 * MINUTE
LEAST_AGE = DAY // 4  # the first hours say little of a day
FORGOTTEN = 7 * DAY


@dataclass(slots=True)
class Noise:
    """Of one namespace: its weak symptoms that nothing came of, fading over a day, as of `at`."""

    count: float
    since: int
    at: int

    def add(self, at: int) -> None:
        """One more, at this time."""
        self.count = self._as_of(at) + 1.0
        self.at = max(self.at, at)

    def expected(self, at: int, wait: int) -> float:
        """How many of them come in a wait by chance."""
        return self._as_of(at) * wait / min(DAY, max(LEAST_AGE, at - self.since))

    def _as_of(self, at: int) -> float:
        return self.count * exp(-max(0, at - self.at) / DAY)


def needed(expected: float) -> float:
    """What weak symptoms must say together where so many of them come by chance."""
    number, term, below = 0, exp(-expected), 0.0
    while 1 - below > BY_CHANCE and term > 0:
        below += term
        number += 1
        term *= expected / number
    return max(ENOUGH, number + ABOVE_CHANCE)


def said_together(signals: Iterable[Signal]) -> float:
    """What these say; nothing where they are of one series."""
    metrics: dict[str, dict[str, float]] = defaultdict(dict)
    warnings = set[tuple[str, str]]()
    for signal in signals:
        details, resource = signal.details, signal.resource or ""
        metric = details.get("metric")
        if metric is None:
            warnings.add((resource, details.get("reason") or ""))
        else:
            metrics[resource][metric] = max(_weight(signal, metric), metrics[resource].get(metric, 0.0))
    if len(warnings) + sum(map(len, metrics.values())) < 2:
        return 0.0
    found = WARNING * len(warnings)
    for weights in metrics.values():
        most = max(weights.values())
        found += most + SAME_RESOURCE * (sum(weights.values()) - most)
    return found


def _weight(signal: Signal, metric: str) -> float:
    limit = signal.details.get("limit")
    beyond = signal.score / limit if limit else 1.0
    _, side = kind_of_metric(metric, None)
    return min(MOST_OF_ONE, 1 + log(max(1.0, beyond))) * (1.0 if side else NO_SIDE)
