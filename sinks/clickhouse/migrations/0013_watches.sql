-- What became of each write of an agent: the row of its watch, its outcomes by agent, and a link of the trail.
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

CREATE TABLE IF NOT EXISTS write_watches
(
    tenant LowCardinality(String) COMMENT 'tenant; acme',
    span_id String COMMENT 'span of the write; 4a92c53bed9a69c0' CODEC(ZSTD(1)),
    session_id String COMMENT 'session that wrote; s-17' CODEC(ZSTD(1)),
    agent_id LowCardinality(String) COMMENT 'agent that wrote; capacity-agent',
    agent_version LowCardinality(String) COMMENT 'its version; empty: not known',
    tool_name LowCardinality(String) COMMENT 'tool it called; empty: not known',
    target String COMMENT 'resource it wrote to; empty: it named none' CODEC(ZSTD(1)),
    began_at DateTime64(6, 'UTC') COMMENT 'when the write began, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    closed_at DateTime64(6, 'UTC') COMMENT 'when its watch closed, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    outcome LowCardinality(String) COMMENT 'regressed (something near it failed that had not before), clean, or not_enough_data',
    resources Int64 COMMENT 'resources that were watched: the target, what depends on it and what it depends on; 4',
    heard Int64 COMMENT 'how many of them sent metrics to the end of the watch; 3',
    shows String COMMENT 'why it closed so, one sentence' CODEC(ZSTD(1)),
    symptom_id String COMMENT 'event that shows the first new symptom; empty: none' CODEC(ZSTD(1)),
    symptom_resource String COMMENT 'resource of that symptom; empty: none' CODEC(ZSTD(1)),
    symptom_at Nullable(DateTime64(6, 'UTC')) COMMENT 'when that began, UTC, microseconds; null: none' CODEC(ZSTD(1)),
    topic LowCardinality(String) COMMENT 'topic of the span of the write; agent.traces.v1',
    partition Int32 COMMENT 'its partition; -1 where there is no log',
    offset Int64 COMMENT 'its offset; -1 where there is no log',
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(began_at)
ORDER BY (tenant, span_id)
TTL stored_at + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What became of each write of an agent within ten minutes. Not who caused it: that is the attribution of an incident. Read with FINAL.';

CREATE VIEW IF NOT EXISTS what_writes_led_to AS
SELECT
    tenant, agent_id, agent_version, tool_name, count() AS writes, countIf(outcome = 'regressed') AS regressed,
    countIf(outcome = 'clean') AS clean, countIf(outcome = 'not_enough_data') AS not_enough_data,
    maxIf(began_at, outcome = 'regressed') AS newest_regressed
FROM write_watches FINAL
GROUP BY tenant, agent_id, agent_version, tool_name
ORDER BY regressed DESC, writes DESC, agent_id, agent_version, tool_name
COMMENT 'How often something failed after a write, by agent, version and tool. Writes whose watch is still open are not in it.';

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
    SELECT 'watched', 7, closed_at, toString(agent_id), concat(replaceAll(toString(outcome), '_', ' '), ': ', shows), symptom_resource, toString(topic), partition, offset, span_id
    FROM write_watches FINAL
    WHERE tenant = {tenant:String} AND span_id = {span_id:String}
    UNION ALL
    SELECT 'followed', 8, event_time, incident_id, shows, resource, topic, partition, offset, event_id
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
