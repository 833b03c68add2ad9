-- Refunds that an administrator asked for. The wallet pays before the gateway is asked, and gets it back when
-- the gateway refuses, so that a lost answer pays nothing twice.
CREATE TABLE payment_refunds (
    id BLOB PRIMARY KEY NOT NULL,
    payment_id BLOB NOT NULL REFERENCES payments (id),
    amount INTEGER NOT NULL CHECK (amount > 0),
    reason TEXT NOT NULL,
    requested_by BLOB NOT NULL REFERENCES users (id),
    -- Names the request by its Idempotency-Key; absent without one.
    intent TEXT,
    -- State of the payment before.
    state_before TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PENDING', 'DONE', 'REFUSED')),
    created_at TEXT NOT NULL,
    finished_at TEXT
) STRICT;
CREATE UNIQUE INDEX payment_refunds_pending ON payment_refunds (payment_id) WHERE state = 'PENDING';
CREATE UNIQUE INDEX payment_refunds_intent ON payment_refunds (intent);
