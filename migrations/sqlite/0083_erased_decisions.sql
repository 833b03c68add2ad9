-- Decisions about accounts that were deleted: what was asked, answered and logged is erased. What stays says which
-- decision priced what, and keyed digests say whether a text is the one that was there.
ALTER TABLE decisions ADD COLUMN erased_at TEXT;
ALTER TABLE decisions ADD COLUMN input_digest TEXT;
ALTER TABLE decisions ADD COLUMN output_digest TEXT;

-- Null while decisions about a deleted account are still to be erased: those of accounts that were deleted before
-- this migration, or by a server of the release before.
ALTER TABLE users ADD COLUMN decisions_erased_at TEXT;
CREATE INDEX users_with_decisions_to_erase ON users (deleted_at, id)
WHERE deleted_at IS NOT NULL AND decisions_erased_at IS NULL;

-- The one change of a decision: from present to erased, once, after the account's deletion.
DROP TRIGGER decisions_frozen;
CREATE TRIGGER decisions_frozen BEFORE UPDATE ON decisions
WHEN NOT (
    old.erased_at IS NULL AND new.erased_at IS NOT NULL
    AND new.input IS 'null' AND new.output IS NULL AND new.logs IS '[]'
    AND new.input_digest IS NOT NULL
    AND (new.output_digest IS NULL) = (old.output IS NULL)
    AND new.id IS old.id AND new.digest IS old.digest AND new.plugin_id IS old.plugin_id
    AND new.plugin_version IS old.plugin_version AND new.contract IS old.contract
    AND new.function IS old.function AND new.user_id IS old.user_id AND new.coupon_id IS old.coupon_id
    AND new.failure IS old.failure AND new.fuel IS old.fuel AND new.duration_us IS old.duration_us
    AND new.created_at IS old.created_at
    AND EXISTS (SELECT 1 FROM users WHERE users.id = old.user_id AND users.deleted_at IS NOT NULL)
)
BEGIN SELECT RAISE(ABORT, 'decisions are append-only'); END;
