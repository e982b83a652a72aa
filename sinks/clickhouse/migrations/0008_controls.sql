-- The circuit breaker: who held which agent back, and why.
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

CREATE TABLE IF NOT EXISTS controls
(
    control_id String COMMENT 'hash of what it says; 51d0aa93b07c2e11' CODEC(ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'tenant whose agent it is; acme',
    agent_id LowCardinality(String) COMMENT 'the agent; seo-agent',
    agent_version LowCardinality(String) COMMENT 'its version, * for all; 2.4.1',
    tool_name LowCardinality(String) COMMENT 'the tool, * for all; cms.write_hook',
    target String COMMENT 'the resource, * for all; site-12/wordpress/hook/wp_head' CODEC(ZSTD(1)),
    action LowCardinality(String) COMMENT 'pause, halt or resume',
    mode LowCardinality(String) COMMENT 'enforce or shadow',
    author LowCardinality(String) COMMENT 'who; user:mo, rule:feedback_loop',
    reason String COMMENT 'why' CODEC(ZSTD(1)),
    at DateTime64(6, 'UTC') COMMENT 'from when, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    until Nullable(DateTime64(6, 'UTC')) COMMENT 'until when, excluded, UTC, microseconds; null: until it is resumed' CODEC(ZSTD(1)),
    probes Bool COMMENT 'true: half open for as long again after its end',
    incident_id String COMMENT 'the incident it is about; 9c0e5b7d1a2f4e38; empty: none' CODEC(ZSTD(1)),
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, agent_id, at, control_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Every control of the circuit breaker ever given, also those that have ended. Read with FINAL.';
