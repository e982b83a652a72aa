-- The life of an incident: what it follows, what it went into, how often its problem was seen, and every transition.

ALTER TABLE incidents
    ADD COLUMN IF NOT EXISTS occurrences Int64 DEFAULT 1 COMMENT 'how often the same problem (fingerprint) was seen, this time included; 3',
    ADD COLUMN IF NOT EXISTS first_seen_at Nullable(DateTime64(6, 'UTC')) COMMENT 'when the same problem was first seen, UTC, microseconds' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS follows String COMMENT 'the incident that this one goes on from; empty: none' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS followed_by String COMMENT 'the incident that goes on from this one; empty: none' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS merged_into String COMMENT 'the incident of which this one turned out to be a part; empty: none' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS transitions String DEFAULT '[]' COMMENT 'JSON list of {at, type, shows, incident_id}' CODEC(ZSTD(1));

ALTER TABLE incident_revisions
    ADD COLUMN IF NOT EXISTS occurrences Int64 DEFAULT 1 COMMENT 'how often the same problem (fingerprint) was seen, this time included; 3',
    ADD COLUMN IF NOT EXISTS first_seen_at Nullable(DateTime64(6, 'UTC')) COMMENT 'when the same problem was first seen, UTC, microseconds' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS follows String COMMENT 'the incident that this one goes on from; empty: none' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS followed_by String COMMENT 'the incident that goes on from this one; empty: none' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS merged_into String COMMENT 'the incident of which this one turned out to be a part; empty: none' CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS transitions String DEFAULT '[]' COMMENT 'JSON list of {at, type, shows, incident_id}' CODEC(ZSTD(1));
