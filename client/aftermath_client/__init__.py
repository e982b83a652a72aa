"""For services that run AI agents: may this call be made now, what should the agent know before it, what did it do.

    guard = Guard("kafka:9092", tenant="acme", agent_id="capacity-agent", agent_version="2.4.1", strict=True)
    with guard.session("run-812"):
        report = guard.preflight("prod-eu/checkout/deployment/cart")
        with guard.step("kubernetes.scale", "prod-eu/checkout/deployment/cart", "write", args={"replicas": 24}):
            scale(24)

Every answer comes from a copy in this process; a thread beside keeps it like the topics of Aftermath.
"""

from aftermath_client.errors import AgentHalted, AgentPaused, GuardBlind, GuardError, LimitReached, NotCleared
from aftermath_client.guard import Guard
from aftermath_client.preflight import Preflight
from aftermath_client.session import Session, Step

__all__ = [
    "AgentHalted",
    "AgentPaused",
    "Guard",
    "GuardBlind",
    "GuardError",
    "LimitReached",
    "NotCleared",
    "Preflight",
    "Session",
    "Step",
]
