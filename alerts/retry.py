"""When a notification that could not be delivered is tried again.

Exponential back-off with full jitter: the wait is anywhere between zero and a bound that doubles, so that
many pages which failed together do not come back together. A receiver that names a time (`Retry-After`) is
not asked before it. Pure: the random number and the time that has passed come in; whoever calls waits.

Giving up is not forgetting: a notification that is recorded as failed is decided again with the incident's
next revision and after a restart.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from alerts.receivers.receiver import Delivery
from schemas.incidents import Severity

# how long to keep trying, in seconds: a page is worth hours of trying, an old note is worth little
DEADLINES: Mapping[Severity, float] = MappingProxyType({"critical": 6 * 3600.0, "warning": 3600.0, "info": 600.0})
MOST_DOUBLINGS = 32  # beyond it every cap is reached; keeps the power small


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Bounds of the wait, and for each severity how long to try."""

    base_seconds: float = 1.0
    cap_seconds: float = 300.0
    deadline_seconds: Mapping[Severity, float] = field(default_factory=lambda: DEADLINES)

    def wait(
        self,
        delivery: Delivery,
        *,
        attempt: int,
        elapsed_seconds: float,
        severity: Severity,
        random: Callable[[], float],
    ) -> float | None:
        """Seconds until the next attempt; None where there is none: delivered, permanent, past the deadline.

        `attempt` counts from 1 and is the one that ended with this delivery; `elapsed_seconds` runs from the
        first attempt's start; `random` gives a number from 0 up to, not including, 1. The last wait may pass
        the deadline, never by more than the cap or what the receiver asked for.
        """
        if delivery.ok or not delivery.is_transient or elapsed_seconds >= self.deadline_seconds[severity]:
            return None
        bound = min(self.cap_seconds, self.base_seconds * 2.0 ** min(attempt - 1, MOST_DOUBLINGS))
        return (delivery.retry_after or 0.0) + bound * random()
