"""Why a call is not made.

GuardError
├── AgentPaused       a control holds the agent, until it ends or is resumed
│   ├── AgentHalted   ... until it is resumed
│   └── GuardBlind    nobody knows: the broker is away, and this guard fails closed
├── LimitReached      limits.yml allows no more of it
└── NotCleared        strict mode: something was not read, not approved, not said, or is not as expected
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aftermath_client.preflight import Preflight


class GuardError(Exception):
    """A call that is not made. The text is for the agent and for people alike."""


class AgentPaused(GuardError):  # noqa: N818 - it is a state, and services catch it by that name
    """reason, author: who paused it and why. until: microseconds UTC, None without an end.

    is_settling: it is half open, and this session has asked to be the one that tries.
    """

    def __init__(
        self, text: str, *, reason: str, author: str = "", until: int | None = None, is_settling: bool = False
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.author = author
        self.until = until
        self.is_settling = is_settling


class AgentHalted(AgentPaused):
    """Held until a person resumes it: waiting is no use."""


class GuardBlind(AgentPaused):
    """The controls are not known: the broker did not answer for too long."""


class LimitReached(GuardError):  # noqa: N818
    """limit: its name in limits.yml; allowed: its value."""

    def __init__(self, text: str, *, limit: str, allowed: object) -> None:
        super().__init__(text)
        self.limit = limit
        self.allowed = allowed


class NotCleared(GuardError):  # noqa: N818
    """report: what was found; its `refusals` say each what to do."""

    def __init__(self, text: str, *, report: "Preflight") -> None:
        super().__init__(text)
        self.report = report
