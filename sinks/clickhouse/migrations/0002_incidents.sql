-- What was concluded: usage, signals, incidents with every revision, and their timeline.
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

CREATE TABLE IF NOT EXISTS agent_usage
(
    tenant LowCardinality(String) COMMENT 'tenant; acme',
    agent_id LowCardinality(String) COMMENT 'agent; seo-agent',
    agent_version LowCardinality(String) COMMENT 'its version; 1.9.0; empty: not given',
    task_type LowCardinality(String) COMMENT 'kind of task; translation; empty: not given',
    operation LowCardinality(String) COMMENT 'as in AgentSpan; chat',
    model LowCardinality(String) COMMENT 'model; claude-opus-4-6; empty: not given',
    tool_name LowCardinality(String) COMMENT 'tool; wp.write; empty: not given',
    target String COMMENT 'target; site-12/wordpress/hook/wp_head; empty: not given' CODEC(ZSTD(1)),
    pane DateTime64(6, 'UTC') COMMENT 'start of the pane, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    source LowCardinality(String) COMMENT 'topic and partition it was summed over; agent.traces.v1/3',
    calls Int64 COMMENT 'calls, 0 or more; 12' CODEC(ZSTD(1)),
    errors Int64 COMMENT 'calls with status error; 1' CODEC(ZSTD(1)),
    input_tokens Int64 COMMENT 'tokens read, cached ones included; 41200' CODEC(ZSTD(1)),
    output_tokens Int64 COMMENT 'tokens written; 812' CODEC(ZSTD(1)),
    cached_input_tokens Int64 COMMENT 'of the input, read from a cache; 38000' CODEC(ZSTD(1)),
    reasoning_tokens Int64 COMMENT 'of the output, reasoning; 256' CODEC(ZSTD(1)),
    duration_ms Int64 COMMENT 'sum of durations, milliseconds; 15000' CODEC(ZSTD(1)),
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written; the time to live counts from here, so that recorded data is kept as long as live data'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(pane)
ORDER BY (tenant, agent_id, pane, agent_version, task_type, operation, model, tool_name, target, source)
TTL stored_at + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
COMMENT 'What each agent used, summed by pane and source partition: counts and tokens, never money.';

CREATE TABLE IF NOT EXISTS signals
(
    signal_id String COMMENT 'hash of what it saw; 5d1f0c7a2b9e4f60' CODEC(ZSTD(1)),
    type LowCardinality(String) COMMENT 'dotted; feedback_loop.exact',
    tenant LowCardinality(String) COMMENT 'tenant; acme',
    scope LowCardinality(String) COMMENT 'cluster/namespace of the target, else of the session\'s last target; prod-eu/checkout; empty: not given',
    agent_id LowCardinality(String) COMMENT 'agent it is about; seo-agent; empty: not given',
    agent_version LowCardinality(String) COMMENT 'its version; 1.9.0; empty: not given',
    session_id String COMMENT 'session it is about; run-812; empty: not given' CODEC(ZSTD(1)),
    root_session_id String COMMENT 'the session at the top; run-800; empty: not given' CODEC(ZSTD(1)),
    resource String COMMENT 'resource it is about; prod-eu/checkout/pod/cart-1; empty: not given' CODEC(ZSTD(1)),
    window_start DateTime64(6, 'UTC') COMMENT 'start of what it saw, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    window_end DateTime64(6, 'UTC') COMMENT 'end of what it saw, excluded, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    detected_at DateTime64(6, 'UTC') COMMENT 'end of the pane that decided, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    score Float64 COMMENT 'how strong, 0 or more; what it means stands with the detector' CODEC(Gorilla, ZSTD(1)),
    severity LowCardinality(String) COMMENT 'one of info, warning, critical; warning',
    summary String COMMENT 'one sentence for a person; 5 equal calls of wp.write in 75 s' CODEC(ZSTD(1)),
    evidence String COMMENT 'counts, ids, references, one JSON object' CODEC(ZSTD(1)),
    rule_version LowCardinality(String) COMMENT 'version of the detector and of the limits it used; 1',
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written; the time to live counts from here, so that recorded data is kept as long as live data'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(detected_at)
ORDER BY (tenant, type, detected_at, signal_id)
TTL stored_at + INTERVAL 400 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
COMMENT 'What detectors saw, with evidence. A signal wakes nobody.';

CREATE TABLE IF NOT EXISTS incidents
(
    incident_id String COMMENT 'hash of tenant and the signal that opened it; 9c0e5b7d1a2f4e38' CODEC(ZSTD(1)),
    fingerprint String COMMENT 'the same for the same problem again; 51d0aa93' CODEC(ZSTD(1)),
    revision Int64 COMMENT 'grows with each revision; 3',
    provisional Bool COMMENT 'true: written before all sources had spoken',
    tenant LowCardinality(String) COMMENT 'tenant; acme',
    kind LowCardinality(String) COMMENT 'one of feedback_loop, resource_exhaustion, agent_caused_failure, infrastructure_failure, governance_breach, telemetry_gap',
    status LowCardinality(String) COMMENT 'one of open, resolved, withdrawn',
    severity LowCardinality(String) COMMENT 'one of info, warning, critical',
    scope LowCardinality(String) COMMENT 'cluster/namespace; prod-eu/checkout; empty: not given',
    agent_id LowCardinality(String) COMMENT 'the agent held responsible; capacity-agent; empty: not given',
    agent_version LowCardinality(String) COMMENT 'its version; 2.4.1; empty: not given',
    session_ids Array(String) COMMENT 'the sessions held responsible',
    title String COMMENT 'one line for a person' CODEC(ZSTD(1)),
    owner LowCardinality(String) COMMENT 'team that owns it; checkout; empty: not given',
    started_at DateTime64(6, 'UTC') COMMENT 'when it began, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    detected_at DateTime64(6, 'UTC') COMMENT 'detected_at of the signal that opened it, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    updated_at DateTime64(6, 'UTC') COMMENT 'event time of this revision, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    resolved_at Nullable(DateTime64(6, 'UTC')) COMMENT 'when it ended, UTC, microseconds' CODEC(ZSTD(1)),
    acknowledged_at Nullable(DateTime64(6, 'UTC')) COMMENT 'when a person took it, UTC, microseconds' CODEC(ZSTD(1)),
    acknowledged_by String COMMENT 'who took it; user:mo; empty: not given' CODEC(ZSTD(1)),
    summary String COMMENT 'what happened, a few sentences' CODEC(ZSTD(1)),
    attribution String COMMENT 'JSON: {verdict, probability, ranked[]}' CODEC(ZSTD(1)),
    exhaustion String COMMENT 'JSON: {unplanned_tokens, calls_percent_of_expected, redundant_calls, ...}; never money; empty: not given' CODEC(ZSTD(1)),
    context_gaps String COMMENT 'JSON list of {event_id, resource, source, class, span_id, read_at}' CODEC(ZSTD(1)),
    governance_gaps String COMMENT 'JSON list of {component, failure_point, gap, references}' CODEC(ZSTD(1)),
    blast_radius String COMMENT 'JSON list of {resource, distance}' CODEC(ZSTD(1)),
    evidence String COMMENT 'JSON list of {type, topic, partition, offset, event_id, event_time, resource, shows}' CODEC(ZSTD(1)),
    rule_version LowCardinality(String) COMMENT 'versions of detectors and limits; 1',
    verdict LowCardinality(String) COMMENT 'attribution.verdict: agent, infrastructure, change, shared or undetermined',
    probability Float64 COMMENT 'attribution.probability, that of the verdict; 0 to 1',
    unplanned_tokens Int64 COMMENT 'exhaustion.unplanned_tokens: tokens of redundant calls; 0 where none were counted',
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written'
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(detected_at)
ORDER BY (tenant, incident_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Incidents as they stand: the newest revision of each wins. Read the view incidents_current, or with FINAL.';

CREATE TABLE IF NOT EXISTS incident_revisions
(
    incident_id String COMMENT 'hash of tenant and the signal that opened it; 9c0e5b7d1a2f4e38' CODEC(ZSTD(1)),
    fingerprint String COMMENT 'the same for the same problem again; 51d0aa93' CODEC(ZSTD(1)),
    revision Int64 COMMENT 'grows with each revision; 3',
    provisional Bool COMMENT 'true: written before all sources had spoken',
    tenant LowCardinality(String) COMMENT 'tenant; acme',
    kind LowCardinality(String) COMMENT 'one of feedback_loop, resource_exhaustion, agent_caused_failure, infrastructure_failure, governance_breach, telemetry_gap',
    status LowCardinality(String) COMMENT 'one of open, resolved, withdrawn',
    severity LowCardinality(String) COMMENT 'one of info, warning, critical',
    scope LowCardinality(String) COMMENT 'cluster/namespace; prod-eu/checkout; empty: not given',
    agent_id LowCardinality(String) COMMENT 'the agent held responsible; capacity-agent; empty: not given',
    agent_version LowCardinality(String) COMMENT 'its version; 2.4.1; empty: not given',
    session_ids Array(String) COMMENT 'the sessions held responsible',
    title String COMMENT 'one line for a person' CODEC(ZSTD(1)),
    owner LowCardinality(String) COMMENT 'team that owns it; checkout; empty: not given',
    started_at DateTime64(6, 'UTC') COMMENT 'when it began, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    detected_at DateTime64(6, 'UTC') COMMENT 'detected_at of the signal that opened it, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    updated_at DateTime64(6, 'UTC') COMMENT 'event time of this revision, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    resolved_at Nullable(DateTime64(6, 'UTC')) COMMENT 'when it ended, UTC, microseconds' CODEC(ZSTD(1)),
    acknowledged_at Nullable(DateTime64(6, 'UTC')) COMMENT 'when a person took it, UTC, microseconds' CODEC(ZSTD(1)),
    acknowledged_by String COMMENT 'who took it; user:mo; empty: not given' CODEC(ZSTD(1)),
    summary String COMMENT 'what happened, a few sentences' CODEC(ZSTD(1)),
    attribution String COMMENT 'JSON: {verdict, probability, ranked[]}' CODEC(ZSTD(1)),
    exhaustion String COMMENT 'JSON: {unplanned_tokens, calls_percent_of_expected, redundant_calls, ...}; never money; empty: not given' CODEC(ZSTD(1)),
    context_gaps String COMMENT 'JSON list of {event_id, resource, source, class, span_id, read_at}' CODEC(ZSTD(1)),
    governance_gaps String COMMENT 'JSON list of {component, failure_point, gap, references}' CODEC(ZSTD(1)),
    blast_radius String COMMENT 'JSON list of {resource, distance}' CODEC(ZSTD(1)),
    evidence String COMMENT 'JSON list of {type, topic, partition, offset, event_id, event_time, resource, shows}' CODEC(ZSTD(1)),
    rule_version LowCardinality(String) COMMENT 'versions of detectors and limits; 1',
    verdict LowCardinality(String) COMMENT 'attribution.verdict: agent, infrastructure, change, shared or undetermined',
    probability Float64 COMMENT 'attribution.probability, that of the verdict; 0 to 1',
    unplanned_tokens Int64 COMMENT 'exhaustion.unplanned_tokens: tokens of redundant calls; 0 where none were counted',
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(detected_at)
ORDER BY (tenant, incident_id, revision)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Every revision of every incident: what was known when.';

CREATE TABLE IF NOT EXISTS incident_timeline
(
    tenant LowCardinality(String) COMMENT 'tenant; acme',
    incident_id String COMMENT 'incident it belongs to; 9c0e5b7d1a2f4e38' CODEC(ZSTD(1)),
    event_time DateTime64(6, 'UTC') COMMENT 'when it happened, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    type LowCardinality(String) COMMENT 'signal, symptom, action, fact, change, or a transition of the incident: opened, acknowledged, resolved, withdrawn',
    resource String COMMENT 'resource it happened to; empty: none' CODEC(ZSTD(1)),
    agent_id LowCardinality(String) COMMENT 'agent that did it; empty: not an agent\'s doing, or not known',
    session_id String COMMENT 'session that did it; empty: none' CODEC(ZSTD(1)),
    shows String COMMENT 'what it shows, one sentence' CODEC(ZSTD(1)),
    topic LowCardinality(String) COMMENT 'topic of the message that shows it; empty: none',
    partition Int32 COMMENT 'its partition; -1 where there is no log',
    offset Int64 COMMENT 'its offset; -1 where there is no log',
    event_id String COMMENT 'id of the event, span or signal; of a transition: its name' CODEC(ZSTD(1)),
    revision Int64 COMMENT 'newest revision of the incident that cites it',
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written'
)
ENGINE = ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(event_time)
ORDER BY (tenant, incident_id, event_time, type, event_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'One row for each thing that happened in an incident, in order of event time. Read the view timeline_of, or with FINAL.';
