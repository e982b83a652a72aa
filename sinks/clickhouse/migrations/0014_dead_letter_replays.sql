-- Who sent a refused message once more.
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

CREATE TABLE IF NOT EXISTS dead_letter_replays
(
    topic LowCardinality(String) COMMENT 'topic of the message that was refused, and where it was sent once more; agent.traces.v1',
    partition Int32 COMMENT 'its partition; 3',
    offset Int64 COMMENT 'its offset; 812' CODEC(ZSTD(1)),
    reason LowCardinality(String) COMMENT 'why it was refused, one of errors.Reason; unknown_fingerprint',
    replayed_by String COMMENT 'who sent it once more; user:mo' CODEC(ZSTD(1)),
    why String COMMENT 'what was mended before' CODEC(ZSTD(1)),
    replayed_at DateTime64(6, 'UTC') COMMENT 'when, UTC, microseconds; written before it was sent' CODEC(Delta(8), ZSTD(1)),
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written'
)
ENGINE = ReplacingMergeTree
ORDER BY (topic, partition, offset, replayed_at)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Dead letters that somebody sent once more: an audit. Read with FINAL.';
