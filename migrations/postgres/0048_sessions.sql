-- Sessions as their owners see them: the device and the address of each, which end one by one.
CREATE TABLE sessions (
    id UUID PRIMARY KEY NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
    -- Browser and system in a few words.
    device TEXT NOT NULL,
    address TEXT,
    -- Administrator who looks at the account in this session.
    acting_id UUID REFERENCES users (id),
    created_at TIMESTAMPTZ NOT NULL,
    last_used_at TIMESTAMPTZ NOT NULL,
    -- No token of it works after this moment.
    expires_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ
);
CREATE INDEX sessions_by_user ON sessions (user_id, created_at, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX sessions_of_administrators ON sessions (acting_id) WHERE acting_id IS NOT NULL;
INSERT INTO sessions (id, user_id, device, created_at, last_used_at, expires_at, ended_at)
SELECT family, user_id, 'unknown', min(created_at), max(created_at), max(expires_at),
    CASE WHEN count(*) = count(revoked_at) THEN max(revoked_at) END
FROM refresh_tokens GROUP BY family, user_id;
