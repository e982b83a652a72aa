"""How often a rule is worth being woken for, from what on-call marked: never less than this, 19 times of 20.

The lower end of the score interval of Wilson, "Probable inference, the law of succession, and statistical inference",
Journal of the American Statistical Association 22 (1927). One good page of one is no proof: 21%, not 100%.
"""

import math

NORMAL_975 = 1.959963984540054
FLOOR = 0.5  # a rule that may be wrong more often than right should not wake anybody
LEAST_MARKS = 10


def wilson_lower(useful: int, marked: int) -> float:
    """The lower bound of useful / marked; 0 where nothing is marked."""
    if marked == 0:
        return 0.0
    z2 = NORMAL_975**2
    share = useful / marked
    middle = share + z2 / (2 * marked)
    spread = NORMAL_975 * math.sqrt(share * (1 - share) / marked + z2 / (4 * marked * marked))
    return max(0.0, (middle - spread) / (1 + z2 / marked))


def is_below_floor(useful: int, marked: int) -> bool:
    """Whether a rule should be looked at: enough marks, and its bound below the floor."""
    return marked >= LEAST_MARKS and wilson_lower(useful, marked) < FLOOR
