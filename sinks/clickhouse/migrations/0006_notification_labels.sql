-- What a notification was routed by.

ALTER TABLE notifications
    ADD COLUMN IF NOT EXISTS labels String DEFAULT '{}' COMMENT 'JSON object: what routes, silences and receivers match, as the alert fired with' CODEC(ZSTD(1)) AFTER detail;
