-- Begin of the time that does not count for the change that is under way: the cluster or the host is away.
ALTER TABLE instances ADD COLUMN rollout_held_since TEXT;
