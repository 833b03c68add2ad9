-- Refunds that an administrator asked for. The wallet pays before the gateway is asked, and gets it back when
-- the gateway refuses, so that a lost answer pays nothing twice.
CREATE TABLE payment_refunds (
    id UUID PRIMARY KEY NOT NULL,
    payment_id UUID NOT NULL REFERENCES payments (id),
    amount BIGINT NOT NULL CHECK (amount > 0),
    reason TEXT NOT NULL,
    requested_by UUID NOT NULL REFERENCES users (id),
    -- Names the request by its Idempotency-Key; absent without one.
    intent TEXT,
    -- State of the payment before.
    state_before TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PENDING', 'DONE', 'REFUSED')),
    created_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX payment_refunds_pending ON payment_refunds (payment_id) WHERE state = 'PENDING';
CREATE UNIQUE INDEX payment_refunds_intent ON payment_refunds (intent);
