"""What the page asks ClickHouse, as JSON-ready rows. Times are Unix milliseconds of event time."""

from collections.abc import Callable
from typing import Any, Final

from reports.postmortem.build import build
from reports.postmortem.case import load
from reports.postmortem.formats import FORMATS
from reports.postmortem.sections.prevention import SECTION
from reports.roundup.drift import move_of
from reports.roundup.sections.metrics import LEAST_CALLS
from schemas.controls import Control
from schemas.incidents import Incident
from schemas.times import MINUTE, parse_time
from sinks.clickhouse import incidents as stored
from sinks.clickhouse.client import Client
from web.marks import LIST_FIELDS, held_json, incident_json

MOST_INCIDENTS: Final = 50
MOST_ROWS: Final = 5_000  # of a list
MOST_READS: Final = 30
MOST_AGENTS: Final = 100
Budget = Callable[[str, str], int | None]  # tenant, agent -> tokens it may use in a UTC day; None: not limited
BEFORE, AFTER = 10 * MINUTE, 5 * MINUTE  # around an incident
BURN_MINUTES: Final = 60
DRIFT_DAYS: Final = 7


def latest(client: Client) -> int:
    """The newest pane that was counted, microseconds; 0 where there is none. A recording's now is not ours."""
    rows = client.query("SELECT toUnixTimestamp64Micro(max(pane)) AS at FROM agent_usage")
    return max(0, int(rows[0]["at"]))


def overview(client: Client, now: int, clock: int, budget: Budget) -> dict[str, Any]:
    """What happened since a day before `now`, what agents use since an hour before it, and who is held by the clock.

    Microseconds. Of a recording `now` is the newest that was counted; controls are people's, and end by the clock.
    """
    incidents = stored.newest(client, MOST_INCIDENTS)
    is_open = stored.loudest(client, MOST_INCIDENTS)
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


def incident(client: Client, incident_id: str, clock: int) -> dict[str, Any]:
    """One incident with its timeline and pages, and how its agent is held now. Raises UsageError where there is none."""
    found = stored.by_id(client, incident_id)
    key = {"tenant": found.tenant, "id": found.incident_id}
    end = found.resolved_at or found.updated_at
    begin = min([found.started_at, *(c.event_time for c in found.attribution.ranked[:1])])
    return {
        "incident": incident_json(found),
        "timeline": client.query(TIMELINE, key | {"most": MOST_ROWS}),
        "timeline_count": int(client.query(TIMELINE_COUNT, key)[0]["rows"]),
        "pages": client.query(PAGES_OF, key),
        "read": _read(client, found),
        "held": [one for one in held(client, clock) if _is_of(one, found.tenant, found.agent_id)],
        "window": [(begin - BEFORE) // 1000, (end + AFTER) // 1000],
    }


def _read(client: Client, found: Incident) -> list[dict[str, Any]] | None:
    """What the session that is held responsible had read when it acted; None where no session's action decided it."""
    first = found.attribution.ranked[0] if found.attribution.ranked else None
    if first is None or first.kind != "agent_action" or found.attribution.verdict not in ("agent", "shared"):
        return None
    values = {"tenant": found.tenant, "session": first.session_id, "decided": first.event_time, "most": MOST_READS}
    return client.query(READS, values)


def prevention(client: Client, incident_id: str) -> dict[str, Any]:
    """What would have prevented it, in the sentences of its postmortem."""
    found = stored.by_id(client, incident_id)
    chapter = SECTION.written(client, load(client, found.incident_id, found.revision))
    return {"sentences": [statement.cells[0] for statement in chapter.statements]}


def postmortem(client: Client, incident_id: str) -> str:
    """The postmortem of the newest revision, as HTML."""
    found = stored.by_id(client, incident_id)
    return FORMATS["html"].render(build(client, found.incident_id, found.revision))


def agent(client: Client, tenant: str, agent_id: str, now: int, clock: int) -> dict[str, Any]:
    """One agent of one tenant: use by minute, by version and tool, drift, limits hit, incidents; how it is held now."""
    values: dict[str, Any] = {"tenant": tenant, "agent": agent_id, "now": now, "minutes": BURN_MINUTES}
    incidents = client.query(
        "SELECT * FROM incidents FINAL WHERE tenant = {tenant:String} AND agent_id = {agent:String} ORDER BY started_at DESC LIMIT 50",
        values,
    )
    return {
        "tenant": tenant,
        "agent_id": agent_id,
        "now": now // 1000,
        "held": [one for one in held(client, clock) if _is_of(one, tenant, agent_id)],
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


def _is_of(control: dict[str, Any], tenant: str, agent_id: str | None) -> bool:
    return (control["tenant"], control["agent_id"]) == (tenant, agent_id)


MS: Final = "toUnixTimestamp64Milli({})"
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
READS: Final = f"""
SELECT if(target = '', tool_name, concat(tool_name, ' of ', target)) AS what, {MS.format("max(event_time)")} AS at_ms, count() AS times,
    countIf(status = 'error') AS errors
FROM agent_traces FINAL
WHERE tenant = {{tenant:String}} AND session_id = {{session:String}} AND event_time <= fromUnixTimestamp64Micro({{decided:Int64}}, 'UTC')
    AND operation IN ('execute_tool', 'retrieval') AND access IN ('', 'read')
GROUP BY what ORDER BY at_ms DESC, what LIMIT {{most:UInt32}}"""
TIMELINE: Final = f"""
SELECT {MS.format("event_time")} AS at_ms, type, resource, agent_id, session_id, shows, event_id, topic, partition, offset
FROM (
    SELECT * FROM incident_timeline FINAL WHERE tenant = {{tenant:String}} AND incident_id = {{id:String}}
    ORDER BY type IN ('signal', 'symptom'), event_time, event_id LIMIT {{most:UInt32}}
) ORDER BY event_time, type, event_id"""  # of too many the signals that came last are left out, and no change
TIMELINE_COUNT: Final = """
SELECT count() AS rows FROM incident_timeline FINAL WHERE tenant = {tenant:String} AND incident_id = {id:String}"""
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
