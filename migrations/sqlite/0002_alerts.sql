-- What administrators must be told, until it is over.
CREATE TABLE alerts (
    id BLOB PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    -- What it is about, such as `coupon-gift`; with the kind, what makes two alerts the same.
    subject TEXT NOT NULL,
    -- The latest sentence.
    message TEXT NOT NULL,
    occurrences INTEGER NOT NULL CHECK (occurrences > 0),
    raised_at TEXT NOT NULL,
    last_raised_at TEXT NOT NULL,
    acknowledged_at TEXT,
    acknowledged_by BLOB REFERENCES users (id),
    resolved_at TEXT
) STRICT;
CREATE UNIQUE INDEX alerts_open_key ON alerts (kind, subject) WHERE resolved_at IS NULL;
CREATE INDEX alerts_by_age ON alerts (raised_at);
