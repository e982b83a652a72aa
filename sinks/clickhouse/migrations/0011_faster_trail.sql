-- The trail of a change finds its call once and reads the spans of its run once; and acknowledgements count by the newest word,
-- since the table keeps no older one.
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

CREATE OR REPLACE VIEW pages_by_rule AS
SELECT
    n.tenant AS tenant, n.rule AS rule, n.mode AS mode, count() AS incidents, sum(n.sent) AS sent, sum(n.failed) AS failed,
    countIf(a.incident_id != '') AS acknowledged, countIf(i.status = 'withdrawn') AS withdrawn,
    countIf(m.mark = 'useful') AS useful, countIf(m.mark = 'noise') AS noise,
    countIf(m.mark != '' OR a.incident_id != '') AS acted_on,
    quantileExactOrNull(0.5)(if(a.incident_id = '', NULL, dateDiff('second', n.first_at, a.acknowledged_at))) AS median_seconds_to_acknowledge,
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
LEFT JOIN (SELECT tenant, incident_id, acknowledged_at FROM acknowledgements FINAL) AS a
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
    if(a.incident_id = '', NULL, dateDiff('second', i.started_at, a.acknowledged_at)) AS seconds_to_acknowledge,
    if(i.resolved_at IS NULL, NULL, dateDiff('second', i.started_at, i.resolved_at)) AS seconds_to_resolve
FROM (SELECT * FROM incidents FINAL WHERE status != 'withdrawn') AS i
LEFT JOIN
(
    SELECT tenant, incident_id, min(at) AS paged_at
    FROM notifications FINAL
    WHERE mode = 'page' AND transition = 'firing' AND state = 'sent'
    GROUP BY tenant, incident_id
) AS n ON n.tenant = i.tenant AND n.incident_id = i.incident_id
LEFT JOIN (SELECT tenant, incident_id, acknowledged_at FROM acknowledgements FINAL) AS a
    ON a.tenant = i.tenant AND a.incident_id = i.incident_id
ORDER BY started_at DESC, incident_id
COMMENT 'How long each incident took to be seen, paged, acknowledged and resolved, counted from its start. Null: it was not.';

CREATE OR REPLACE VIEW trail_of AS
WITH
    (
        SELECT tuple(any(session_id), any(root_session_id), any(began), any(ended), any(target))
        FROM
        (
            SELECT session_id, root_session_id, coalesce(start_time, event_time - toIntervalMillisecond(duration_ms)) AS began,
                event_time AS ended, target
            FROM agent_traces FINAL
            WHERE tenant = {tenant:String} AND span_id = {span_id:String}
            ORDER BY event_time, trace_id
            LIMIT 1
        )
    ) AS call,
    call.1 AS call_session, call.2 AS call_root, call.3 AS call_began, call.4 AS call_ended, call.5 AS call_target,
    spans AS
    (
        SELECT *, coalesce(start_time, event_time - toIntervalMillisecond(duration_ms)) AS began
        FROM agent_traces FINAL
        WHERE tenant = {tenant:String} AND session_id = call_session AND call_session != ''
        UNION ALL
        SELECT *, coalesce(start_time, event_time - toIntervalMillisecond(duration_ms)) AS began
        FROM agent_traces FINAL
        WHERE tenant = {tenant:String} AND root_session_id = call_root AND call_root != '' AND session_id != call_session
    ),
    linked AS
    (
        SELECT topic, partition, offset, span_id AS id, found.1 AS link, found.2 AS place, found.3 AS at, toString(found.4) AS who,
            found.5 AS shows, found.6 AS resource,
            row_number() OVER (PARTITION BY link ORDER BY if(place IN (2, 3), -1, 1) * toUnixTimestamp64Micro(at), span_id) AS nearest
        FROM spans
        ARRAY JOIN arrayFilter(one -> one.7, [
            ('asked', 0, began, requested_by, toString(task_type), '', requested_by != ''),
            ('read', 1, event_time, toString(agent_id), concat(if(tool_name = '', operation, tool_name), if(status = 'error', ' failed', '')), target,
                (access = 'read' OR operation = 'retrieval') AND event_time <= call_began),
            ('believed', 2, event_time, toString(agent_id), summary, '', summary != '' AND event_time <= call_ended),
            ('decided', 3, event_time, toString(agent_id), if(summary = '', expects, summary), target, operation = 'decision' AND event_time <= call_ended),
            ('approval', 4, event_time, approved_by, toString(approval), target,
                approval != '' AND (span_id = {span_id:String} OR (operation = 'approval' AND event_time <= call_ended))),
            ('called', 5, began, toString(agent_id), concat(tool_name, if(tool_args = '', '', concat(' ', tool_args)), ' -> ', status), target,
                span_id = {span_id:String} AND session_id = call_session)
        ]) AS found
    )
SELECT link, at, who, shows, resource, topic, partition, offset, id FROM
(
    SELECT link, place, at, who, shows, resource, topic, partition, offset, id
    FROM linked WHERE nearest = 1 OR link IN ('read', 'approval')
    UNION ALL
    SELECT 'effect', 6, event_time, if(actor = '', toString(actor_kind), actor), concat(kind, if(previous_value = '' AND value = '', '', concat(' ', previous_value, ' -> ', value)), if(message = '', '', concat(': ', message))), resource, topic, partition, offset, event_id
    FROM cluster_events FINAL
    WHERE tenant = {tenant:String} AND resource = call_target AND call_target != '' AND kind IN ('deploy', 'scale', 'config', 'flag', 'quota', 'audit')
        AND event_time >= call_began AND event_time <= call_ended + INTERVAL 5 MINUTE
    UNION ALL
    SELECT 'followed', 7, event_time, incident_id, shows, resource, topic, partition, offset, event_id
    FROM incident_timeline FINAL
    WHERE tenant = {tenant:String} AND type IN ('symptom', 'opened', 'resolved', 'withdrawn') AND event_time >= call_began
        AND incident_id IN
        (
            SELECT incident_id FROM incident_timeline WHERE tenant = {tenant:String} AND event_id = {span_id:String} AND type = 'action'
            UNION DISTINCT
            SELECT incident_id FROM incidents FINAL WHERE tenant = {tenant:String} AND call_session != '' AND has(session_ids, call_session)
        )
)
ORDER BY place, at, id
COMMENT 'How one change came about and what it did: SELECT * FROM trail_of(tenant = ''acme'', span_id = ''4a92c53bed9a69c0'').';
