-- Accounts that were deleted: what is personal is gone, and the row stays for the books.
ALTER TABLE users ADD COLUMN deleted_at TEXT;
-- A wallet is closed with its account: nothing is bought from it and nothing is put in any more.
ALTER TABLE wallets ADD COLUMN closed_at TEXT;
-- By which the rest of a person is found.
CREATE INDEX notifications_of_user ON notifications (user_id);
CREATE INDEX outbox_by_subject ON outbox (subject_id);
CREATE INDEX instances_live_of_user ON instances (user_id) WHERE status <> 'TERMINATED';
