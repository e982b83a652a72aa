-- Why a notification was not sent, and who has an incident in hand.

ALTER TABLE notifications
    ADD COLUMN IF NOT EXISTS reason LowCardinality(String) DEFAULT '' COMMENT 'why it is held or was dropped: silenced, inhibited, maintenance, ...' AFTER labels;

CREATE TABLE IF NOT EXISTS acknowledgements
(
    tenant LowCardinality(String) COMMENT 'tenant; acme',
    incident_id String COMMENT 'incident; 9c0e5b7d1a2f4e38' CODEC(ZSTD(1)),
    acknowledged_at DateTime64(6, 'UTC') COMMENT 'when, UTC, microseconds' CODEC(Delta(8), ZSTD(1)),
    acknowledged_by LowCardinality(String) COMMENT 'who; kim',
    comment String COMMENT 'what they do about it' CODEC(ZSTD(1)),
    stored_at DateTime('UTC') DEFAULT now() COMMENT 'when this row was written'
)
ENGINE = ReplacingMergeTree(acknowledged_at)
PARTITION BY toYYYYMM(acknowledged_at)
ORDER BY (tenant, incident_id)
SETTINGS non_replicated_deduplication_window = 1000
COMMENT 'Who has an incident in hand: the newest word counts. Read with FINAL.';
