-- Views named for the question they answer, marks of on-call, and the skip indexes those questions need.
-- FINAL stands inside each view: a row that was written twice, or revised, counts once. The sums by minute, hour and day
-- are views and not tables fed at insert: such a table counts rows again when they come again in other batches, as they
-- do after a restart. The key of agent_usage and the partitions are used through the rounding (EXPLAIN indexes = 1).
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

CREATE TABLE IF NOT EXISTS incident_marks
(
    tenant LowCardinality(String) COMMENT 'tenant; acme',
    incident_id String COMMENT 'incident; 9c0e5b7d1a2f4e38' CODEC(ZSTD(1)),
    mark LowCardinality(String) COMMENT 'what on-call said of it: useful or noise',
    marked_by String COMMENT 'who said so; user:mo; empty: not given' CODEC(ZSTD(1)),
    marked_at DateTime64(6, 'UTC') COMMENT 'when, UTC, microseconds; the newest wins' CODEC(ZSTD(1)),
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written'
)
ENGINE = ReplacingMergeTree(marked_at)
ORDER BY (tenant, incident_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Whether an incident was worth being woken for, as on-call marked it. Read with FINAL.';

ALTER TABLE agent_traces ADD INDEX IF NOT EXISTS by_span span_id TYPE bloom_filter(0.001) GRANULARITY 1;

ALTER TABLE cluster_events ADD INDEX IF NOT EXISTS by_session session_id TYPE bloom_filter(0.001) GRANULARITY 1;

ALTER TABLE signals ADD INDEX IF NOT EXISTS by_session session_id TYPE bloom_filter(0.001) GRANULARITY 1;

ALTER TABLE signals ADD INDEX IF NOT EXISTS by_signal signal_id TYPE bloom_filter(0.001) GRANULARITY 1;

ALTER TABLE incident_timeline ADD INDEX IF NOT EXISTS by_event event_id TYPE bloom_filter(0.001) GRANULARITY 1;

ALTER TABLE notifications ADD INDEX IF NOT EXISTS by_incident incident_id TYPE bloom_filter(0.001) GRANULARITY 1;

CREATE VIEW IF NOT EXISTS agent_usage_by_minute AS
SELECT
    tenant, agent_id, agent_version, task_type, operation, model, tool_name,
    toStartOfMinute(pane) AS minute,
    sum(u.calls) AS calls, sum(u.errors) AS errors,
    sum(u.input_tokens) AS input_tokens, sum(u.output_tokens) AS output_tokens,
    sum(u.cached_input_tokens) AS cached_input_tokens, sum(u.reasoning_tokens) AS reasoning_tokens,
    sum(u.duration_ms) AS duration_ms
FROM agent_usage AS u FINAL
GROUP BY tenant, agent_id, agent_version, task_type, operation, model, tool_name, minute
COMMENT 'What each agent used, by minute: SELECT * FROM agent_usage_by_minute WHERE agent_id = ''seo-agent'' AND minute >= now() - INTERVAL 1 HOUR.';

CREATE VIEW IF NOT EXISTS agent_usage_by_hour AS
SELECT
    tenant, agent_id, agent_version, task_type, operation, model, tool_name,
    toStartOfHour(pane) AS hour,
    sum(u.calls) AS calls, sum(u.errors) AS errors,
    sum(u.input_tokens) AS input_tokens, sum(u.output_tokens) AS output_tokens,
    sum(u.cached_input_tokens) AS cached_input_tokens, sum(u.reasoning_tokens) AS reasoning_tokens,
    sum(u.duration_ms) AS duration_ms
FROM agent_usage AS u FINAL
GROUP BY tenant, agent_id, agent_version, task_type, operation, model, tool_name, hour
COMMENT 'What each agent used, by hour.';

CREATE VIEW IF NOT EXISTS agent_usage_by_day AS
SELECT
    tenant, agent_id, agent_version, task_type, operation, model, tool_name,
    toDate(pane) AS day,
    sum(u.calls) AS calls, sum(u.errors) AS errors,
    sum(u.input_tokens) AS input_tokens, sum(u.output_tokens) AS output_tokens,
    sum(u.cached_input_tokens) AS cached_input_tokens, sum(u.reasoning_tokens) AS reasoning_tokens,
    sum(u.duration_ms) AS duration_ms
FROM agent_usage AS u FINAL
GROUP BY tenant, agent_id, agent_version, task_type, operation, model, tool_name, day
COMMENT 'What each agent used, by day (UTC).';

CREATE VIEW IF NOT EXISTS tokens_by_model_daily AS
SELECT
    tenant, toDate(pane) AS day, model, agent_id, sum(u.calls) AS calls,
    sum(u.input_tokens - u.cached_input_tokens) AS fresh_input_tokens, sum(u.cached_input_tokens) AS cached_input_tokens,
    sum(u.output_tokens - u.reasoning_tokens) AS answer_tokens, sum(u.reasoning_tokens) AS reasoning_tokens,
    sum(u.input_tokens + u.output_tokens) AS tokens
FROM agent_usage AS u FINAL
WHERE operation = 'chat'
GROUP BY tenant, day, model, agent_id
ORDER BY day, tokens DESC, model, agent_id
COMMENT 'Which model spends which class of tokens, by day and agent. The four classes add up to tokens.';

CREATE VIEW IF NOT EXISTS agent_vs_baseline AS
SELECT
    tenant, agent_id, bucket, calls, errors, tokens,
    quantileExact(0.5)(before.1) AS usual_calls, quantileExact(0.5)(before.2) AS usual_tokens,
    count() AS buckets_before,
    if(usual_calls = 0, NULL, round(calls / usual_calls, 2)) AS calls_ratio,
    if(usual_tokens = 0, NULL, round(tokens / usual_tokens, 2)) AS tokens_ratio
FROM
(
    SELECT
        tenant, agent_id, bucket, calls, errors, tokens,
        groupArray(tuple(calls, tokens)) OVER (PARTITION BY tenant, agent_id ORDER BY bucket ROWS BETWEEN 168 PRECEDING AND 1 PRECEDING) AS earlier
    FROM
    (
        SELECT
            tenant, agent_id,
            toDateTime(intDiv(toUnixTimestamp(pane), {seconds:UInt32}) * {seconds:UInt32}, 'UTC') AS bucket,
            sum(u.calls) AS calls, sum(u.errors) AS errors, sum(u.input_tokens + u.output_tokens) AS tokens
        FROM agent_usage AS u FINAL
        WHERE operation IN ('chat', 'execute_tool', 'retrieval', 'handoff')
            AND pane >= {since:DateTime64(6, 'UTC')} - toIntervalSecond({seconds:UInt32} * 168)
        GROUP BY tenant, agent_id, bucket
    )
)
ARRAY JOIN earlier AS before
WHERE bucket >= {since:DateTime64(6, 'UTC')}
GROUP BY tenant, agent_id, bucket, calls, errors, tokens
ORDER BY tokens_ratio DESC NULLS LAST, tenant, agent_id, bucket
COMMENT 'Which agents do more than they usually do: each bucket against the median of up to 168 active ones before it. SELECT * FROM agent_vs_baseline(seconds = 3600, since = ''2026-03-02 00:00:00'').';

CREATE VIEW IF NOT EXISTS sessions_by_agent AS
SELECT
    tenant, agent_id, session_id,
    anyLast(t.agent_version) AS agent_version, anyLast(t.task_type) AS task_type, max(t.requested_by) AS requested_by,
    min(coalesce(t.start_time, t.event_time - toIntervalMillisecond(t.duration_ms))) AS started_at, max(t.event_time) AS ended_at,
    countIf(t.operation = 'chat') AS model_calls, countIf(t.operation IN ('execute_tool', 'retrieval')) AS tool_calls,
    countIf(t.access IN ('write', 'destructive', 'provision')) AS changes,
    countIf(t.status = 'error') AS errors, sumIf(t.input_tokens + t.output_tokens, t.operation = 'chat') AS tokens,
    max(t.step) AS last_step, max(t.max_steps) AS max_steps, countIf(t.approval = 'denied') AS denied
FROM agent_traces AS t FINAL
GROUP BY tenant, agent_id, session_id
COMMENT 'Each run of each agent: how long, how many calls, changes, errors and tokens.';

CREATE VIEW IF NOT EXISTS tool_latency AS
SELECT
    tenant, toDate(event_time) AS day, tool_name, agent_id, count() AS calls,
    countIf(status = 'error') AS errors, round(errors / calls, 4) AS error_share,
    toInt64(quantileExact(0.5)(duration_ms)) AS p50_ms, toInt64(quantileExact(0.95)(duration_ms)) AS p95_ms, max(duration_ms) AS max_ms
FROM agent_traces FINAL
WHERE operation IN ('execute_tool', 'retrieval') AND tool_name != ''
GROUP BY tenant, day, tool_name, agent_id
ORDER BY day, p95_ms DESC, tool_name, agent_id
COMMENT 'Which tools are slow or fail, by day and agent. The quantiles are exact.';

CREATE VIEW IF NOT EXISTS changes_by_agents AS
SELECT
    tenant, coalesce(start_time, event_time - toIntervalMillisecond(duration_ms)) AS began, agent_id, agent_version,
    access, tool_name, target, tool_args, status, approval, approved_by, requested_by, session_id, span_id, trace_id
FROM agent_traces FINAL
WHERE access IN ('write', 'destructive', 'provision')
ORDER BY began DESC, span_id
COMMENT 'What agents changed, newest first, and who approved it.';

CREATE VIEW IF NOT EXISTS approvals_by_agent AS
SELECT
    tenant, agent_id, tool_name, count() AS changes,
    countIf(approval = 'granted') AS granted, countIf(approval = 'denied') AS denied,
    countIf(approval = 'requested') AS not_answered, countIf(approval = 'not_required') AS not_required,
    countIf(approval = '') AS not_said, countIf(approval IN ('denied', 'requested') AND status = 'ok') AS went_ahead
FROM agent_traces FINAL
WHERE access IN ('write', 'destructive', 'provision')
GROUP BY tenant, agent_id, tool_name
ORDER BY went_ahead DESC, changes DESC, agent_id, tool_name
COMMENT 'Which agents change things without the approval they asked for.';

CREATE VIEW IF NOT EXISTS incidents_by_agent_version AS
SELECT
    i.tenant AS tenant, i.agent_id AS agent_id, i.agent_version AS agent_version, i.kind AS kind,
    i.incidents AS incidents, i.open AS open, i.critical AS critical, i.unplanned_tokens AS unplanned_tokens, i.newest AS newest,
    u.calls AS calls, if(u.calls = 0, NULL, round(1e6 * i.incidents / u.calls, 2)) AS incidents_per_million_calls
FROM
(
    SELECT
        tenant, agent_id, agent_version, kind, count() AS incidents, countIf(status = 'open') AS open,
        countIf(severity = 'critical') AS critical, sum(x.unplanned_tokens) AS unplanned_tokens, max(started_at) AS newest
    FROM incidents AS x FINAL
    WHERE agent_id != '' AND status != 'withdrawn'
    GROUP BY tenant, agent_id, agent_version, kind
) AS i
LEFT JOIN
(
    SELECT tenant, agent_id, agent_version, sum(y.calls) AS calls
    FROM agent_usage AS y FINAL
    WHERE operation IN ('chat', 'execute_tool', 'retrieval', 'handoff')
    GROUP BY tenant, agent_id, agent_version
) AS u ON u.tenant = i.tenant AND u.agent_id = i.agent_id AND u.agent_version = i.agent_version
ORDER BY incidents DESC, agent_id, agent_version, kind
COMMENT 'Which version of which agent breaks things, and how often for what it does.';

CREATE VIEW IF NOT EXISTS unplanned_tokens_by_agent_daily AS
SELECT
    i.tenant AS tenant, i.day AS day, i.agent_id AS agent_id, i.incidents AS incidents, i.unplanned_tokens AS unplanned_tokens,
    u.tokens AS tokens, if(u.tokens = 0, NULL, round(100 * i.unplanned_tokens / u.tokens, 1)) AS percent_of_tokens
FROM
(
    SELECT tenant, toDate(started_at) AS day, agent_id, count() AS incidents, sum(x.unplanned_tokens) AS unplanned_tokens
    FROM incidents AS x FINAL
    WHERE status != 'withdrawn' AND x.unplanned_tokens > 0
    GROUP BY tenant, day, agent_id
) AS i
LEFT JOIN
(
    SELECT tenant, toDate(pane) AS day, agent_id, sum(input_tokens + output_tokens) AS tokens
    FROM agent_usage FINAL
    WHERE operation = 'chat'
    GROUP BY tenant, day, agent_id
) AS u ON u.tenant = i.tenant AND u.day = i.day AND u.agent_id = i.agent_id
ORDER BY day, unplanned_tokens DESC, agent_id
COMMENT 'How many tokens each agent spent on calls that nothing needed, by the day the incident began, of all it spent that day.';

CREATE VIEW IF NOT EXISTS loops_by_tool AS
SELECT
    tenant, arrayStringConcat(tools, ', ') AS tool, agent_id, type, count() AS sessions, max(repetitions) AS most_repetitions,
    sum(l.redundant_calls) AS redundant_calls, sum(l.unplanned_tokens) AS unplanned_tokens, max(said_at) AS newest
FROM
(
    SELECT
        tenant, type, agent_id, session_id, JSONExtract(evidence, 'tools', 'Array(String)') AS tools,
        max(JSONExtractInt(evidence, 'repetitions')) AS repetitions,
        max(JSONExtractInt(evidence, 'ledger', 'redundant_calls')) AS redundant_calls,
        max(JSONExtractInt(evidence, 'ledger', 'unplanned_tokens')) AS unplanned_tokens,
        max(detected_at) AS said_at
    FROM signals FINAL
    WHERE startsWith(type, 'feedback_loop.')
    GROUP BY tenant, type, agent_id, session_id, tools
) AS l
GROUP BY tenant, tool, agent_id, type
ORDER BY unplanned_tokens DESC, redundant_calls DESC, tool, agent_id, type
COMMENT 'Which tools agents loop on. A loop is said again as it grows: each session counts with its largest figures. No tool: the model repeats itself.';

CREATE VIEW IF NOT EXISTS actions_before_crash AS
SELECT
    tenant, incident_id, severity, verdict, started_at,
    JSONExtractString(cause, 'agent_id') AS agent_id, JSONExtractString(cause, 'session_id') AS session_id,
    JSONExtractString(cause, 'span_id') AS span_id, JSONExtractString(cause, 'resource') AS resource,
    JSONExtractString(cause, 'shows') AS action,
    parseDateTime64BestEffort(JSONExtractString(cause, 'event_time'), 6, 'UTC') AS acted_at,
    dateDiff('second', acted_at, started_at) AS seconds_before,
    JSONExtractFloat(cause, 'probability') AS action_probability
FROM incidents FINAL
ARRAY JOIN JSONExtractArrayRaw(attribution, 'ranked') AS cause
WHERE status != 'withdrawn' AND kind IN ('agent_caused_failure', 'infrastructure_failure')
    AND JSONExtractString(cause, 'kind') = 'agent_action'
ORDER BY started_at DESC, action_probability DESC, span_id
COMMENT 'What agents did before something failed, how long before, and how likely it is the cause.';

CREATE VIEW IF NOT EXISTS context_gaps_by_source AS
SELECT
    tenant, if(JSONExtractString(gap, 'source') = '', 'not given', JSONExtractString(gap, 'source')) AS source,
    JSONExtractString(gap, 'class') AS class, count() AS gaps, uniqExact(incident_id) AS incidents,
    groupUniqArray(10)(agent_id) AS agents, max(started_at) AS newest
FROM incidents FINAL
ARRAY JOIN JSONExtractArrayRaw(context_gaps) AS gap
WHERE status != 'withdrawn'
GROUP BY tenant, source, class
ORDER BY gaps DESC, source, class
COMMENT 'Which systems agents do not ask before they act. The classes unknowable and cannot_tell are listed, but are no gaps.';

CREATE VIEW IF NOT EXISTS limits_hit AS
SELECT
    tenant, JSONExtractString(item, 'component') AS component, splitByString(': ', JSONExtractString(item, 'gap'))[1] AS limit,
    splitByString(': ', JSONExtractString(item, 'gap'))[2] AS outcome, count() AS times, uniqExact(incident_id) AS incidents,
    max(started_at) AS newest, argMax(JSONExtractString(item, 'failure_point'), started_at) AS newest_failure
FROM incidents FINAL
ARRAY JOIN JSONExtractArrayRaw(governance_gaps) AS item
WHERE status != 'withdrawn'
GROUP BY tenant, component, limit, outcome
ORDER BY times DESC, component, limit, outcome
COMMENT 'Which limits agents passed, and which limit was not there when one was needed (outcome none).';

CREATE VIEW IF NOT EXISTS pages_by_rule AS
SELECT
    n.tenant AS tenant, n.rule AS rule, n.mode AS mode, count() AS incidents, sum(n.sent) AS sent, sum(n.failed) AS failed,
    countIf(i.acknowledged_at IS NOT NULL) AS acknowledged, countIf(i.status = 'withdrawn') AS withdrawn,
    countIf(m.mark = 'useful') AS useful, countIf(m.mark = 'noise') AS noise,
    countIf(m.mark != '' OR i.acknowledged_at IS NOT NULL) AS acted_on,
    quantileExactOrNull(0.5)(if(i.acknowledged_at IS NULL, NULL, dateDiff('second', n.first_at, i.acknowledged_at))) AS median_seconds_to_acknowledge,
    max(n.first_at) AS newest
FROM
(
    SELECT tenant, rule, mode, incident_id, countIf(state = 'sent') AS sent, countIf(state = 'failed') AS failed, min(at) AS first_at
    FROM notifications FINAL
    WHERE transition = 'firing'
    GROUP BY tenant, rule, mode, incident_id
) AS n
LEFT JOIN (SELECT tenant, incident_id, status, acknowledged_at FROM incidents FINAL) AS i
    ON i.tenant = n.tenant AND i.incident_id = n.incident_id
LEFT JOIN (SELECT tenant, incident_id, mark FROM incident_marks FINAL) AS m
    ON m.tenant = n.tenant AND m.incident_id = n.incident_id
GROUP BY tenant, rule, mode
ORDER BY incidents DESC, rule, mode
COMMENT 'How often each rule told somebody, how often somebody acted, and what on-call thought of it.';

CREATE VIEW IF NOT EXISTS time_to_respond AS
SELECT
    i.tenant AS tenant, i.incident_id AS incident_id, i.kind AS kind, i.severity AS severity, i.started_at AS started_at,
    dateDiff('second', i.started_at, i.detected_at) AS seconds_to_detect,
    if(n.incident_id = '', NULL, dateDiff('second', i.started_at, n.paged_at)) AS seconds_to_page,
    if(i.acknowledged_at IS NULL, NULL, dateDiff('second', i.started_at, i.acknowledged_at)) AS seconds_to_acknowledge,
    if(i.resolved_at IS NULL, NULL, dateDiff('second', i.started_at, i.resolved_at)) AS seconds_to_resolve
FROM (SELECT * FROM incidents FINAL WHERE status != 'withdrawn') AS i
LEFT JOIN
(
    SELECT tenant, incident_id, min(at) AS paged_at
    FROM notifications FINAL
    WHERE mode = 'page' AND transition = 'firing' AND state = 'sent'
    GROUP BY tenant, incident_id
) AS n ON n.tenant = i.tenant AND n.incident_id = i.incident_id
ORDER BY started_at DESC, incident_id
COMMENT 'How long each incident took to be seen, paged, acknowledged and resolved, counted from its start. Null: it was not.';

CREATE VIEW IF NOT EXISTS what_we_knew_at AS
SELECT
    tenant, incident_id, argMax(r.status, r.revision) AS status, argMax(r.severity, r.revision) AS severity,
    argMax(r.kind, r.revision) AS kind, argMax(r.title, r.revision) AS title, argMax(r.agent_id, r.revision) AS agent_id,
    argMax(r.verdict, r.revision) AS verdict, argMax(r.probability, r.revision) AS probability,
    argMax(r.provisional, r.revision) AS provisional, argMax(r.unplanned_tokens, r.revision) AS unplanned_tokens,
    max(r.updated_at) AS updated_at, uniqExact(r.revision) AS revisions
FROM incident_revisions AS r
WHERE r.updated_at <= {at:DateTime64(6, 'UTC')}
GROUP BY tenant, incident_id
ORDER BY updated_at DESC, incident_id
COMMENT 'Every incident as it was known at one moment: SELECT * FROM what_we_knew_at(at = ''2026-03-02 14:13:00'').';

CREATE VIEW IF NOT EXISTS late_and_unreadable_daily AS
SELECT day, topic, sum(stored) AS stored, sum(late_rows) AS late_rows, sum(dead) AS dead_letters, arraySort(groupUniqArrayArray(why)) AS reasons
FROM
(
    SELECT toDate(ingest_time) AS day, topic, count() AS stored, sum(late) AS late_rows, 0 AS dead, emptyArrayString() AS why FROM agent_traces FINAL GROUP BY day, topic
    UNION ALL
    SELECT toDate(ingest_time) AS day, topic, count(), sum(late), 0, emptyArrayString() FROM system_metrics FINAL GROUP BY day, topic
    UNION ALL
    SELECT toDate(ingest_time) AS day, topic, count(), sum(late), 0, emptyArrayString() FROM cluster_events FINAL GROUP BY day, topic
    UNION ALL
    SELECT toDate(ingest_time) AS day, topic, 0, 0, count(), groupUniqArray(toString(reason)) FROM dead_letters FINAL GROUP BY day, topic
)
GROUP BY day, topic
ORDER BY day, topic
COMMENT 'How much came too late to be judged, and how much could not be read, by day of arrival.';
