-- Quotes of a customer, for the archive of the account.
CREATE INDEX quotes_by_user ON quotes (user_id, created_at, id);

-- Addresses of deleted accounts that had a welcome bonus: each address has it once.
CREATE TABLE welcomed_addresses (
    -- Keyed by the master key, so that no address can be guessed from it.
    email_hash TEXT PRIMARY KEY NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
