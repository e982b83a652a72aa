"""How far a distribution moved, and how far chance alone would move it. Pure.

Distance of two mixes (tools, transitions): the Jensen-Shannon divergence of Lin, "Divergence measures based on the
Shannon entropy", IEEE Transactions on Information Theory 37 (1991), in bits: 0 the same, 1 nothing in common.
Of two sets of lengths (steps, tokens): the population stability index, sum of (p - q) ln(p / q) over bins that cut the
earlier values in equal parts; as in Siddiqi, "Credit Risk Scorecards" (2006), where 0.1 is a little and 0.25 is much.

Both grow with chance when samples are small. By Yurdakul, "Statistical properties of the population stability index"
(2018), the index of two samples of one population is about (1/n + 1/m) times a chi-square with one degree of freedom
less than bins; the divergence, to second order an eighth of the same sum, (1/n + 1/m) / (8 ln 2) times it. What does
not pass the 99th percentile of that is not said to have moved. Calls of one run lean on each other, so for mixes the
bound is a lower one, and a floor stands beside it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_MOVES = 3
DISTANCE_FLOOR = 0.05  # bits
INDEX_FLOOR = 0.1
NORMAL_99 = 2.3263478740408408


@dataclass(frozen=True, slots=True)
class Move:
    """How far one mix moved, the bound it has to pass, and what moved most, as shares before and now."""

    moved: float  # bits
    bound: float
    most: Mapping[str, tuple[float, float]]

    @property
    def is_beyond_chance(self) -> bool:
        return self.moved > self.bound


def move_of(now: Mapping[str, int], before: Mapping[str, int]) -> Move:
    """The move of two counts over the same names; both must have any."""
    n, m = sum(now.values()), sum(before.values())
    shares = {name: (before[name] / m, now[name] / n) for name in now}
    most = sorted(now, key=lambda name: (-abs(shares[name][1] - shares[name][0]), name))[:MOST_MOVES]
    bound = max(chance_of_divergence(n, m, len(now)), DISTANCE_FLOOR)
    return Move(jensen_shannon(now, before), bound, {name: shares[name] for name in most})


def jensen_shannon(now: Mapping[str, int], before: Mapping[str, int]) -> float:
    """The divergence of two counts in bits; both must have any."""
    n, m = sum(now.values()), sum(before.values())
    total = 0.0
    for name in sorted(now.keys() | before.keys()):
        p, q = now.get(name, 0) / n, before.get(name, 0) / m
        middle = (p + q) / 2
        total += sum(share * math.log2(share / middle) for share in (p, q) if share > 0) / 2
    return max(0.0, total)


def stability_index(now: Sequence[int], before: Sequence[int]) -> float:
    """The index of two histograms over the same bins; half a value more in each bin, so that none is empty."""
    n, m = sum(now) + len(now) / 2, sum(before) + len(before) / 2
    shares = [((a + 0.5) / n, (b + 0.5) / m) for a, b in zip(now, before, strict=True)]
    return sum((p - q) * math.log(p / q) for p, q in shares)


def chance_of_index(n: int, m: int, bins: int) -> float:
    """What the index of equal populations stays below 99 times of 100."""
    return (1 / n + 1 / m) * chi_square_99(bins - 1)


def chance_of_divergence(n: int, m: int, names: int) -> float:
    """What the divergence of equal mixes stays below 99 times of 100, in bits."""
    return (1 / n + 1 / m) * chi_square_99(names - 1) / (8 * math.log(2))


def chi_square_99(freedom: int) -> float:
    """The 99th percentile, by Wilson and Hilferty (1931), within 2%; 0 without freedom."""
    if freedom < 1:
        return 0.0
    part = 2 / (9 * freedom)
    return freedom * float((1 - part + NORMAL_99 * math.sqrt(part)) ** 3)
