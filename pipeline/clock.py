"""The one file that reads the clock. Everything else takes `now` as an argument."""

import time


def now_micros() -> int:
    """Microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def monotonic() -> float:
    """Seconds that only grow: for deadlines and lengths of time, never for dates."""
    return time.monotonic()
