"""References: which message shows what. Every signal carries some, and they end up on the incident."""

from typing import Any, Literal

from schemas.signals import Action

EvidenceType = Literal["signal", "symptom", "action", "fact", "change"]


def reference(
    row: dict[str, Any],
    topic: str,
    event_id: str,
    shows: str,
    *,
    kind: EvidenceType,
    resource: str | None,
    tool: str | None = None,
) -> dict[str, Any]:
    """The reference to one row of a frame; fields of `schemas.incidents.Evidence`, the time in microseconds."""
    return {
        "type": kind,
        "topic": topic,
        "partition": row["partition"],
        "offset": row["offset"],
        "event_id": event_id,
        "event_time": row["event_time"],
        "resource": resource,
        "tool_name": tool,
        "shows": shows,
    }


def span_reference(row: dict[str, Any], shows: str) -> dict[str, Any]:
    """The reference to an AgentSpan row."""
    tool = row.get("tool_name")
    return reference(row, "agent.traces.v1", row["span_id"], shows, kind="signal", resource=row["target"], tool=tool)


def usage_reference(signal_id: str, at: int, shows: str) -> dict[str, Any]:
    """The reference to what was used: a sum over many messages, which no single one shows."""
    row = {"partition": -1, "offset": -1, "event_time": at}
    return reference(row, "signals.v1", signal_id, shows, kind="signal", resource=None)


def action_reference(action: Action, shows: str) -> dict[str, Any]:
    """The reference to an agent's action."""
    row = {"partition": action.partition, "offset": action.offset, "event_time": action.end_time}
    tool = action.tool_name
    return reference(row, action.topic, action.span_id, shows, kind="action", resource=action.target, tool=tool)
