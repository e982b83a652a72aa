-- Views that ask what came after them: acknowledgements of on-call, and the circuit breaker.
-- `trail_of` looks for the spans of a run and for those of its delegations one after the other: an OR of the two names
-- used neither index.
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

CREATE OR REPLACE VIEW pages_by_rule AS
SELECT
    n.tenant AS tenant, n.rule AS rule, n.mode AS mode, count() AS incidents, sum(n.sent) AS sent, sum(n.failed) AS failed,
    countIf(a.incident_id != '') AS acknowledged, countIf(i.status = 'withdrawn') AS withdrawn,
    countIf(m.mark = 'useful') AS useful, countIf(m.mark = 'noise') AS noise,
    countIf(m.mark != '' OR a.incident_id != '') AS acted_on,
    quantileExactOrNull(0.5)(if(a.incident_id = '', NULL, dateDiff('second', n.first_at, a.first_acknowledged_at))) AS median_seconds_to_acknowledge,
    max(n.first_at) AS newest
FROM
(
    SELECT tenant, rule, mode, incident_id, countIf(state = 'sent') AS sent, countIf(state = 'failed') AS failed, min(at) AS first_at
    FROM notifications FINAL
    WHERE transition = 'firing'
    GROUP BY tenant, rule, mode, incident_id
) AS n
LEFT JOIN (SELECT tenant, incident_id, status FROM incidents FINAL) AS i
    ON i.tenant = n.tenant AND i.incident_id = n.incident_id
LEFT JOIN (SELECT tenant, incident_id, min(acknowledged_at) AS first_acknowledged_at FROM acknowledgements GROUP BY tenant, incident_id) AS a
    ON a.tenant = n.tenant AND a.incident_id = n.incident_id
LEFT JOIN (SELECT tenant, incident_id, mark FROM incident_marks FINAL) AS m
    ON m.tenant = n.tenant AND m.incident_id = n.incident_id
GROUP BY tenant, rule, mode
ORDER BY incidents DESC, rule, mode
COMMENT 'How often each rule told somebody, how often somebody acted, and what on-call thought of it.';

CREATE OR REPLACE VIEW time_to_respond AS
SELECT
    i.tenant AS tenant, i.incident_id AS incident_id, i.kind AS kind, i.severity AS severity, i.started_at AS started_at,
    dateDiff('second', i.started_at, i.detected_at) AS seconds_to_detect,
    if(n.incident_id = '', NULL, dateDiff('second', i.started_at, n.paged_at)) AS seconds_to_page,
    if(a.incident_id = '', NULL, dateDiff('second', i.started_at, a.first_acknowledged_at)) AS seconds_to_acknowledge,
    if(i.resolved_at IS NULL, NULL, dateDiff('second', i.started_at, i.resolved_at)) AS seconds_to_resolve
FROM (SELECT * FROM incidents FINAL WHERE status != 'withdrawn') AS i
LEFT JOIN
(
    SELECT tenant, incident_id, min(at) AS paged_at
    FROM notifications FINAL
    WHERE mode = 'page' AND transition = 'firing' AND state = 'sent'
    GROUP BY tenant, incident_id
) AS n ON n.tenant = i.tenant AND n.incident_id = i.incident_id
LEFT JOIN (SELECT tenant, incident_id, min(acknowledged_at) AS first_acknowledged_at FROM acknowledgements GROUP BY tenant, incident_id) AS a
    ON a.tenant = i.tenant AND a.incident_id = i.incident_id
ORDER BY started_at DESC, incident_id
COMMENT 'How long each incident took to be seen, paged, acknowledged and resolved, counted from its start. Null: it was not.';

CREATE VIEW IF NOT EXISTS agents_held_back AS
SELECT
    tenant, agent_id, agent_version, tool_name, target, argMax(c.action, c.at) AS action, argMax(c.mode, c.at) AS mode,
    argMax(c.author, c.at) AS author, argMax(c.reason, c.at) AS reason, max(c.at) AS since, argMax(c.until, c.at) AS until,
    countIf(c.action != 'resume') AS times_held
FROM controls AS c FINAL
GROUP BY tenant, agent_id, agent_version, tool_name, target
ORDER BY since DESC, tenant, agent_id, agent_version, tool_name, target
COMMENT 'What the circuit breaker said last of each agent, version, tool and target, and how often it held them.';

CREATE VIEW IF NOT EXISTS notifications_not_sent AS
SELECT tenant, at, rule, mode, receiver, incident_id, state, if(reason = '', detail, reason) AS why, title
FROM notifications FINAL
WHERE state != 'sent'
ORDER BY at DESC, tenant, dedup_key
COMMENT 'What was not sent, and why: silenced, inhibited, in a window, refused by its receiver.';

ALTER TABLE agent_traces ADD INDEX IF NOT EXISTS by_root root_session_id TYPE bloom_filter(0.001) GRANULARITY 1;

CREATE OR REPLACE VIEW trail_of AS
WITH
    call AS
    (
        SELECT *, coalesce(start_time, event_time - toIntervalMillisecond(duration_ms)) AS began
        FROM agent_traces FINAL
        WHERE span_id = {span_id:String} AND tenant = {tenant:String}
        LIMIT 1
    ),
    session AS
    (
        SELECT *, coalesce(start_time, event_time - toIntervalMillisecond(duration_ms)) AS began
        FROM agent_traces FINAL
        WHERE tenant = {tenant:String} AND session_id IN (SELECT session_id FROM call)
        UNION ALL
        SELECT *, coalesce(start_time, event_time - toIntervalMillisecond(duration_ms)) AS began
        FROM agent_traces FINAL
        WHERE tenant = {tenant:String} AND root_session_id IN (SELECT root_session_id FROM call WHERE root_session_id != '')
            AND session_id NOT IN (SELECT session_id FROM call)
    ),
    incident AS
    (
        SELECT incident_id FROM incident_timeline
        WHERE tenant = {tenant:String} AND event_id = {span_id:String} AND type = 'action'
        UNION DISTINCT
        SELECT incident_id FROM incidents FINAL
        WHERE tenant = {tenant:String} AND has(session_ids, (SELECT any(session_id) FROM call))
    )
SELECT link, at, who, shows, resource, topic, partition, offset, id FROM
(
    SELECT 'asked' AS link, 0 AS place, began AS at, requested_by AS who, task_type AS shows, '' AS resource, topic, partition, offset, span_id AS id
    FROM session WHERE requested_by != '' ORDER BY began, span_id LIMIT 1
    UNION ALL
    SELECT 'read', 1, event_time, agent_id, concat(if(tool_name = '', operation, tool_name), if(status = 'error', ' failed', '')), target, topic, partition, offset, span_id
    FROM session WHERE (access = 'read' OR operation = 'retrieval') AND event_time <= (SELECT began FROM call)
    UNION ALL
    SELECT 'believed', 2, event_time, agent_id, summary, '', topic, partition, offset, span_id
    FROM session WHERE summary != '' AND event_time <= (SELECT event_time FROM call) ORDER BY event_time DESC, span_id LIMIT 1
    UNION ALL
    SELECT 'decided', 3, event_time, agent_id, if(summary = '', expects, summary), target, topic, partition, offset, span_id
    FROM session WHERE operation = 'decision' AND event_time <= (SELECT event_time FROM call) ORDER BY event_time DESC, span_id LIMIT 1
    UNION ALL
    SELECT 'approval', 4, event_time, approved_by, approval, target, topic, partition, offset, span_id
    FROM session WHERE approval != '' AND (span_id = {span_id:String} OR (operation = 'approval' AND event_time <= (SELECT event_time FROM call)))
    UNION ALL
    SELECT 'called', 5, began, agent_id, concat(tool_name, if(tool_args = '', '', concat(' ', tool_args)), ' -> ', status), target, topic, partition, offset, span_id
    FROM call
    UNION ALL
    SELECT 'effect', 6, event_time, if(actor = '', actor_kind, actor), concat(kind, if(previous_value = '' AND value = '', '', concat(' ', previous_value, ' -> ', value)), if(message = '', '', concat(': ', message))), resource, topic, partition, offset, event_id
    FROM cluster_events FINAL
    WHERE tenant = {tenant:String} AND resource IN (SELECT target FROM call) AND kind IN ('deploy', 'scale', 'config', 'flag', 'quota', 'audit')
        AND event_time >= (SELECT began FROM call) AND event_time <= (SELECT event_time FROM call) + INTERVAL 5 MINUTE
    UNION ALL
    SELECT 'followed', 7, event_time, incident_id, shows, resource, topic, partition, offset, event_id
    FROM incident_timeline FINAL
    WHERE tenant = {tenant:String} AND incident_id IN (SELECT incident_id FROM incident)
        AND type IN ('symptom', 'opened', 'resolved', 'withdrawn') AND event_time >= (SELECT began FROM call)
)
ORDER BY place, at, id
COMMENT 'How one change came about and what it did: SELECT * FROM trail_of(tenant = ''acme'', span_id = ''4a92c53bed9a69c0'').';
