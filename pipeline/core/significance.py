"""Whether two samples differ by more than chance: Welch's t-test, one-sided, for small samples of unequal spread."""

import math
from collections.abc import Sequence
from statistics import fmean, variance


def chance_of_more(old: Sequence[float], new: Sequence[float], least_spread: float) -> float:
    """How likely the mean of `new` would be above that of `old` by so much if both were the same; two or more each.

    least_spread: a standard deviation that is assumed at least, so that samples without any spread prove nothing.
    """
    floor = least_spread**2
    of_old, of_new = max(variance(old), floor) / len(old), max(variance(new), floor) / len(new)
    t = (fmean(new) - fmean(old)) / math.sqrt(of_old + of_new)
    freedom = (of_old + of_new) ** 2 / (of_old**2 / (len(old) - 1) + of_new**2 / (len(new) - 1))
    return student_tail(t, freedom)


def student_tail(t: float, freedom: float) -> float:
    """The share of Student's distribution above t."""
    half = _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t)) / 2
    return half if t >= 0 else 1 - half


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(1 - x))
    tiny, c, d = 1e-300, 1.0, 0.0
    fraction = 1.0
    for step in range(200):
        m = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / (1 + term * d or tiny)
        c = 1 + term / c or tiny
        fraction *= c * d
        if step and abs(1 - c * d) < 1e-12:
            break
    return front * (fraction - 1) / a if fraction != 1 else 0.0
