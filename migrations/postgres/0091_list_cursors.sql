-- The instances and debts of a customer, and alerts, which are read on by cursors: their order is that of one index.
DROP INDEX instances_by_user;
CREATE INDEX instances_by_user ON instances (user_id, created_at, id);
CREATE INDEX debts_by_user ON debts (user_id, created_at, id);
DROP INDEX alerts_by_age;
CREATE INDEX alerts_by_age ON alerts (raised_at, id);
