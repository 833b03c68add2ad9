-- Quotes of a customer, for the archive of the account.
CREATE INDEX quotes_by_user ON quotes (user_id, created_at, id);
