-- Second factors: codes of an authenticator app, recovery codes, and logins that wait for one of them.
CREATE TABLE two_factor (
    user_id BLOB PRIMARY KEY NOT NULL REFERENCES users (id),
    -- Sealed with the master key.
    secret BLOB NOT NULL,
    created_at TEXT NOT NULL,
    -- Absent until a first code has shown that the app has the secret.
    enabled_at TEXT,
    -- Time step of the last code that was used; neither it nor an earlier one works again.
    last_step INTEGER NOT NULL,
    -- Codes tried since the last right one, and the end of the time in which none is looked at.
    failures INTEGER NOT NULL,
    blocked_until TEXT
) STRICT;
CREATE TABLE recovery_codes (
    user_id BLOB NOT NULL REFERENCES users (id),
    code_hash TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (user_id, code_hash)
) STRICT;
CREATE TABLE login_challenges (
    id BLOB PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    token_hash TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    CONSTRAINT login_challenges_token_hash_key UNIQUE (token_hash)
) STRICT;
CREATE INDEX login_challenges_by_user ON login_challenges (user_id);
CREATE INDEX login_challenges_by_expiry ON login_challenges (expires_at);
