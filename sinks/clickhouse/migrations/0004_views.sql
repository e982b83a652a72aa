-- Views, named for the question they answer. FINAL stands inside, so that each incident counts once.
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

CREATE VIEW IF NOT EXISTS incidents_current AS
SELECT *
FROM incidents FINAL
COMMENT 'Each incident once, as it stands.';

CREATE VIEW IF NOT EXISTS open_incidents AS
SELECT
    tenant, incident_id, severity, kind, status, title, scope, agent_id, verdict, probability, unplanned_tokens,
    started_at, detected_at, updated_at, acknowledged_by, owner, provisional, summary
FROM incidents FINAL
WHERE status = 'open'
ORDER BY multiIf(severity = 'critical', 0, severity = 'warning', 1, 2), detected_at
COMMENT 'What is wrong now, the worst first.';

CREATE VIEW IF NOT EXISTS timeline_of AS
SELECT event_time, type, resource, agent_id, session_id, shows, topic, partition, offset, event_id, tenant
FROM incident_timeline FINAL
WHERE incident_id = {incident_id:String}
ORDER BY event_time, type, event_id
COMMENT 'What happened in one incident, in order: SELECT * FROM timeline_of(incident_id = ''9c0e5b7d1a2f4e38'').';
