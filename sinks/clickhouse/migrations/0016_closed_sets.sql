-- Columns whose values are a closed set of ours become Enum8: DESCRIBE shows what there is, and a row with a word of newer
-- code stops its stage until this database knows it. '' stands in each, for rows that are not there (a LEFT JOIN) and are not given.
-- What others send us (raw events, signals by detectors of one's own) stays LowCardinality: a new word must not refuse a row.
-- Every session_id that is no part of a key gets its skip index.
-- The view that shows all columns of `incidents` is made anew: a view keeps the columns that its table had when it was made.
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

ALTER TABLE incidents
    MODIFY COLUMN kind Enum8('' = 0, 'feedback_loop' = 1, 'resource_exhaustion' = 2, 'agent_caused_failure' = 3, 'infrastructure_failure' = 4, 'governance_breach' = 5, 'telemetry_gap' = 6),
    MODIFY COLUMN status Enum8('' = 0, 'open' = 1, 'resolved' = 2, 'withdrawn' = 3),
    MODIFY COLUMN severity Enum8('' = 0, 'info' = 1, 'warning' = 2, 'critical' = 3),
    MODIFY COLUMN verdict Enum8('' = 0, 'agent' = 1, 'infrastructure' = 2, 'change' = 3, 'shared' = 4, 'undetermined' = 5);

ALTER TABLE incident_revisions
    MODIFY COLUMN kind Enum8('' = 0, 'feedback_loop' = 1, 'resource_exhaustion' = 2, 'agent_caused_failure' = 3, 'infrastructure_failure' = 4, 'governance_breach' = 5, 'telemetry_gap' = 6),
    MODIFY COLUMN status Enum8('' = 0, 'open' = 1, 'resolved' = 2, 'withdrawn' = 3),
    MODIFY COLUMN severity Enum8('' = 0, 'info' = 1, 'warning' = 2, 'critical' = 3),
    MODIFY COLUMN verdict Enum8('' = 0, 'agent' = 1, 'infrastructure' = 2, 'change' = 3, 'shared' = 4, 'undetermined' = 5);

ALTER TABLE notifications
    MODIFY COLUMN mode Enum8('' = 0, 'page' = 1, 'ticket' = 2, 'shadow' = 3),
    MODIFY COLUMN transition Enum8('' = 0, 'firing' = 1, 'resolved' = 2),
    MODIFY COLUMN severity Enum8('' = 0, 'info' = 1, 'warning' = 2, 'critical' = 3),
    MODIFY COLUMN state Enum8('' = 0, 'pending' = 1, 'held' = 2, 'failed' = 3, 'dropped' = 4, 'sent' = 5);

ALTER TABLE incident_marks
    MODIFY COLUMN mark Enum8('' = 0, 'useful' = 1, 'noise' = 2),
    MODIFY COLUMN marked_at CODEC(Delta(8), ZSTD(1));

ALTER TABLE controls
    MODIFY COLUMN action Enum8('' = 0, 'pause' = 1, 'halt' = 2, 'resume' = 3),
    MODIFY COLUMN mode Enum8('' = 0, 'enforce' = 1, 'shadow' = 2);

ALTER TABLE write_watches
    MODIFY COLUMN outcome Enum8('' = 0, 'regressed' = 1, 'clean' = 2, 'not_enough_data' = 3);

ALTER TABLE write_watches ADD INDEX IF NOT EXISTS by_session session_id TYPE bloom_filter(0.001) GRANULARITY 1;

ALTER TABLE incident_timeline ADD INDEX IF NOT EXISTS by_session session_id TYPE bloom_filter(0.001) GRANULARITY 1;

CREATE OR REPLACE VIEW incidents_current AS
SELECT *
FROM incidents FINAL
COMMENT 'Each incident once, as it stands.';
