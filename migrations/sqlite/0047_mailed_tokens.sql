-- Tokens that are sent to an account's address: to confirm it, and to choose a new password.
CREATE TABLE mailed_tokens (
    id BLOB PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    purpose TEXT NOT NULL CHECK (purpose IN ('CONFIRMATION', 'PASSWORD_RESET')),
    token_hash TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    CONSTRAINT mailed_tokens_token_hash_key UNIQUE (token_hash)
) STRICT;
CREATE INDEX mailed_tokens_by_user ON mailed_tokens (user_id, purpose);
INSERT INTO mailed_tokens (id, user_id, purpose, token_hash, created_at, expires_at)
SELECT id, user_id, 'CONFIRMATION', token_hash, created_at, expires_at FROM email_confirmations;
DROP TABLE email_confirmations;
