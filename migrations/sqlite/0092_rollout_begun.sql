-- Time at which the cluster began to work on the change that is under way. Unlike rollout_since, no hold moves it on: what
-- fails since then fails by the change.
ALTER TABLE instances ADD COLUMN rollout_begun_at TEXT;
