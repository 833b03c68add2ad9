-- Acts are read by administrators, with their reasons, and stay as they were recorded.
ALTER TABLE audit_events RENAME COLUMN action TO act;
ALTER TABLE audit_events ADD COLUMN reason TEXT;
UPDATE audit_events SET reason = details ->> 'reason' WHERE details ->> 'reason' IS NOT NULL;
CREATE INDEX audit_events_by_age ON audit_events (created_at, id);
CREATE INDEX audit_events_by_actor ON audit_events (actor_id, created_at);
CREATE INDEX audit_events_by_act ON audit_events (act, created_at);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'the audit trail is append-only' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER audit_events_frozen BEFORE UPDATE OR DELETE ON audit_events
FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_events_kept BEFORE TRUNCATE ON audit_events
FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
