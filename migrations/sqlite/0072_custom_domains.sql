-- Domains of customers that lead to their instances, and those that wait for a proof.
CREATE TABLE custom_domains (
    id BLOB PRIMARY KEY NOT NULL,
    instance_id BLOB NOT NULL REFERENCES instances (id),
    user_id BLOB NOT NULL REFERENCES users (id),
    -- In ASCII and lower case, as DNS has it.
    name TEXT NOT NULL,
    -- What the owner of the domain publishes.
    token TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('PENDING', 'REMOVING', 'ACTIVE')),
    proven_by TEXT CHECK (proven_by IN ('DNS', 'HTTP')),
    proven_at TEXT,
    -- Why the last look found no proof.
    problem TEXT,
    checked_at TEXT,
    next_check_at TEXT NOT NULL,
    -- End of the claim, unless it is proven before.
    expires_at TEXT NOT NULL,
    -- First generation of the instance without its rule.
    gone_with INTEGER,
    lease_holder BLOB,
    lease_until TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CHECK ((state = 'PENDING') = (proven_at IS NULL)),
    CHECK ((state = 'REMOVING') = (gone_with IS NOT NULL))
) STRICT;
-- Many may claim a domain, and one has it, until its rule is gone.
CREATE UNIQUE INDEX custom_domains_name_key ON custom_domains (name) WHERE state IN ('ACTIVE', 'REMOVING');
CREATE INDEX custom_domains_by_instance ON custom_domains (instance_id, created_at, id);
CREATE INDEX custom_domains_by_user ON custom_domains (user_id, created_at, id);
CREATE INDEX custom_domains_by_age ON custom_domains (created_at, id);
CREATE INDEX custom_domains_due ON custom_domains (next_check_at) WHERE state = 'PENDING';
CREATE INDEX custom_domains_removing ON custom_domains (updated_at, id) WHERE state = 'REMOVING';
CREATE INDEX custom_domains_by_lease ON custom_domains (lease_until) WHERE lease_until IS NOT NULL;
