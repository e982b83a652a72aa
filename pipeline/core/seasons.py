"""What hour of the week it is, and how much more or less than usual that means for a key. Pure.

For each hour of the week the level (the mean logarithm of what was used in a bucket) of the last four weeks is kept,
and its median counts, so that one odd hour moves nothing once there are others. While history is short, the hour of the
week is drawn towards the same hour of all days, and that towards the middle of all hours: with none, every hour is
alike. An hour is learned when it is over.
"""

import math
from dataclasses import dataclass, field
from statistics import median

from schemas.times import MINUTE

HOUR = 60 * MINUTE
HOURS_OF_A_WEEK, HOURS_OF_A_DAY = 168, 24
WEEKS = 4
SHRINKAGE = 3  # as many days, or weeks, of one's own weigh as much as what one is drawn to


@dataclass(slots=True)
class Season:
    """levels: hour of the week -> its level in the last weeks in which anything was used then."""

    levels: dict[int, list[float]] = field(default_factory=dict)
    hour: int = -1  # the hour at hand, since 1970
    total: float = 0.0  # of the logarithms of its buckets
    buckets: int = 0

    def add(self, at: int, amount: int) -> None:
        """A bucket that is over, in which so much was used; an amount of 0 says nothing."""
        hour = at // HOUR
        if hour != self.hour:
            if self.buckets:
                slot = self.hour % HOURS_OF_A_WEEK
                self.levels[slot] = [*self.levels.get(slot, ()), self.total / self.buckets][-WEEKS:]
            self.hour, self.total, self.buckets = hour, 0.0, 0
        if amount > 0:
            self.total += math.log(amount)
            self.buckets += 1

    def factor(self, at: int) -> float:
        """How many times as much as in the middle of all hours is usual at this moment."""
        if not self.levels:
            return 1.0
        slot = at // HOUR % HOURS_OF_A_WEEK
        of_day = [
            level
            for other in range(slot % HOURS_OF_A_DAY, HOURS_OF_A_WEEK, HOURS_OF_A_DAY)
            for level in self.levels.get(other, ())
        ]
        middle = median(median(levels) for levels in self.levels.values())
        return math.exp(_drawn(self.levels.get(slot, []), _drawn(of_day, middle)) - middle)


def _drawn(levels: list[float], towards: float) -> float:
    if not levels:
        return towards
    return (len(levels) * median(levels) + SHRINKAGE * towards) / (len(levels) + SHRINKAGE)
