-- Named, scoped, expiring keys to the API, for programs; kept hashed.
CREATE TABLE api_tokens (
    id UUID PRIMARY KEY,
    user_id UUID NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('READ', 'WRITE', 'PLUGINS')),
    -- SHA-256 of the token, lower-case hexadecimal.
    token_hash TEXT NOT NULL,
    -- What its owner recognises it by.
    hint TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    last_used_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    CONSTRAINT api_tokens_token_hash_key UNIQUE (token_hash)
);
CREATE INDEX api_tokens_by_user ON api_tokens (user_id, created_at);
