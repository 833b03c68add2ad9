-- The subscriptions of a customer, which are read on by cursors: their order is that of one index.
DROP INDEX subscriptions_by_user;
CREATE INDEX subscriptions_by_user ON subscriptions (user_id, created_at, id);
