"""What is usual for a key: how much of something in each bucket of event time that had any, robustly.

Judge first, learn after: the bucket at hand is never in its own baseline, and one that was out of the ordinary is not
learned at all. Where hardly anything is counted in a bucket chance alone makes logarithms jump, and square roots, which
have the same spread at any rate, are compared instead. What is usual may depend on the hour (pipeline/core/seasons.py):
then each bucket is compared by what it would be at an hour like any other.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

BUCKETS = 120
ENOUGH = 20  # buckets before anything is judged
OPENS_AT = 6.0  # robust z
ABOVE_ALL = 2.0  # times the busiest bucket of the baseline: traffic that bursts by nature stays silent
LEAST_SPREAD = 0.2  # on the log scale, about 20%: a perfectly steady key does not fire on small change
LEAST_COUNT_SPREAD = 1.0  # of twice the square root of a count by chance


@dataclass(slots=True)
class Usual:
    """The bucket at hand, and what the buckets before it had that had any."""

    bucket: int = -1
    amount: int = 0
    is_odd: bool = False  # it was out of the ordinary
    factor: float = 1.0  # how many times as much as at another hour is usual in the bucket at hand
    before: deque[int] = field(default_factory=lambda: deque(maxlen=BUCKETS))

    def add(self, bucket: int, amount: int, factor: float = 1.0) -> None:
        """Add to the bucket at hand; another number ends the one before, which is learned unless it was odd."""
        if bucket != self.bucket:
            if self.amount and not self.is_odd:
                self.before.append(max(1, round(self.amount / self.factor)))
            self.bucket, self.amount, self.is_odd, self.factor = bucket, 0, False, factor
        self.amount += amount

    def excess(self, least: int, few: int = 0, above_all: float = ABOVE_ALL) -> tuple[float, float] | None:
        """(score, usual amount) where the bucket at hand is out of the ordinary: `least` at least, and never near it.

        few: below this, amounts are counts of chance. Marks the bucket as odd.
        """
        amount = self.amount / self.factor
        if len(self.before) < ENOUGH or self.amount < least or amount < above_all * max(self.before):
            return None
        usual = median(self.before)
        score = _score(amount, self.before, usual, is_count=usual < few)
        if score < OPENS_AT:
            return None
        self.is_odd = True
        return score, usual * self.factor


def _score(amount: float, before: deque[int], usual: float, *, is_count: bool) -> float:
    def scale(value: float) -> float:
        return 2 * math.sqrt(value) if is_count else math.log(value)

    middle = scale(usual)
    spread = 1.4826 * median(abs(scale(value) - middle) for value in before)
    return (scale(amount) - middle) / max(spread, LEAST_COUNT_SPREAD if is_count else LEAST_SPREAD)
