-- Facts about what was sold: whether it was ever delivered, what will never be set up, and which
-- controller changes it back.

-- WRITTEN: the manifests are in a folder, and nothing tells what becomes of them.
ALTER TABLE instances ADD COLUMN next_status TEXT NOT NULL DEFAULT 'PENDING' CHECK (next_status IN (
    'PENDING', 'PROVISIONING', 'RUNNING', 'WRITTEN', 'DEGRADED', 'FAILED', 'STOPPED', 'TERMINATING', 'TERMINATED'
));
UPDATE instances SET next_status = status;
ALTER TABLE instances DROP COLUMN status;
ALTER TABLE instances RENAME COLUMN next_status TO status;

-- The refusals in a row of one generation: `{"generation","by","times","since"}`.
ALTER TABLE instances ADD COLUMN refusal TEXT;
-- The generation that will never be set up; compared with `generation`, so that any change clears it.
ALTER TABLE instances ADD COLUMN final_generation INTEGER;
-- When it was last seen to run, or to be written.
ALTER TABLE instances ADD COLUMN last_ran_at TEXT;
UPDATE instances SET last_ran_at = updated_at WHERE ready_at IS NOT NULL;
-- Times in a row that another controller's changes were taken back, and until when they are left alone.
ALTER TABLE instances ADD COLUMN corrections INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN quiet_until TEXT;
-- The version and settings to go back to while a move to another version is not applied.
ALTER TABLE instances ADD COLUMN moved_from TEXT;
ALTER TABLE instances ADD COLUMN moved_from_settings TEXT;
-- The largest volumes it may have, from a larger plan it was in: volumes never shrink.
ALTER TABLE instances ADD COLUMN kept_storage_gib INTEGER NOT NULL DEFAULT 0;
CREATE INDEX instances_final ON instances (id) WHERE final_generation IS NOT NULL;

-- When the instance was delivered first; the first period moves by the time it waited for that.
ALTER TABLE subscriptions ADD COLUMN delivered_at TEXT;
-- The end of a period in which the instance never ran: nothing is charged from then until it runs.
ALTER TABLE subscriptions ADD COLUMN held_since TEXT;
UPDATE subscriptions SET delivered_at = created_at
WHERE id IN (SELECT subscription_id FROM instances WHERE ready_at IS NOT NULL);
CREATE INDEX subscriptions_undelivered ON subscriptions (id)
WHERE delivered_at IS NULL AND status IN ('ACTIVE', 'PAST_DUE', 'SUSPENDED');

-- When the use was given back, with a purchase that could not be set up.
ALTER TABLE coupon_redemptions ADD COLUMN released_at TEXT;
