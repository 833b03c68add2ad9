-- Acts are read by administrators, with their reasons, and stay as they were recorded.
ALTER TABLE audit_events RENAME COLUMN action TO act;
ALTER TABLE audit_events ADD COLUMN reason TEXT;
UPDATE audit_events SET reason = details ->> '$.reason' WHERE details ->> '$.reason' IS NOT NULL;
CREATE INDEX audit_events_by_age ON audit_events (created_at, id);
CREATE INDEX audit_events_by_actor ON audit_events (actor_id, created_at);
CREATE INDEX audit_events_by_act ON audit_events (act, created_at);

CREATE TRIGGER audit_events_frozen BEFORE UPDATE ON audit_events
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
CREATE TRIGGER audit_events_kept BEFORE DELETE ON audit_events
BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
