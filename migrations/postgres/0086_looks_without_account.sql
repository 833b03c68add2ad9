-- Failed looks at the health of instances were recorded without an account until 0083. Their inputs name the instance,
-- and no two instances ever have one name, so that the job of the night finds the accounts.
--
-- The two changes of a decision: from a look without an account to that of its instance's customer, once; and from
-- present to erased, once, after the account's deletion.
CREATE OR REPLACE FUNCTION decisions_are_only_erased() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    named RECORD;
    erased RECORD;
BEGIN
    IF OLD.user_id IS NULL AND OLD.function = 'health' AND OLD.erased_at IS NULL THEN
        named := OLD;
        named.user_id := NEW.user_id;
        IF NEW IS NOT DISTINCT FROM named AND EXISTS (
            SELECT 1 FROM instances
            WHERE instances.user_id = NEW.user_id AND strpos(OLD.input, '"name":"' || instances.name || '"') > 0
        ) THEN
            RETURN NEW;
        END IF;
    END IF;
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
