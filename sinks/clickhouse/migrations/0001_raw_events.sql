-- The raw events, one row a message: redacted, deduplicated by their place in the log, dropped by day.
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

CREATE TABLE IF NOT EXISTS agent_traces
(
    event_time DateTime64(6, 'UTC') COMMENT 'when it ended, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    start_time Nullable(DateTime64(6, 'UTC')) COMMENT 'when it began, the time of the cause, UTC, microseconds; absent: event_time minus duration_ms' CODEC(ZSTD(1)),
    duration_ms Int64 COMMENT 'how long it took, milliseconds, 0 or more; 1250' CODEC(ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'who owns the agent, 1 to 512 characters; acme',
    trace_id String COMMENT 'the trace it belongs to; 4bf92f3577b34da6a3ce929d0e0e4736' CODEC(ZSTD(1)),
    span_id String COMMENT 'its id, unique in the trace; 00f067aa0ba902b7' CODEC(ZSTD(1)),
    parent_span_id String COMMENT 'the span that caused it; 53995c3f42cd8ad8; empty: not given' CODEC(ZSTD(1)),
    session_id String COMMENT 'the run or conversation of one agent; run-812' CODEC(ZSTD(1)),
    root_session_id String COMMENT 'the session that started this one, at the top; run-800; empty: not given' CODEC(ZSTD(1)),
    agent_id LowCardinality(String) COMMENT 'which agent, stable over runs; capacity-agent',
    agent_name LowCardinality(String) COMMENT 'its name for people; Capacity agent; empty: not given',
    agent_version LowCardinality(String) COMMENT 'the version that ran; 2.4.1; empty: not given',
    task_type LowCardinality(String) COMMENT 'what kind of task, for baselines; rightsizing; empty: not given',
    requested_by String COMMENT 'who asked for the session; user:ines; empty: not given' CODEC(ZSTD(1)),
    prompt_digest String COMMENT 'digest of the prompt; sha256:9f2c; empty: not given' CODEC(ZSTD(1)),
    prompt_version LowCardinality(String) COMMENT 'version of the prompt template; p-17; empty: not given',
    operation LowCardinality(String) COMMENT 'one of invoke_agent, chat, execute_tool, handoff, retrieval, decision, approval; execute_tool',
    provider LowCardinality(String) COMMENT 'who serves the model; anthropic; empty: not given',
    model LowCardinality(String) COMMENT 'the model; claude-opus-4-6; empty: not given',
    tool_name LowCardinality(String) COMMENT 'the tool called; kubernetes.scale; empty: not given',
    tool_args String COMMENT 'its arguments, one JSON object; {"replicas": 24}; empty: not given' CODEC(ZSTD(1)),
    args_digest String COMMENT 'digest of the full arguments, where tool_args is cut or absent; sha256:77ab; empty: not given' CODEC(ZSTD(1)),
    result_digest String COMMENT 'digest of the result; of a chat: of its output; sha256:01cd; empty: not given' CODEC(ZSTD(1)),
    access LowCardinality(String) COMMENT 'one of read, write, destructive, provision; write; empty: not given',
    target String COMMENT 'the resource it touches, cluster/namespace/kind/name; prod-eu/checkout/deployment/cart; empty: not given' CODEC(ZSTD(1)),
    input_tokens Int64 COMMENT 'tokens read by the model, cached ones included, 0 or more; 41200' CODEC(ZSTD(1)),
    output_tokens Int64 COMMENT 'tokens written by the model, reasoning included, 0 or more; 812' CODEC(ZSTD(1)),
    cached_input_tokens Int64 COMMENT 'of input_tokens, those read from a cache, 0 or more; 38000' CODEC(ZSTD(1)),
    reasoning_tokens Int64 COMMENT 'of output_tokens, those spent on reasoning, 0 or more; 256' CODEC(ZSTD(1)),
    context_tokens Nullable(Int64) COMMENT 'size of the context at this call, tokens, 0 or more; 164000; null: not given' CODEC(ZSTD(1)),
    context_limit Nullable(Int64) COMMENT 'what the context may hold, tokens, 1 or more; 200000; null: not given' CODEC(ZSTD(1)),
    finish_reason LowCardinality(String) COMMENT 'why the model stopped; stop, length, tool_calls; empty: not given',
    step Nullable(Int64) COMMENT 'number of the step in its session, 0 or more; 14; null: not given' CODEC(ZSTD(1)),
    max_steps Nullable(Int64) COMMENT 'steps the session may take, 1 or more; 40; null: not given' CODEC(ZSTD(1)),
    attempt Int64 COMMENT '1 for the first try of a call; 1' CODEC(ZSTD(1)),
    status LowCardinality(String) COMMENT 'one of ok, error; ok',
    error_type LowCardinality(String) COMMENT 'the class of the error; timeout, rate_limited; empty: not given',
    approval LowCardinality(String) COMMENT 'one of not_required, requested, granted, denied; requested; empty: not given',
    approved_by String COMMENT 'who granted it; user:mo; empty: not given' CODEC(ZSTD(1)),
    summary String COMMENT 'what the agent thinks it knows and why it acts; cart is short of replicas; empty: not given' CODEC(ZSTD(1)),
    context_facts String COMMENT 'facts it read, a JSON list of event_ids or of objects with event_id; ["mw-311"]; empty: not given' CODEC(ZSTD(1)),
    expects String COMMENT 'the state its decision was based on, JSON; {"replicas": 6}; empty: not given' CODEC(ZSTD(1)),
    attributes String COMMENT 'anything else, one JSON object; {"context.compacted": true}; empty: not given' CODEC(ZSTD(1)),
    ingest_time DateTime64(6, 'UTC') COMMENT 'append time of the record on Kafka, as a running maximum of its partition' CODEC(Delta(8), ZSTD(1)),
    late UInt8 COMMENT '1: it came after its pane was closed; stored, not detected on',
    topic LowCardinality(String) COMMENT 'topic of the message this row was',
    partition Int32 COMMENT 'its partition',
    offset Int64 COMMENT 'its offset' CODEC(Delta(8), ZSTD(1)),
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written; the time to live counts from here, so that recorded data is kept as long as live data',
    INDEX by_trace trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_session session_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_target target TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(event_time)
ORDER BY (tenant, agent_id, event_time, topic, partition, offset)
TTL stored_at + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
COMMENT 'What agents did: one row an AgentSpan. Redacted before it was written. Read with FINAL where a row must count once.';

CREATE TABLE IF NOT EXISTS system_metrics
(
    event_time DateTime64(6, 'UTC') COMMENT 'when it was measured, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'who owns the resource, 1 to 512 characters; acme',
    resource LowCardinality(String) COMMENT 'cluster/namespace/kind/name; prod-eu/checkout/statefulset/cart-db',
    metric LowCardinality(String) COMMENT 'name of the metric; db.connections',
    value Float64 COMMENT 'the value, finite; 412' CODEC(Gorilla, ZSTD(1)),
    unit LowCardinality(String) COMMENT 'its unit; 1, s, By; empty: not given',
    kind LowCardinality(String) COMMENT 'one of gauge, delta, cumulative; gauge',
    labels String COMMENT 'what tells series of one metric apart, one JSON object; {"pool": "main"}; empty: not given' CODEC(ZSTD(1)),
    ingest_time DateTime64(6, 'UTC') COMMENT 'append time of the record on Kafka, as a running maximum of its partition' CODEC(Delta(8), ZSTD(1)),
    late UInt8 COMMENT '1: it came after its pane was closed; stored, not detected on',
    topic LowCardinality(String) COMMENT 'topic of the message this row was',
    partition Int32 COMMENT 'its partition',
    offset Int64 COMMENT 'its offset' CODEC(Delta(8), ZSTD(1)),
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written; the time to live counts from here, so that recorded data is kept as long as live data'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(event_time)
ORDER BY (tenant, metric, resource, event_time, topic, partition, offset)
TTL stored_at + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
COMMENT 'What was measured: one row a MetricPoint. Redacted before it was written. Read with FINAL where a row must count once.';

CREATE TABLE IF NOT EXISTS cluster_events
(
    event_time DateTime64(6, 'UTC') COMMENT 'when it happened, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    published_time Nullable(DateTime64(6, 'UTC')) COMMENT 'when it could first be read, UTC, microseconds; absent: event_time' CODEC(ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'who owns the resource, 1 to 512 characters; acme',
    event_id String COMMENT 'unique in the tenant; mw-311' CODEC(ZSTD(1)),
    resource String COMMENT 'cluster/namespace/kind/name; prod-eu/checkout/statefulset/cart-db' CODEC(ZSTD(1)),
    kind LowCardinality(String) COMMENT 'one of kubernetes, deploy, scale, config, flag, maintenance, freeze, quota, dependency, audit; maintenance',
    reason LowCardinality(String) COMMENT 'a word for what happened; BackOff, OOMKilling, ScalingReplicaSet; empty: not given',
    severity LowCardinality(String) COMMENT 'one of normal, warning; warning',
    actor String COMMENT 'who did it; user:mo, deployment-controller; empty: not given' CODEC(ZSTD(1)),
    actor_kind LowCardinality(String) COMMENT 'one of agent, human, controller; human; empty: not given',
    session_id String COMMENT 'the agent\'s session that did it; run-812; empty: not given' CODEC(ZSTD(1)),
    valid_from Nullable(DateTime64(6, 'UTC')) COMMENT 'from when it holds, UTC, microseconds; absent: event_time' CODEC(ZSTD(1)),
    valid_until Nullable(DateTime64(6, 'UTC')) COMMENT 'until when it holds, end excluded, UTC, microseconds; absent: until replaced' CODEC(ZSTD(1)),
    value String COMMENT 'flag value, replica count, resource depended on; 24; empty: not given' CODEC(ZSTD(1)),
    previous_value String COMMENT 'the value before; 6; empty: not given' CODEC(ZSTD(1)),
    source LowCardinality(String) COMMENT 'the system an agent would have to ask; change-calendar; empty: not given',
    count Int64 COMMENT 'how often it happened, 1 or more; 94' CODEC(ZSTD(1)),
    message String COMMENT 'what it says; Back-off restarting failed container; empty: not given' CODEC(ZSTD(1)),
    labels String COMMENT 'more about it, one JSON object; {"node": "node-7"}; empty: not given' CODEC(ZSTD(1)),
    ingest_time DateTime64(6, 'UTC') COMMENT 'append time of the record on Kafka, as a running maximum of its partition' CODEC(Delta(8), ZSTD(1)),
    late UInt8 COMMENT '1: it came after its pane was closed; stored, not detected on',
    topic LowCardinality(String) COMMENT 'topic of the message this row was',
    partition Int32 COMMENT 'its partition',
    offset Int64 COMMENT 'its offset' CODEC(Delta(8), ZSTD(1)),
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written; the time to live counts from here, so that recorded data is kept as long as live data',
    INDEX by_event event_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMMDD(event_time)
ORDER BY (tenant, resource, event_time, topic, partition, offset)
TTL stored_at + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
COMMENT 'What happened to resources, and the facts that hold for them: one row a ClusterEvent. Redacted before it was written. Read with FINAL where a row must count once.';
