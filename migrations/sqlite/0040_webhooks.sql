-- Outgoing webhooks: endpoints of customers and of the shop (whose owner is the nil id), and one delivery for
-- each endpoint and event.

-- Locked while an owner's endpoints are counted and changed.
CREATE TABLE webhook_owners (
    owner_id BLOB PRIMARY KEY NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE webhook_endpoints (
    id BLOB PRIMARY KEY NOT NULL,
    owner_id BLOB NOT NULL REFERENCES webhook_owners (owner_id),
    url TEXT NOT NULL,
    description TEXT NOT NULL,
    -- Kinds of events; an empty list means all, also those that come later.
    events TEXT NOT NULL,
    disabled_at TEXT,
    disabled_because TEXT CHECK (disabled_because IN ('OWNER', 'FAILING', 'GONE')),
    -- Time of the first failure after the last success.
    failing_since TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CHECK ((disabled_at IS NULL) = (disabled_because IS NULL))
) STRICT;
CREATE INDEX webhook_endpoints_by_owner ON webhook_endpoints (owner_id, created_at, id);
CREATE INDEX webhook_endpoints_failing ON webhook_endpoints (failing_since) WHERE failing_since IS NOT NULL;

CREATE TABLE webhook_secrets (
    id BLOB PRIMARY KEY NOT NULL,
    webhook_id BLOB NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    sealed BLOB NOT NULL,
    created_at TEXT NOT NULL,
    -- Set by the rotation that came after it; until then events are signed with both.
    expires_at TEXT
) STRICT;
CREATE INDEX webhook_secrets_by_webhook ON webhook_secrets (webhook_id, created_at);

CREATE TABLE webhook_deliveries (
    id BLOB PRIMARY KEY NOT NULL,
    webhook_id BLOB NOT NULL REFERENCES webhook_endpoints (id) ON DELETE CASCADE,
    -- The row of the outbox, which may be purged before.
    event_id BLOB NOT NULL,
    type TEXT NOT NULL,
    -- The bytes that are signed and sent, the same in every attempt.
    body TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PENDING', 'DELIVERED', 'FAILED', 'DEAD')),
    attempts INTEGER NOT NULL,
    next_try_at TEXT NOT NULL,
    lease_holder BLOB,
    lease_until TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    delivered_at TEXT,
    CONSTRAINT webhook_deliveries_webhook_id_event_id_key UNIQUE (webhook_id, event_id)
) STRICT;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_try_at) WHERE state IN ('PENDING', 'FAILED');
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, created_at, id);
CREATE INDEX webhook_deliveries_by_age ON webhook_deliveries (created_at, id);
CREATE INDEX webhook_deliveries_by_lease ON webhook_deliveries (lease_until) WHERE lease_until IS NOT NULL;

CREATE TABLE webhook_attempts (
    id BLOB PRIMARY KEY NOT NULL,
    delivery_id BLOB NOT NULL REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
    at TEXT NOT NULL,
    -- Absent when there was no answer.
    status INTEGER,
    duration_ms INTEGER NOT NULL,
    -- The first bytes of the answer, or the reason why there was none.
    answer TEXT NOT NULL
) STRICT;
CREATE INDEX webhook_attempts_by_delivery ON webhook_attempts (delivery_id, at, id);
