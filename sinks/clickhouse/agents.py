"""Reads what one agent did last, and its open incidents."""

from typing import Any

from schemas.incidents import Incident
from sinks.clickhouse.client import Client
from sinks.clickhouse.incidents import incident_of


def steps_of(client: Client, tenant: str, agent: str, limit: int) -> list[dict[str, Any]]:
    """Its last steps, oldest first."""
    rows = client.query(
        "SELECT event_time, start_time, session_id, operation, tool_name, access, target, status, error_type, summary,"
        " context_facts, approval FROM agent_traces"
        " WHERE tenant = {tenant:String} AND agent_id = {agent:String} AND late = 0"
        " ORDER BY event_time DESC, span_id LIMIT {limit:UInt32}",
        {"tenant": tenant, "agent": agent, "limit": limit},
    )
    return rows[::-1]


def incidents_of(client: Client, tenant: str, agent: str) -> list[Incident]:
    """Its open incidents, newest first."""
    rows = client.query(
        "SELECT * FROM incidents FINAL"
        " WHERE status = 'open' AND tenant = {tenant:String} AND agent_id = {agent:String}"
        " ORDER BY started_at DESC, incident_id LIMIT 20",
        {"tenant": tenant, "agent": agent},
    )
    return [incident_of(row) for row in rows]
