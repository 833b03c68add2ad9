-- Named, scoped, expiring keys to the API, for programs; kept hashed.
CREATE TABLE api_tokens (
    id BLOB PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('READ', 'WRITE', 'PLUGINS')),
    -- SHA-256 of the token, lower-case hexadecimal.
    token_hash TEXT NOT NULL,
    -- What its owner recognises it by.
    hint TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    last_used_at TEXT,
    revoked_at TEXT,
    CONSTRAINT api_tokens_token_hash_key UNIQUE (token_hash)
) STRICT;
CREATE INDEX api_tokens_by_user ON api_tokens (user_id, created_at);
