-- The party that keeps an instance stopped: its owner, the unpaid subscription, or both.
ALTER TABLE instances ADD COLUMN halt TEXT CHECK (halt IN ('OWNER', 'UNPAID', 'OWNER_AND_UNPAID'));
UPDATE instances SET halt = 'UNPAID' WHERE desired = 'STOPPED';
-- Time of the last restart that was asked for; a part of what is applied.
ALTER TABLE instances ADD COLUMN restarted_at TIMESTAMPTZ;
