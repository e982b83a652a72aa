"""A sign of life to a dead-man service: it pages where the signs stop, because we then cannot.

Not an alert of ours: nothing stands in the outbox, and nothing is tried again, for the next beat comes soon. Two kinds
of receiver can carry it: a webhook (most such services take a POST to a secret address), and Alertmanager, as the alert
that always fires and that a route of its own sends on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from alerts.receivers.receiver import Delivery, Receiver
from schemas.errors import ConfigurationError

ALERT_NAME = "AftermathHeartbeat"


@dataclass(frozen=True, slots=True)
class Beat:
    """One sign. `at` and `interval` in microseconds."""

    source: str  # which Aftermath: the prefix of its groups
    at: int
    interval: int
    stages: tuple[str, ...]  # what was seen to make progress


@runtime_checkable
class Beating(Protocol):
    """A receiver that can carry signs of life."""

    async def beat(self, beat: Beat) -> Delivery:
        """One attempt. Ends within the receiver's time-out."""


def beating(receivers: Mapping[str, Receiver], name: str) -> Beating:
    """The receiver of this name. Raises ConfigurationError where it cannot carry signs of life."""
    found = receivers[name]
    if not isinstance(found, Beating):
        raise ConfigurationError(
            f"receiver {name}: its kind carries no heartbeat; name one of kind webhook or alertmanager."
        )
    return found
