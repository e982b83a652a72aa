"""Reads what `aftermath whatif` replays: spans of sessions, which sessions are healthy, and the facts around them."""

from collections.abc import Sequence
from typing import Any

from sinks.clickhouse.client import Client

MOST_SESSIONS = 2_000  # healthy ones, drawn by the hash of their id: the same ones each time
MOST_SPANS = 500_000
MOST_FACTS = 20_000
SPANS = """
SELECT session_id, agent_id, span_id,
    toUnixTimestamp64Micro(coalesce(start_time, event_time - toIntervalMillisecond(duration_ms))) AS began,
    toUnixTimestamp64Micro(event_time) AS ended,
    operation, tool_name AS tool, target, tool_args, args_digest, access, status, approval, step,
    input_tokens - cached_input_tokens + output_tokens AS tokens
FROM agent_traces FINAL
WHERE tenant = {tenant:String} AND session_id IN {sessions:Array(String)}
ORDER BY began, span_id
LIMIT {most:UInt32}
"""
HEALTHY = """
SELECT session_id
FROM agent_traces
WHERE tenant = {tenant:String}
    AND event_time >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')
    AND event_time < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
    AND session_id NOT IN
    (
        SELECT arrayJoin(session_ids) FROM incidents FINAL WHERE tenant = {tenant:String} AND status != 'withdrawn'
    )
GROUP BY session_id
ORDER BY cityHash64(session_id), session_id
LIMIT {most:UInt32}
"""
FACTS = """
SELECT event_id AS fact_id, kind, resource, value, source, actor, session_id, message,
    toUnixTimestamp64Micro(event_time) AS happened,
    toUnixTimestamp64Micro(coalesce(published_time, event_time)) AS published,
    toUnixTimestamp64Micro(coalesce(valid_from, event_time)) AS begins,
    toUnixTimestamp64Micro(valid_until) AS ends
FROM cluster_events FINAL
WHERE tenant = {tenant:String} AND kind IN ('freeze', 'maintenance', 'dependency')
    AND event_time < fromUnixTimestamp64Micro({until:Int64}, 'UTC')
ORDER BY happened DESC, fact_id
LIMIT {most:UInt32}
"""


def spans(client: Client, tenant: str, sessions: Sequence[str]) -> list[dict[str, Any]]:
    """All spans of these sessions, in the order in which they began."""
    if not sessions:
        return []
    return client.query(SPANS, {"tenant": tenant, "sessions": list(sessions), "most": MOST_SPANS})


def healthy(client: Client, tenant: str, since: int, until: int, most: int = MOST_SESSIONS) -> list[str]:
    """Sessions of this time (end excluded) that no incident holds responsible, at most `most`."""
    rows = client.query(HEALTHY, {"tenant": tenant, "since": since, "until": until, "most": most})
    return [row["session_id"] for row in rows]


def facts(client: Client, tenant: str, until: int) -> list[dict[str, Any]]:
    """Freezes, maintenance windows and dependencies that happened by then, newest first."""
    return client.query(FACTS, {"tenant": tenant, "until": until, "most": MOST_FACTS})
