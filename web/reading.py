"""What the page asks ClickHouse, as JSON-ready rows. Times are Unix milliseconds of event time.

A window with more than `MOST_MARKS` calls comes in buckets, so that a day of a hundred thousand rows is a few hundred
marks; the page asks again when it zooms in.
"""

from collections.abc import Callable
from typing import Any, Final

from reports.postmortem.build import build
from reports.postmortem.case import load
from reports.postmortem.formats import FORMATS
from reports.postmortem.sections.prevention import SECTION
from reports.roundup.drift import move_of
from reports.roundup.sections.metrics import LEAST_CALLS
from schemas.controls import Control
from schemas.errors import AftermathError
from schemas.incidents import Incident
from schemas.times import MINUTE, parse_time
from sinks.clickhouse import incidents as stored
from sinks.clickhouse.client import Client
from web.marks import LIST_FIELDS, held_json, incident_json

MOST_INCIDENTS: Final = 50
MOST_MARKS: Final = 3_000
BUCKETS: Final = 600
MOST_SERIES: Final = 8
MOST_ROWS: Final = 5_000  # of a list
MOST_AGENTS: Final = 100
Budget = Callable[[str, str], int | None]  # tenant, agent -> tokens it may use in a UTC day; None: not limited
BEFORE, AFTER = 10 * MINUTE, 5 * MINUTE  # around an incident
BURN_MINUTES: Final = 60
DRIFT_DAYS: Final = 7
FACT_KINDS: Final = ("maintenance", "freeze", "flag", "quota", "deploy", "scale", "config")


def latest(client: Client) -> int:
    """The newest pane that was counted, microseconds; 0 where there is none. A recording's now is not ours."""
    rows = client.query("SELECT toUnixTimestamp64Micro(max(pane)) AS at FROM agent_usage")
    return max(0, int(rows[0]["at"]))


def overview(client: Client, now: int, clock: int, budget: Budget) -> dict[str, Any]:
    """What happened since a day before `now`, what agents use since an hour before it, and who is held by the clock.

    Microseconds. Of a recording `now` is the newest that was counted; controls are people's, and end by the clock.
    """
    incidents = stored.newest(client, MOST_INCIDENTS)
    is_open = stored.newest(client, MOST_INCIDENTS, only_open=True)
    return {
        "now": now // 1000,
        "open": [_listed(incident) for incident in is_open],
        "recent": [_listed(incident) for incident in incidents if incident.status != "open"],
        "agents": _agents(client, now, budget),
        "pages": client.query(PAGES, {"now": now}),
        "held": held(client, clock),
        "silent": [
            {"id": incident.incident_id, "scope": incident.scope, "title": incident.title}
            for incident in is_open
            if incident.kind == "telemetry_gap"
        ],
    }


def _agents(client: Client, now: int, budget: Budget) -> list[dict[str, Any]]:
    """What each agent used: in the last hour against its usual one, and today against what it may use in a day."""
    values = {"now": now, "minutes": BURN_MINUTES, "days": DRIFT_DAYS, "most": MOST_AGENTS}
    usual = {(row["tenant"], row["agent_id"]): row["usual"] for row in client.query(USUAL, values)}
    return [
        row | {"usual": usual.get((row["tenant"], row["agent_id"])), "budget": budget(row["tenant"], row["agent_id"])}
        for row in client.query(AGENTS, values)
    ]


def _listed(incident: Incident) -> dict[str, Any]:
    whole = incident_json(incident)
    return {name: whole[name] for name in LIST_FIELDS}


def incident(client: Client, incident_id: str) -> dict[str, Any]:
    """One incident with its timeline and pages. Raises UsageError where there is none."""
    found = stored.by_id(client, incident_id)
    key = {"tenant": found.tenant, "id": found.incident_id}
    end = found.resolved_at or found.updated_at
    begin = min([found.started_at, *(c.event_time for c in found.attribution.ranked[:1])])
    return {
        "incident": incident_json(found),
        "timeline": client.query(TIMELINE, key | {"most": MOST_ROWS}),
        "pages": client.query(PAGES_OF, key),
        "window": [(begin - BEFORE) // 1000, (end + AFTER) // 1000],
    }


def prevention(client: Client, incident_id: str) -> dict[str, Any]:
    """What would have prevented it, in the sentences of its postmortem."""
    found = stored.by_id(client, incident_id)
    chapter = SECTION.written(client, load(client, found.incident_id, found.revision))
    return {"sentences": [statement.cells[0] for statement in chapter.statements]}


def postmortem(client: Client, incident_id: str) -> str:
    """The postmortem of the newest revision, as HTML."""
    found = stored.by_id(client, incident_id)
    return FORMATS["html"].render(build(client, found.incident_id, found.revision))


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
        "events": client.query(EVENTS, window | {"most": MOST_MARKS}),
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


def _series(client: Client, window: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics of these resources that differ most from before the incident, each in at most BUCKETS points."""
    return client.query(SERIES, window | {"most": MOST_SERIES})


def agent(client: Client, tenant: str, agent_id: str, now: int) -> dict[str, Any]:
    """One agent of one tenant: use by minute, by version and tool, drift, limits hit, and its incidents."""
    values: dict[str, Any] = {"tenant": tenant, "agent": agent_id, "now": now, "minutes": BURN_MINUTES}
    incidents = client.query(
        "SELECT * FROM incidents FINAL WHERE tenant = {tenant:String} AND agent_id = {agent:String} ORDER BY started_at DESC LIMIT 50",
        values,
    )
    return {
        "tenant": tenant,
        "agent_id": agent_id,
        "now": now // 1000,
        "minutes": client.query(BY_MINUTE, values),
        "versions": client.query(BY_VERSION, values),
        "tools": client.query(BY_TOOL, values),
        "drift": [_drift(row) for row in client.query(MIXES, values | {"days": DRIFT_DAYS})],
        "limits": client.query(LIMITS_HIT, values),
        "incidents": [_listed(stored.incident_of(row)) for row in incidents],
    }


def _drift(row: dict[str, Any]) -> dict[str, Any]:
    """One mix of the last hour against the days before it, judged as the weekly roundup does."""
    now = dict(zip(row["names"], row["now"], strict=True))
    before = dict(zip(row["names"], row["days_before"], strict=True))
    counts = {
        "measure": row["measure"],
        "now": sum(now.values()),
        "before": sum(before.values()),
        "needed": LEAST_CALLS,
    }
    if min(counts["now"], counts["before"]) < LEAST_CALLS:
        return counts | {"moved": None}
    move = move_of(now, before)
    most = [{"name": name, "before": was, "now": is_now} for name, (was, is_now) in move.most.items()]
    return counts | {"moved": move.moved, "bound": move.bound, "is_beyond_chance": move.is_beyond_chance, "most": most}


def held(client: Client, now: int) -> list[dict[str, Any]]:
    """The controls that are in force, as the pipeline has recorded them: the newest of each key."""
    rows = client.query(HELD, {"now": now})
    controls = [
        Control(
            **row
            | {
                "at": parse_time(row["at"]),
                "until": None if row["until"] is None else parse_time(row["until"]),
                "incident_id": row["incident_id"] or None,
            }
        )
        for row in rows
    ]
    return [held_json(control) for control in controls if control.is_in_force(now)]


MS: Final = "toUnixTimestamp64Milli({})"
BEGAN: Final = "coalesce(start_time, event_time - toIntervalMillisecond(duration_ms))"
SINCE: Final = "toDateTime64({begin:Int64} / 1000, 6, 'UTC')"
UNTIL: Final = "toDateTime64({end:Int64} / 1000, 6, 'UTC')"
OF_SESSIONS: Final = (
    "tenant = {tenant:String} AND has({sessions:Array(String)}, session_id)"
    f" AND event_time >= {SINCE} AND event_time < {UNTIL}"
)
NOW: Final = "fromUnixTimestamp64Micro({now:Int64}, 'UTC')"

USED: Final = "input_tokens - cached_input_tokens + output_tokens"
LAST: Final = f"pane > {NOW} - toIntervalMinute({{minutes:UInt16}})"
AGENTS: Final = f"""
SELECT tenant, agent_id, sumIf(used.calls, {LAST}) AS calls, sumIf(used.errors, {LAST}) AS errors, sumIf({USED}, {LAST}) AS tokens,
    sumIf({USED}, pane >= toStartOfDay({NOW}, 'UTC')) AS today,
    sumMapIf([toInt32(dateDiff('minute', pane, {NOW}))], [{USED}], {LAST}) AS by_minute
FROM agent_usage AS used FINAL
WHERE pane > least({NOW} - toIntervalMinute({{minutes:UInt16}}), toStartOfDay({NOW}, 'UTC') - toIntervalMicrosecond(1)) AND pane <= {NOW}
GROUP BY tenant, agent_id HAVING countIf({LAST}) > 0 ORDER BY tokens DESC, tenant, agent_id LIMIT {{most:UInt32}}"""
USUAL: Final = f"""
SELECT tenant, agent_id, quantileExact(0.5)(tokens) AS usual
FROM (
    SELECT tenant, agent_id, sum({USED}) AS tokens FROM agent_usage FINAL
    WHERE pane > {NOW} - toIntervalDay({{days:UInt16}}) AND pane <= {NOW} - toIntervalMinute({{minutes:UInt16}})
    GROUP BY tenant, agent_id, dateDiff('hour', pane, {NOW})
) GROUP BY tenant, agent_id"""
PAGES: Final = f"""
SELECT {MS.format("at")} AS at_ms, rule, mode, transition, receiver, severity, state, title, detail, incident_id
FROM notifications FINAL WHERE at > {NOW} - INTERVAL 1 DAY ORDER BY at DESC, dedup_key LIMIT 100"""
PAGES_OF: Final = f"""
SELECT {MS.format("at")} AS at_ms, rule, mode, transition, receiver, state, detail FROM notifications FINAL
WHERE tenant = {{tenant:String}} AND incident_id = {{id:String}} ORDER BY at, dedup_key LIMIT 100"""
TIMELINE: Final = f"""
SELECT {MS.format("event_time")} AS at_ms, type, resource, agent_id, session_id, shows, event_id, topic, partition, offset
FROM incident_timeline FINAL WHERE tenant = {{tenant:String}} AND incident_id = {{id:String}}
ORDER BY event_time, type, event_id LIMIT {{most:UInt32}}"""
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
EVENTS: Final = f"""
SELECT {MS.format("event_time")} AS at_ms, event_id, resource, kind, reason, severity, actor, actor_kind, count, left(message, 300) AS message
FROM cluster_events FINAL WHERE {NEAR} AND event_time >= {SINCE} AND event_time < {UNTIL} AND kind != 'dependency'
ORDER BY event_time, event_id LIMIT {{most:UInt32}}"""
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
BY_MINUTE: Final = f"""
SELECT {MS.format("toDateTime64(toStartOfMinute(pane), 3)")} AS at_ms, sum(calls) AS calls, sum(errors) AS errors,
    sum(input_tokens - cached_input_tokens + output_tokens) AS tokens
FROM agent_usage FINAL WHERE tenant = {{tenant:String}} AND agent_id = {{agent:String}} AND pane > {NOW} - toIntervalMinute({{minutes:UInt16}}) AND pane <= {NOW}
GROUP BY at_ms ORDER BY at_ms"""
BY_VERSION: Final = f"""
SELECT agent_version, {MS.format("min(pane)")} AS first_ms, {MS.format("max(pane)")} AS last_ms, sum(calls) AS calls, sum(errors) AS errors,
    sum(input_tokens - cached_input_tokens + output_tokens) AS tokens
FROM agent_usage FINAL WHERE tenant = {{tenant:String}} AND agent_id = {{agent:String}} GROUP BY agent_version ORDER BY last_ms DESC, agent_version"""
BY_TOOL: Final = f"""
SELECT tool_name, sum(calls) AS calls, sum(errors) AS errors, sum(duration_ms) / greatest(sum(used.calls), 1) AS mean_ms
FROM agent_usage AS used FINAL WHERE tenant = {{tenant:String}} AND agent_id = {{agent:String}} AND tool_name != '' AND pane > {NOW} - toIntervalMinute({{minutes:UInt16}}) AND pane <= {NOW}
GROUP BY tool_name ORDER BY calls DESC, tool_name LIMIT 20"""

PLACE: Final = "arrayStringConcat(arraySlice(splitByChar('/', toString(target)), 1, 2), '/')"
MIXES: Final = f"""
SELECT measure, groupArray(name) AS names, groupArray(n) AS now, groupArray(m) AS days_before
FROM (
    SELECT kind.1 AS measure, kind.2 AS name, toInt64(sumIf(calls, is_now)) AS n, toInt64(sumIf(calls, NOT is_now)) AS m
    FROM (
        SELECT calls, pane > {NOW} - toIntervalMinute({{minutes:UInt16}}) AS is_now,
            arrayJoin([('tools', if(operation IN ('execute_tool', 'retrieval'), toString(tool_name), '')), ('models', toString(model)), ('places', {PLACE})]) AS kind
        FROM agent_usage FINAL
        WHERE tenant = {{tenant:String}} AND agent_id = {{agent:String}} AND pane > {NOW} - toIntervalDay({{days:UInt16}}) AND pane <= {NOW}
    )
    WHERE name != '' GROUP BY measure, name ORDER BY measure DESC, name
) GROUP BY measure ORDER BY measure DESC"""
LIMITS_HIT: Final = f"""
SELECT JSONExtractString(item, 'component') AS component, JSONExtractString(item, 'gap') AS gap, count() AS times,
    {MS.format("max(started_at)")} AS newest_ms, argMax(incident_id, started_at) AS incident_id,
    argMax(JSONExtractString(item, 'failure_point'), started_at) AS failure_point
FROM incidents FINAL ARRAY JOIN JSONExtractArrayRaw(governance_gaps) AS item
WHERE tenant = {{tenant:String}} AND agent_id = {{agent:String}} AND status != 'withdrawn'
GROUP BY component, gap ORDER BY times DESC, component, gap LIMIT 50"""
HELD: Final = f"""
SELECT tenant, agent_id, action, author, reason, agent_version, tool_name, target, mode, probes, incident_id, control_id, at, until
FROM controls FINAL WHERE at <= {NOW}
ORDER BY at DESC, control_id LIMIT 1 BY tenant, agent_id, agent_version, tool_name, target"""
