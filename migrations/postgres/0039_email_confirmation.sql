-- Addresses are confirmed by tokens that were sent to them.
ALTER TABLE users ADD COLUMN email_verified_at TIMESTAMPTZ;
CREATE TABLE email_confirmations (
    id UUID PRIMARY KEY NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
    token_hash TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT email_confirmations_token_hash_key UNIQUE (token_hash)
);
CREATE INDEX email_confirmations_by_user ON email_confirmations (user_id);

-- Bonuses of a confirmed address that were not given yet, since the server stopped in between.
ALTER TABLE users ADD COLUMN bonuses_due_at TIMESTAMPTZ;
CREATE INDEX users_with_bonuses_due ON users (bonuses_due_at) WHERE bonuses_due_at IS NOT NULL;
