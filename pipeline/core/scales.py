"""What a metric is: the scale it is judged on, and the side of it that is bad. Told by its name's words and its unit.

Latencies: logarithm, and only up is bad. Success rates: the share that fails, as the arcsine of its root (there chance
is equally wide everywhere), so 99.9 to 99 % is a jump and 97 to 96 % is none. Others, such as connections or bytes: as
they are, both ways unless a word says which is bad. Words are whole, split where names are split:
`_ . - /` and case. So `system_failure_temperature` is a temperature, and `already_seen` is not ready.
"""

import re
from itertools import pairwise

import numpy as np

from pipeline.core.series import Floats
from pipeline.core.sessions import Slots

PLAIN, LOG, SHARE = 0, 1, 2
# by scale: least spread, as a share of the level and absolute
LEAST_SPREAD = np.array([[0.02, 0.0], [0.0, 0.05], [0.0, 0.02]])
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+[a-z]*")
# fmt: off
UP_IS_BAD = frozenset([
    "latency", "latencies", "duration", "durations", "error", "errors", "errored", "fail", "fails", "failed", "failing",
    "failures", "restart", "restarts", "restarted", "lag", "throttle", "throttles", "throttled", "throttling", "oom",
    "ooms", "oomkilled", "rejected", "rejects", "rejections", "timeout", "timeouts", "unavailable", "unhealthy",
    "unready", "unsuccessful",
])
DOWN_IS_BAD = frozenset([
    "available", "availability", "success", "successes", "successful", "ready", "healthy", "uptime",
])
# fmt: on
TIMES = frozenset(["latency", "latencies", "duration", "durations"])
SHARES = frozenset(["rate", "ratio", "percent", "percentage", "share"])
COUNTS = SHARES | {"count", "total"}  # beside one of these `failure` is what is counted, else what the series is of


def kind_of_metric(metric: str, unit: str | None) -> tuple[int, int]:
    """Its scale, and the side of it that is bad: 1 up, -1 down, 0 both; a share is judged by what fails, so up."""
    words = [word.lower() for word in WORDS.findall(metric)]
    named = set(words)
    if named & DOWN_IS_BAD and not named & UP_IS_BAD:
        return (SHARE, 1) if unit in ("%", "1") or named & SHARES else (PLAIN, -1)
    if named & TIMES or ("response", "time") in pairwise(words):
        return LOG, 1
    return PLAIN, int(bool(named & UP_IS_BAD or ("failure" in named and named & COUNTS)))


def on_scale(values: Floats, scale: Slots) -> Floats:
    """Values as they are judged: latencies on a log scale, success rates by the share that fails."""
    logs = np.log(np.maximum(values, 1e-9))
    whole = np.where(np.abs(values) > 1.0, 100.0, 1.0)
    failing = 2 * np.arcsin(np.sqrt(np.clip(1 - values / whole, 0.0, 1.0)))
    return np.where(scale == LOG, logs, np.where(scale == SHARE, failing, values))


def off_scale(value: float, scale: int, beside: float) -> float:
    """The other way, for people; a share is in percent where the value beside it is."""
    if scale == LOG:
        return float(np.exp(value))
    if scale == SHARE:
        return float(np.cos(max(0.0, value) / 2) ** 2) * (100.0 if abs(beside) > 1.0 else 1.0)
    return value
