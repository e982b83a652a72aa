-- The audit trail of one change, from prompt to mutation: one row a link that was found.
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

CREATE VIEW IF NOT EXISTS trail_of AS
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
        WHERE tenant = {tenant:String} AND (session_id IN (SELECT session_id FROM call)
            OR (root_session_id != '' AND root_session_id IN (SELECT root_session_id FROM call)))
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
