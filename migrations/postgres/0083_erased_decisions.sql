-- Decisions about accounts that were deleted: what was asked, answered and logged is erased. What stays says which
-- decision priced what, and keyed digests say whether a text is the one that was there.
ALTER TABLE decisions ADD COLUMN erased_at TIMESTAMPTZ;
ALTER TABLE decisions ADD COLUMN input_digest TEXT;
ALTER TABLE decisions ADD COLUMN output_digest TEXT;

-- Null while decisions about a deleted account are still to be erased: those of accounts that were deleted before
-- this migration, or by a server of the release before.
ALTER TABLE users ADD COLUMN decisions_erased_at TIMESTAMPTZ;
CREATE INDEX users_with_decisions_to_erase ON users (deleted_at, id)
WHERE deleted_at IS NOT NULL AND decisions_erased_at IS NULL;

-- The one change of a decision: from present to erased, once, after the account's deletion.
CREATE FUNCTION decisions_are_only_erased() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    erased RECORD;
BEGIN
    erased := OLD;
    erased.input := 'null';
    erased.output := NULL;
    erased.logs := '[]';
    erased.erased_at := NEW.erased_at;
    erased.input_digest := NEW.input_digest;
    erased.output_digest := NEW.output_digest;
    IF OLD.erased_at IS NULL AND NEW.erased_at IS NOT NULL AND NEW.input_digest IS NOT NULL
        AND (NEW.output_digest IS NULL) = (OLD.output IS NULL)
        AND NEW IS NOT DISTINCT FROM erased
        AND EXISTS (SELECT 1 FROM users WHERE users.id = OLD.user_id AND users.deleted_at IS NOT NULL)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'decisions are append-only' USING ERRCODE = 'check_violation';
END $$;
DROP TRIGGER decisions_frozen ON decisions;
CREATE TRIGGER decisions_frozen BEFORE UPDATE ON decisions
FOR EACH ROW EXECUTE FUNCTION decisions_are_only_erased();
CREATE TRIGGER decisions_not_deleted BEFORE DELETE ON decisions
FOR EACH ROW EXECUTE FUNCTION decisions_are_append_only();
