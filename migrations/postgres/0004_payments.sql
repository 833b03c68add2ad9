-- Payments through the gateway: top-ups with their order there, its notices as received, and debts.

CREATE TABLE payments (
    id UUID PRIMARY KEY NOT NULL,
    transaction_id UUID NOT NULL REFERENCES transactions (id),
    user_id UUID NOT NULL REFERENCES users (id),
    -- What the gateway calls it.
    order_id TEXT NOT NULL,
    method TEXT NOT NULL CHECK (method IN ('BANK_TRANSFER', 'E_WALLET', 'CREDIT_CARD', 'QRIS')),
    amount BIGINT NOT NULL CHECK (amount > 0),
    state TEXT NOT NULL CHECK (state IN (
        'STARTING', 'PENDING', 'CAPTURED', 'SETTLED', 'DENIED', 'CANCELLED', 'EXPIRED', 'FAILED',
        'PARTLY_REVERSED', 'REVERSED'
    )),
    -- Never credited twice, never taken back twice, never more than was paid.
    credited BIGINT NOT NULL DEFAULT 0,
    reversed BIGINT NOT NULL DEFAULT 0,
    -- The payment page, once the gateway has made it.
    token TEXT,
    redirect_url TEXT,
    -- What the payer chose there, in the gateway's words: bank_transfer, gopay, ...
    payment_type TEXT,
    expires_at TIMESTAMPTZ NOT NULL,
    -- When the gateway is asked next; null when nothing more is expected.
    next_check_at TIMESTAMPTZ,
    checks BIGINT NOT NULL DEFAULT 0,
    lease_holder UUID,
    lease_until TIMESTAMPTZ,
    -- Why the last question failed, in words.
    last_error TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT payments_transaction_id_key UNIQUE (transaction_id),
    CONSTRAINT payments_order_id_key UNIQUE (order_id),
    CONSTRAINT payments_credited_check CHECK (credited IN (0, amount)),
    CONSTRAINT payments_reversed_check CHECK (reversed >= 0 AND reversed <= credited)
);
CREATE INDEX payments_by_user ON payments (user_id, created_at);
CREATE INDEX payments_due ON payments (next_check_at) WHERE next_check_at IS NOT NULL;

-- Authentic notices of the gateway, each once, byte for byte.
CREATE TABLE payment_notices (
    id UUID PRIMARY KEY NOT NULL,
    payment_id UUID NOT NULL REFERENCES payments (id),
    body TEXT NOT NULL,
    -- SHA-256 of the body, lower-case hexadecimal.
    body_hash TEXT NOT NULL,
    -- What it says has become of the payment, in the gateway's words.
    claims TEXT NOT NULL,
    times_received BIGINT NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('RECEIVED', 'APPLIED', 'REFUSED')),
    -- What was done, or why not, in a sentence.
    message TEXT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    applied_at TIMESTAMPTZ,
    CONSTRAINT payment_notices_payment_id_body_hash_key UNIQUE (payment_id, body_hash)
);
CREATE INDEX payment_notices_by_time ON payment_notices (received_at);

-- What a customer owes: a top-up that was taken back after it was spent.
CREATE TABLE debts (
    id UUID PRIMARY KEY NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
    payment_id UUID NOT NULL REFERENCES payments (id),
    -- The reversal that left it.
    transaction_id UUID NOT NULL REFERENCES transactions (id),
    amount BIGINT NOT NULL CHECK (amount > 0),
    paid BIGINT NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL,
    settled_at TIMESTAMPTZ,
    CONSTRAINT debts_transaction_id_key UNIQUE (transaction_id),
    CONSTRAINT debts_paid_check CHECK (paid >= 0 AND paid <= amount)
);
CREATE INDEX debts_open ON debts (user_id, created_at) WHERE settled_at IS NULL;
