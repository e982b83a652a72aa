-- Limits that a new version of limits.yml widened.
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

CREATE TABLE IF NOT EXISTS limits_loosened
(
    version Int64 COMMENT 'the version that widened it; 4',
    effective_from DateTime64(6, 'UTC') COMMENT 'from when it is in force, event time, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    author LowCardinality(String) COMMENT 'who published the version; user:mo',
    match String COMMENT 'JSON: the calls it is about, patterns by field; {"agent_id":"seo-agent"}' CODEC(ZSTD(1)),
    name LowCardinality(String) COMMENT 'the limit; max_steps',
    was String COMMENT 'JSON: what the version before said; 30; null: nothing' CODEC(ZSTD(1)),
    now_is String COMMENT 'JSON: what this one says; 90; null: nothing' CODEC(ZSTD(1)),
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written'
)
ENGINE = ReplacingMergeTree
ORDER BY (version, match, name)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Limits that a version published on limits.v1 widened: an agent may do more than before. Read with FINAL.';
