-- What administrators must be told, until it is over.
CREATE TABLE alerts (
    id UUID PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    -- What it is about, such as `coupon-gift`; with the kind, what makes two alerts the same.
    subject TEXT NOT NULL,
    -- The latest sentence.
    message TEXT NOT NULL,
    occurrences BIGINT NOT NULL CHECK (occurrences > 0),
    raised_at TIMESTAMPTZ NOT NULL,
    last_raised_at TIMESTAMPTZ NOT NULL,
    acknowledged_at TIMESTAMPTZ,
    acknowledged_by UUID REFERENCES users (id),
    resolved_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX alerts_open_key ON alerts (kind, subject) WHERE resolved_at IS NULL;
CREATE INDEX alerts_by_age ON alerts (raised_at);
