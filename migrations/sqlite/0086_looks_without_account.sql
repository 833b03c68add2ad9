-- Failed looks at the health of instances were recorded without an account until 0083. Their inputs name the instance,
-- and no two instances ever have one name, so that the job of the night finds the accounts.
--
-- The two changes of a decision: from a look without an account to that of its instance's customer, once; and from
-- present to erased, once, after the account's deletion.
DROP TRIGGER decisions_frozen;
CREATE TRIGGER decisions_frozen BEFORE UPDATE ON decisions
WHEN NOT (
    old.user_id IS NULL AND old.function = 'health' AND old.erased_at IS NULL
    AND new.id IS old.id AND new.digest IS old.digest AND new.plugin_id IS old.plugin_id
    AND new.plugin_version IS old.plugin_version AND new.contract IS old.contract
    AND new.function IS old.function AND new.coupon_id IS old.coupon_id
    AND new.input IS old.input AND new.output IS old.output AND new.logs IS old.logs
    AND new.failure IS old.failure AND new.fuel IS old.fuel AND new.duration_us IS old.duration_us
    AND new.created_at IS old.created_at AND new.erased_at IS old.erased_at
    AND new.input_digest IS old.input_digest AND new.output_digest IS old.output_digest
    AND EXISTS (
        SELECT 1 FROM instances
        WHERE instances.user_id = new.user_id AND instr(old.input, '"name":"' || instances.name || '"') > 0
    )
) AND NOT (
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
