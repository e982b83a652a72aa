"""Histograms as OTLP sends them: exponential buckets as bounds, quantiles out of counts between bounds. Pure."""

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

MOST_BUCKETS: Final = 2_000
LARGEST: Final = 1e300


def kind_of_sum(is_delta: bool, is_monotonic: bool) -> str:
    """A running total that also goes down is a level: its steps are no rate."""
    if is_delta:
        return "delta"
    return "cumulative" if is_monotonic else "gauge"


def exponential(
    scale: int, zeros: int, positive: tuple[int, Sequence[int]], negative: tuple[int, Sequence[int]]
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Bounds and counts of an exponential histogram, as of one with explicit bounds; empty where they make no sense.

    Bucket i of `positive` (offset, counts) holds what is above base**i, at most base**(i + 1); base is 2**(2**-scale).
    """
    if len(positive[1]) + len(negative[1]) > MOST_BUCKETS or not -10 <= scale <= 20:  # the range that exists
        return (), ()
    edges: dict[float, int] = {}  # upper bound -> count
    for place, count in reversed(list(enumerate(negative[1]))):
        edges[-_edge(scale, negative[0] + place)] = count
    edges[0.0] = edges.get(0.0, 0) + zeros
    for place, count in enumerate(positive[1]):
        bound = _edge(scale, positive[0] + place + 1)
        edges[bound] = edges.get(bound, 0) + count
    return tuple(edges), (*edges.values(), 0)


def _edge(scale: int, index: int) -> float:
    exponent = math.ldexp(index, -scale)
    return 2.0**exponent if abs(exponent) < 996 else (LARGEST if exponent > 0 else 0.0)


def quantile(
    share: float, bounds: Sequence[float], counts: Sequence[int], least: float | None, most: float | None
) -> float | None:
    """The value below which `share` of the counted values lie, even inside a bucket; None of nothing.

    The first and the last bucket have one bound each: there the least and the most that was seen stand in, else the
    bound that there is.
    """
    if len(counts) != len(bounds) + 1 or not bounds or any(count < 0 for count in counts):
        return None
    if any(not lower < upper for lower, upper in pairwise(bounds)):
        return None
    totals = list(accumulate(counts))
    if not totals[-1]:
        return None
    wanted = share * totals[-1]
    place = next(place for place, total in enumerate(totals) if total >= wanted and counts[place])
    lower = bounds[place - 1] if place else min(bounds[0], bounds[0] if least is None else least)
    upper = bounds[place] if place < len(bounds) else max(bounds[-1], bounds[-1] if most is None else most)
    if not place and least is None and bounds[0] > 0:
        lower = 0.0  # what is measured in buckets that begin above zero is hardly ever below it
    before = totals[place - 1] if place else 0
    return lower + (upper - lower) * (wanted - before) / counts[place]
