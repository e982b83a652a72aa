-- The comment of `incident_timeline.type` names every word that stands there.
-- Applied files are never edited: a change is a new file. Names are those of the current database (aftermath).

ALTER TABLE incident_timeline
    COMMENT COLUMN type 'signal, symptom, action, fact, change, or a transition of the incident: opened, severity, merged, continued, reopened, resolved, acknowledged, withdrawn';
