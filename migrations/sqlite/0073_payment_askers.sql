-- The server that asks the gateway for its page, by the identity in its data folder; after a kill it ends its own questions.
ALTER TABLE payments ADD COLUMN asked_by BLOB;
CREATE INDEX payments_asked_by ON payments (asked_by) WHERE asked_by IS NOT NULL;
