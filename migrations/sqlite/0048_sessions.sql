-- Sessions as their owners see them: the device and the address of each, which end one by one.
CREATE TABLE sessions (
    id BLOB PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    -- Browser and system in a few words.
    device TEXT NOT NULL,
    address TEXT,
    -- Administrator who looks at the account in this session.
    acting_id BLOB REFERENCES users (id),
    created_at TEXT NOT NULL,
    last_used_at TEXT NOT NULL,
    -- No token of it works after this moment.
    expires_at TEXT NOT NULL,
    ended_at TEXT
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id, created_at, id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX sessions_of_administrators ON sessions (acting_id) WHERE acting_id IS NOT NULL;
INSERT INTO sessions (id, user_id, device, created_at, last_used_at, expires_at, ended_at)
SELECT family, user_id, 'unknown', min(created_at), max(created_at), max(expires_at),
    CASE WHEN count(*) = count(revoked_at) THEN max(revoked_at) END
FROM refresh_tokens GROUP BY family, user_id;
