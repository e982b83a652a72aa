"""The one place that reads the clock; everywhere else the time is an argument."""

import time

MICROS = 1_000_000
MINUTE = 60 * MICROS


def now_micros() -> int:
    """Microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def monotonic() -> float:
    """Seconds that only ever grow."""
    return time.monotonic()
