"""What the lanes of an incident show of a window of time, as JSON-ready rows. Times: Unix milliseconds of event time.

A window with more than `MOST_MARKS` calls or events comes in buckets, so that a day of a hundred thousand rows is a few
hundred marks; the page asks again when it zooms in. Writes come one by one beside them.
"""

from typing import Any, Final

from schemas.errors import AftermathError
from sinks.clickhouse import incidents as stored
from sinks.clickhouse.client import Client

MOST_MARKS: Final = 3_000
BUCKETS: Final = 600
MOST_SERIES: Final = 8
FACT_KINDS: Final = ("maintenance", "freeze", "flag", "quota", "deploy", "scale", "config")
MS: Final = "toUnixTimestamp64Milli({})"


def lanes(client: Client, incident_id: str, begin: int, end: int) -> dict[str, Any]:
    """What the lanes of an incident show from `begin` to `end`, milliseconds."""
    found = stored.by_id(client, incident_id)
    if end <= begin:
        raise AftermathError("The end of the window must come after its begin.")
    sessions = sorted({*found.session_ids, *(c.session_id for c in found.attribution.ranked if c.session_id)})
    resources = sorted(
        {item.resource for item in found.blast_radius}
        | {item.resource for item in found.evidence if item.resource}
        | {candidate.resource for candidate in found.attribution.ranked if candidate.resource}
    )
    window: dict[str, Any] = {
        "tenant": found.tenant,
        "sessions": sessions,
        "agent": found.agent_id or "",
        "resources": resources,
        "scope": found.scope or "",
        "began": found.started_at // 1000,
        "begin": begin,
        "end": end,
        "step": max(1, (end - begin) // BUCKETS),
    }
    return {
        "calls": _calls(client, window),
        "events": _events(client, window),
        "facts": client.query(FACTS, window | {"kinds": list(FACT_KINDS), "most": MOST_MARKS}),
        "series": _series(client, window),
    }


def _calls(client: Client, window: dict[str, Any]) -> dict[str, Any]:
    number = int(
        client.query(f"SELECT count() AS calls FROM agent_traces FINAL WHERE {OF_SESSIONS}", window)[0]["calls"]
    )
    if number > MOST_MARKS:
        return {
            "count": number,
            "buckets": client.query(CALL_BUCKETS, window),
            "rows": client.query(WRITES, window | {"most": MOST_MARKS}),
        }
    return {"count": number, "buckets": [], "rows": client.query(CALLS, window)}


def _events(client: Client, window: dict[str, Any]) -> dict[str, Any]:
    number = int(
        client.query(f"SELECT count() AS events FROM cluster_events FINAL WHERE {OF_PLACE}", window)[0]["events"]
    )
    if number > MOST_MARKS:
        return {"count": number, "buckets": client.query(EVENT_BUCKETS, window), "rows": []}
    return {"count": number, "buckets": [], "rows": client.query(EVENTS, window)}


def _series(client: Client, window: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics of these resources that differ most from before the incident, each in at most BUCKETS points."""
    return client.query(SERIES, window | {"most": MOST_SERIES})


BEGAN: Final = "coalesce(start_time, event_time - toIntervalMillisecond(duration_ms))"
SINCE: Final = "toDateTime64({begin:Int64} / 1000, 6, 'UTC')"
UNTIL: Final = "toDateTime64({end:Int64} / 1000, 6, 'UTC')"
OF_SESSIONS: Final = (
    "tenant = {tenant:String} AND has({sessions:Array(String)}, session_id)"
    f" AND event_time >= {SINCE} AND event_time < {UNTIL}"
)
CALL_COLUMNS: Final = f"""
SELECT {MS.format(BEGAN)} AS at_ms, {MS.format("event_time")} AS end_ms, operation, tool_name, access, target, status, agent_id, span_id,
    input_tokens, output_tokens, left(tool_args, 300) AS args, left(summary, 400) AS believed"""
CALLS: Final = f"{CALL_COLUMNS} FROM agent_traces FINAL WHERE {OF_SESSIONS} ORDER BY event_time, span_id"
WRITES: Final = f"{CALL_COLUMNS} FROM agent_traces FINAL WHERE {OF_SESSIONS} AND access NOT IN ('', 'read') ORDER BY event_time, span_id LIMIT {{most:UInt32}}"
CALL_BUCKETS: Final = f"""
SELECT intDiv({MS.format("event_time")}, {{step:Int64}}) * {{step:Int64}} AS at_ms, count() AS calls, countIf(status = 'error') AS errors,
    countIf(access NOT IN ('', 'read')) AS writes, sum(input_tokens + output_tokens) AS tokens
FROM agent_traces FINAL WHERE {OF_SESSIONS} GROUP BY at_ms ORDER BY at_ms"""
NEAR: Final = "tenant = {tenant:String} AND (has({resources:Array(String)}, resource) OR ({scope:String} != '' AND startsWith(resource, concat({scope:String}, '/'))))"
OF_PLACE: Final = f"{NEAR} AND event_time >= {SINCE} AND event_time < {UNTIL} AND kind != 'dependency'"
EVENTS: Final = f"""
SELECT {MS.format("event_time")} AS at_ms, event_id, resource, kind, reason, severity, actor, actor_kind, count, left(message, 300) AS message
FROM cluster_events FINAL WHERE {OF_PLACE} ORDER BY event_time, event_id"""
EVENT_BUCKETS: Final = f"""
SELECT intDiv({MS.format("event_time")}, {{step:Int64}}) * {{step:Int64}} AS at_ms, count() AS events, countIf(severity = 'warning') AS warnings,
    topK(3)(if(reason = '', kind, reason)) AS most
FROM cluster_events FINAL WHERE {OF_PLACE} GROUP BY at_ms ORDER BY at_ms"""
FACTS: Final = f"""
SELECT event_id, resource, kind, value, source, left(message, 300) AS message,
    {MS.format("coalesce(valid_from, event_time)")} AS from_ms, if(valid_until IS NULL, NULL, {MS.format("assumeNotNull(valid_until)")}) AS until_ms,
    {MS.format("coalesce(published_time, event_time)")} AS published_ms
FROM cluster_events FINAL WHERE {NEAR} AND has({{kinds:Array(String)}}, kind) AND coalesce(valid_from, event_time) < {UNTIL}
    AND coalesce(valid_until, {UNTIL}) >= {SINCE} AND event_time >= {SINCE} - INTERVAL 7 DAY
ORDER BY from_ms, event_id LIMIT {{most:UInt32}}"""
SERIES: Final = f"""
SELECT resource, metric, any(unit) AS unit, groupArray(at_ms) AS times, groupArray(value) AS points,
    abs(avgIf(value, at_ms >= {{began:Int64}}) - avgIf(value, at_ms < {{began:Int64}}))
        / (stddevPopIf(value, at_ms < {{began:Int64}}) + abs(avgIf(value, at_ms < {{began:Int64}})) / 1000 + 1e-9) AS moved
FROM (
    SELECT resource, metric, any(unit) AS unit, intDiv({MS.format("event_time")}, {{step:Int64}}) * {{step:Int64}} AS at_ms, avg(value) AS value
    FROM system_metrics FINAL
    WHERE tenant = {{tenant:String}} AND has({{resources:Array(String)}}, resource) AND event_time >= {SINCE} AND event_time < {UNTIL}
    GROUP BY resource, metric, at_ms ORDER BY resource, metric, at_ms
) GROUP BY resource, metric HAVING length(points) > 1 ORDER BY if(isNaN(moved), 0, moved) DESC, resource, metric LIMIT {{most:UInt32}}"""
