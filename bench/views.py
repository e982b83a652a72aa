"""The views people read, timed on ten million spans, with what the indexes leave to read.

    python -m bench.views [--spans 10000000] [--explain] [VIEW ...]

The rows are made inside the embedded engine by numbers(): seven days, 4 tenants, 200 agents, runs of twenty spans, half
a million of them. Each view is asked the way people ask it (one tenant, a day or an hour), three times; the median is
printed, and of EXPLAIN indexes = 1 how many granules are read of how many. --explain prints the plans whole. With names
of views only these are asked, and only what they read is filled.
"""

import argparse
import re
import statistics
from time import monotonic

from pipeline.embedded import embedded_database
from sinks.clickhouse import migrations
from sinks.clickhouse.client import Client, connect

DAYS = 7
TOKEN_SPREAD = 40_000
TENANT, AGENT, SESSION = "tenant_1", "agent_5", "run_4005"  # of run n: agent n % 200, tenant of the agent % 4
GRANULES = re.compile(r"Granules: (\d+)/(\d+)")
READ = re.compile(r"ReadFromMergeTree \(\w+\.(\w+)\)")

ROWS = {
    "agent_traces": """
INSERT INTO agent_traces (event_time, duration_ms, tenant, trace_id, span_id, session_id, agent_id, agent_version,
    task_type, operation, model, tool_name, access, target, input_tokens, output_tokens, cached_input_tokens, step,
    attempt, status, approval, ingest_time, topic, partition, offset)
SELECT
    toDateTime64('2026-03-02 00:00:00', 6, 'UTC')
        + toIntervalMicrosecond(toInt64((cityHash64(run) % 604700000 + (number % 20) * 2000) * 1000)) AS at,
    50 + cityHash64(number) % 3000, concat('tenant_', toString(agent % 4)), lower(hex(cityHash64(run))),
    lower(hex(cityHash64(number, 1))), concat('run_', toString(run)), concat('agent_', toString(agent)),
    concat('1.', toString(run % 3)), concat('task_', toString(agent % 10)),
    if(number % 2 = 0, 'chat', 'execute_tool'), if(number % 2 = 0, concat('model_', toString(agent % 5)), ''),
    if(number % 2 = 0, '', concat('tool_', toString(cityHash64(number) % 50))),
    if(number % 2 = 0, '', if(cityHash64(number, 2) % 20 = 0, 'write', 'read')),
    if(number % 2 = 0, '', concat('prod/shop/deployment/d', toString(cityHash64(number, 3) % 1000))),
    if(number % 2 = 0, cityHash64(number, 4) % {spread}, 0), if(number % 2 = 0, cityHash64(number, 5) % 800, 0), 0,
    number % 20, 1, if(cityHash64(number, 6) % 50 = 0, 'error', 'ok'),
    if(cityHash64(number, 2) % 20 = 0 AND number % 2 = 1, ['granted', 'requested', 'denied'][1 + number % 3], ''),
    at, 'agent.traces.v1', agent % 8, number
FROM (SELECT number, intDiv(number, 20) AS run, run % 200 AS agent FROM numbers({spans}))""",
    "agent_usage": """
INSERT INTO agent_usage (tenant, agent_id, agent_version, task_type, operation, model, tool_name, target, pane, source,
    calls, errors, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, duration_ms)
SELECT tenant, agent_id, agent_version, task_type, operation, model, tool_name, target,
    toDateTime64(intDiv(toUnixTimestamp(event_time), 5) * 5, 6, 'UTC') AS pane, concat(topic, '/', toString(partition)) AS source,
    count(), countIf(status = 'error'), sum(t.input_tokens), sum(t.output_tokens), sum(t.cached_input_tokens), 0, sum(t.duration_ms)
FROM agent_traces AS t
GROUP BY tenant, agent_id, agent_version, task_type, operation, model, tool_name, target, pane, source""",
    "write_watches": """
INSERT INTO write_watches (tenant, span_id, session_id, agent_id, agent_version, tool_name, target, began_at, closed_at, outcome,
    resources, heard, shows)
SELECT concat('tenant_', toString(agent % 4)), lower(hex(cityHash64(number, 1))) AS span, concat('run_', toString(run)),
    concat('agent_', toString(agent)), concat('1.', toString(run % 3)), concat('tool_', toString(cityHash64(number) % 50)),
    concat('prod/shop/deployment/d', toString(cityHash64(number, 3) % 1000)),
    toDateTime64('2026-03-02 00:00:00', 6, 'UTC')
        + toIntervalMicrosecond(toInt64((cityHash64(run) % 604700000 + (number % 20) * 2000) * 1000)) AS at,
    at + toIntervalMinute(10), ['regressed', 'clean', 'not_enough_data'][1 + cityHash64(span) % 3], 4, 3, 'nothing new failed'
FROM (SELECT number, intDiv(number, 20) AS run, run % 200 AS agent FROM numbers({spans}))
WHERE number % 2 = 1 AND cityHash64(number, 2) % 20 = 0 -- those of the spans that write""",
    "signals": """
INSERT INTO signals (signal_id, type, tenant, agent_id, session_id, window_start, window_end, detected_at, evidence)
SELECT lower(hex(number)), 'feedback_loop.exact', concat('tenant_', toString(number % 4)), concat('agent_', toString(number % 200)),
    concat('run_', toString(intDiv(number, 10) * 200 + number % 200)), at, at, at,
    concat('{{"tools":["tool_', toString(number % 50), '"],"repetitions":9,"ledger":{{"redundant_calls":9,"unplanned_tokens":900}}}}')
FROM (SELECT number, toDateTime64('2026-03-02 00:00:00', 6, 'UTC') + toIntervalSecond(cityHash64(number) % 604000) AS at
    FROM numbers(intDiv({spans}, 100)))""",
    "incident_revisions": """
INSERT INTO incident_revisions (incident_id, revision, tenant, kind, status, severity, agent_id, agent_version, title,
    started_at, detected_at, updated_at, resolved_at, attribution, context_gaps, governance_gaps, verdict, probability, unplanned_tokens)
SELECT lower(hex(i)), r, concat('tenant_', toString(i % 4)), ['feedback_loop', 'agent_caused_failure'][1 + i % 2],
    if(r < 9, 'open', 'resolved'), 'warning', concat('agent_', toString(i % 200)), concat('1.', toString(i % 3)), 'a title',
    at, at, at + toIntervalMinute(r), if(r < 9, NULL, at + toIntervalMinute(9)),
    '{{"ranked":[{{"kind":"agent_action","agent_id":"agent_1","span_id":"s","resource":"a/b/c/d","event_time":"2026-03-02T00:00:00Z","probability":0.8}}]}}',
    '[{{"source":"change-calendar","class":"never_queried"}}]', '[{{"component":"agent_1","gap":"step limit: none","failure_point":"f"}}]',
    'agent', 0.8, r * 1000
FROM (SELECT intDiv(number, 10) AS i, number % 10 AS r,
    toDateTime64('2026-03-02 00:00:00', 6, 'UTC') + toIntervalSecond(cityHash64(i) % 600000) AS at FROM numbers(intDiv({spans}, 50)))""",
    "incidents": """
INSERT INTO incidents SELECT * FROM incident_revisions""",
    "incident_timeline": """
INSERT INTO incident_timeline (tenant, incident_id, event_time, type, shows, event_id, revision)
SELECT tenant, incident_id, updated_at, 'signal', 'seen', toString(revision), revision FROM incident_revisions""",
    "notifications": """
INSERT INTO notifications (dedup_key, tenant, incident_id, revision, rule, mode, transition, receiver, state, at, state_order)
SELECT incident_id, tenant, incident_id, 1, kind, 'page', 'firing', 'console', 'sent', detected_at, 2 FROM incidents FINAL""",
}
MINE = f"tenant = '{TENANT}'"
QUERIES = {
    "agent_usage_by_minute": f"SELECT * FROM agent_usage_by_minute WHERE {MINE} AND agent_id = '{AGENT}' AND minute >= '2026-03-05 10:00:00' AND minute < '2026-03-05 11:00:00'",
    "agent_usage_by_hour": f"SELECT hour, sum(calls), sum(input_tokens) FROM agent_usage_by_hour WHERE {MINE} AND hour >= '2026-03-05 00:00:00' AND hour < '2026-03-06 00:00:00' GROUP BY hour",
    "agent_usage_by_day": f"SELECT day, agent_id, sum(input_tokens) FROM agent_usage_by_day WHERE {MINE} GROUP BY day, agent_id",
    "tokens_by_model_daily": f"SELECT * FROM tokens_by_model_daily WHERE {MINE}",
    "agent_vs_baseline": f"SELECT * FROM agent_vs_baseline(seconds = 3600, since = '2026-03-08 00:00:00') WHERE {MINE} LIMIT 20",
    "sessions_by_agent": f"SELECT * FROM sessions_by_agent WHERE {MINE} AND session_id = '{SESSION}'",
    "tool_latency": f"SELECT * FROM tool_latency WHERE {MINE} AND day = '2026-03-05' LIMIT 50",
    "changes_by_agents": f"SELECT * FROM changes_by_agents WHERE {MINE} AND agent_id = '{AGENT}' LIMIT 50",
    "approvals_by_agent": f"SELECT * FROM approvals_by_agent WHERE {MINE} LIMIT 50",
    "what_writes_led_to": f"SELECT * FROM what_writes_led_to WHERE {MINE} LIMIT 50",
    "trail_of": f"SELECT * FROM trail_of(tenant = '{TENANT}', span_id = '{{span}}')",
    "open_incidents": f"SELECT * FROM open_incidents WHERE {MINE}",
    "incidents_current": f"SELECT * FROM incidents_current WHERE {MINE} AND incident_id = '15'",
    "timeline_of": "SELECT * FROM timeline_of(incident_id = '15')",
    "incidents_by_agent_version": f"SELECT * FROM incidents_by_agent_version WHERE {MINE} LIMIT 50",
    "unplanned_tokens_by_agent_daily": f"SELECT * FROM unplanned_tokens_by_agent_daily WHERE {MINE} AND day = '2026-03-05'",
    "loops_by_tool": f"SELECT * FROM loops_by_tool WHERE {MINE} LIMIT 50",
    "actions_before_crash": f"SELECT * FROM actions_before_crash WHERE {MINE} LIMIT 50",
    "context_gaps_by_source": f"SELECT * FROM context_gaps_by_source WHERE {MINE}",
    "limits_hit": f"SELECT * FROM limits_hit WHERE {MINE}",
    "pages_by_rule": f"SELECT * FROM pages_by_rule WHERE {MINE}",
    "time_to_respond": f"SELECT * FROM time_to_respond WHERE {MINE} LIMIT 50",
    "what_we_knew_at": f"SELECT * FROM what_we_knew_at(at = '2026-03-05 12:00:00') WHERE {MINE} LIMIT 50",
    "agents_held_back": f"SELECT * FROM agents_held_back WHERE {MINE}",
    "notifications_not_sent": f"SELECT * FROM notifications_not_sent WHERE {MINE} LIMIT 50",
    "late_and_unreadable_daily": "SELECT * FROM late_and_unreadable_daily",
}


def main() -> None:
    """Fill, ask, print."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--spans", type=int, default=10_000_000)
    arguments.add_argument("--explain", action="store_true")
    arguments.add_argument("views", nargs="*", metavar="VIEW", help="default: all")
    args = arguments.parse_args()
    asked = {view: QUERIES[view] for view in args.views or QUERIES}
    with embedded_database() as database:
        client = connect(database.url, database.user, database.password, timeout=600.0)
        migrations.migrate(client)
        for table, sql in _filled(client, list(asked)).items():
            began = monotonic()
            client.command(sql.format(spans=args.spans, spread=TOKEN_SPREAD))
            (found,) = client.query(f"SELECT count() AS n FROM {table}")
            print(f"<!-- {table}: {found['n']:,} rows in {monotonic() - began:.0f} s -->", flush=True)
        sql = f"SELECT min(span_id) AS span FROM agent_traces WHERE session_id = '{SESSION}' AND access != ''"
        span = client.query(sql)[0]["span"]
        print("\n| view | seconds | rows of the answer | granules read of all |\n|---|---|---|---|")
        for view, sql in asked.items():
            print(_measured(client, view, sql.replace("{span}", span), is_explained=args.explain), flush=True)
        client.close()


def _filled(client: Client, views: list[str]) -> dict[str, str]:
    """The statements that fill what these views read, in order; rows of one table are made of those of another."""
    sql = "SELECT create_table_query AS made FROM system.tables WHERE database = {d:String} AND has({v:Array(String)}, name)"
    texts = [row["made"] for row in client.query(sql, {"d": client.database, "v": views})]
    needed = list[str]()
    for table in reversed(ROWS):
        if any(re.search(rf"\b{table}\b", text) for text in texts):
            needed.append(table)
            texts.append(ROWS[table])
    return {table: ROWS[table] for table in reversed(needed)}


def _measured(client: Client, view: str, sql: str, *, is_explained: bool) -> str:
    taken = []
    for _ in range(3):
        began = monotonic()
        rows = client.query(sql)
        taken.append(monotonic() - began)
    plan = [row["explain"] for row in client.query(f"EXPLAIN indexes = 1 {sql}")]
    shown = "\n".join(plan) if is_explained else ""
    return f"| {view} | {statistics.median(taken):.2f} | {len(rows)} | {_granules(plan)} |\n{shown}".rstrip("\n")


def _granules(plan: list[str]) -> str:
    """Of each table that is read: what the first index begins with, and what the last one leaves."""
    found: dict[str, list[tuple[int, int]]] = {}
    table = ""
    for line in plan:
        if match := READ.search(line):
            table = match[1]
            found.setdefault(table, [])
        elif (match := GRANULES.search(line)) and table:
            found[table].append((int(match[1]), int(match[2])))
    return ", ".join(f"{name} {steps[-1][0]:,} of {steps[0][1]:,}" for name, steps in found.items() if steps)


if __name__ == "__main__":
    main()
