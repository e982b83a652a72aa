-- What became of it: who was told, and which messages could not be read.
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

CREATE TABLE IF NOT EXISTS notifications
(
    dedup_key String COMMENT 'hash of rule, incident, receiver and transition; the receiver folds equal ones' CODEC(ZSTD(1)),
    tenant LowCardinality(String) COMMENT 'tenant; acme',
    incident_id String COMMENT 'incident; 9c0e5b7d1a2f4e38' CODEC(ZSTD(1)),
    revision Int64 COMMENT 'revision it speaks of; 3',
    rule LowCardinality(String) COMMENT 'alert rule; agent_caused_failure',
    mode LowCardinality(String) COMMENT 'page, ticket or shadow',
    transition LowCardinality(String) COMMENT 'firing or resolved',
    receiver LowCardinality(String) COMMENT 'receiver; console',
    severity LowCardinality(String) COMMENT 'info, warning or critical',
    state LowCardinality(String) COMMENT 'pending, sent or failed',
    at DateTime64(6, 'UTC') COMMENT 'event time of the revision, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    title String COMMENT 'what it said' CODEC(ZSTD(1)),
    detail String COMMENT 'answer of the receiver, or why it failed' CODEC(ZSTD(1)),
    state_order UInt8 COMMENT '0 pending, 1 failed, 2 sent: the greatest wins',
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written'
)
ENGINE = ReplacingMergeTree(state_order)
PARTITION BY toYYYYMM(at)
ORDER BY (tenant, dedup_key)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'What was sent to whom, or failed. Read with FINAL.';

CREATE TABLE IF NOT EXISTS dead_letters
(
    topic LowCardinality(String) COMMENT 'where it came from; agent.traces.v1',
    partition Int32 COMMENT 'its partition; 3',
    offset Int64 COMMENT 'its offset; 812' CODEC(ZSTD(1)),
    ingest_time DateTime64(6, 'UTC') COMMENT 'append time, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    stage LowCardinality(String) COMMENT 'stage that refused it; detect',
    reason LowCardinality(String) COMMENT 'why, one of errors.Reason; truncated',
    detail String COMMENT 'what to do about it' CODEC(ZSTD(1)),
    code_version LowCardinality(String) COMMENT 'version of the code that refused it; 0.1.0',
    key String COMMENT 'its key, redacted, bytes that are no text replaced; at most 200 characters' CODEC(ZSTD(1)),
    size Int64 COMMENT 'length of the message, bytes',
    preview String COMMENT 'the beginning of the message, redacted, bytes that are no text replaced; at most 500 characters. The whole of it stands on dead_letters.v1' CODEC(ZSTD(1)),
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written; the time to live counts from here, so that recorded data is kept as long as live data'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(ingest_time)
ORDER BY (topic, partition, offset, stage)
TTL stored_at + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
COMMENT 'Messages that can never be processed, with the reason: a redacted preview only.';
