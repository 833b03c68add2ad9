-- The foundation: accounts, catalogue, plugins and decisions, wallet and ledger, coupons,
-- subscriptions and instances. The two engines' files differ in types, sequences and triggers only.

-- ---- accounts ----

CREATE TABLE users (
    id UUID PRIMARY KEY NOT NULL,
    -- Lower-cased: one person, one account, however they type it.
    email TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    name TEXT NOT NULL,
    phone TEXT,
    avatar TEXT,
    role TEXT NOT NULL CHECK (role IN ('USER', 'ADMINISTRATOR')),
    status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'DISABLED')),
    -- Raised to make every older access token useless.
    token_generation BIGINT NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT users_email_key UNIQUE (email)
);

CREATE TABLE refresh_tokens (
    id UUID PRIMARY KEY NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
    -- All tokens that descend from one login; reuse of a rotated one revokes them all.
    family UUID NOT NULL,
    token_hash TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    rotated_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ,
    CONSTRAINT refresh_tokens_token_hash_key UNIQUE (token_hash)
);
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_by_user ON refresh_tokens (user_id);

-- ---- plugins ----

CREATE TABLE plugin_versions (
    -- SHA-256 of the component, lower-case hexadecimal.
    digest TEXT PRIMARY KEY NOT NULL,
    plugin_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('service', 'coupon')),
    version TEXT NOT NULL,
    contract TEXT NOT NULL,
    title TEXT NOT NULL,
    component BYTEA NOT NULL,
    size_bytes BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('STAGED', 'ACTIVE', 'SUPERSEDED', 'RETIRED')),
    -- The conformance report of its upload.
    report JSONB NOT NULL,
    uploaded_by UUID REFERENCES users (id),
    created_at TIMESTAMPTZ NOT NULL,
    activated_at TIMESTAMPTZ,
    retired_at TIMESTAMPTZ,
    -- Its publisher's: `KEY-NAME:BASE64`, Ed25519 over the digest.
    signature TEXT
);
CREATE INDEX plugin_versions_by_plugin ON plugin_versions (plugin_id, created_at);
CREATE UNIQUE INDEX plugin_versions_active_key ON plugin_versions (plugin_id) WHERE state = 'ACTIVE';

-- The class of size and memory that administrators granted; every other plugin is standard.
CREATE TABLE plugin_classes (
    plugin_id TEXT PRIMARY KEY NOT NULL,
    class TEXT NOT NULL CHECK (class IN ('standard', 'large')),
    reason TEXT NOT NULL,
    granted_by UUID REFERENCES users (id),
    granted_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE decisions (
    id UUID PRIMARY KEY NOT NULL,
    digest TEXT NOT NULL REFERENCES plugin_versions (digest),
    plugin_id TEXT NOT NULL,
    plugin_version TEXT NOT NULL,
    contract TEXT NOT NULL,
    function TEXT NOT NULL,
    -- Whom it was about, when it was about somebody.
    user_id UUID REFERENCES users (id),
    -- Canonical JSON, kept as text: replays compare byte for byte.
    input TEXT NOT NULL,
    -- Null when the call failed; then `failure` has the code.
    output TEXT,
    failure TEXT,
    logs TEXT NOT NULL,
    fuel BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX decisions_by_plugin ON decisions (plugin_id, created_at);
CREATE INDEX decisions_by_user ON decisions (user_id, created_at);

-- ---- catalogue ----

CREATE TABLE service_categories (
    id UUID PRIMARY KEY NOT NULL,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    CONSTRAINT service_categories_slug_key UNIQUE (slug)
);

CREATE TABLE services (
    id UUID PRIMARY KEY NOT NULL,
    slug TEXT NOT NULL,
    category_id UUID NOT NULL REFERENCES service_categories (id),
    plugin_id TEXT NOT NULL,
    name TEXT NOT NULL,
    summary TEXT NOT NULL,
    description TEXT NOT NULL,
    featured BOOLEAN NOT NULL,
    active BOOLEAN NOT NULL,
    -- Name to reference: the only images this service may run.
    images JSONB NOT NULL,
    -- What the template says to the plugin.
    settings JSONB NOT NULL,
    pod_security_exceptions JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT services_slug_key UNIQUE (slug)
);

CREATE TABLE service_plans (
    id UUID PRIMARY KEY NOT NULL,
    service_id UUID NOT NULL REFERENCES services (id),
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    tier TEXT NOT NULL CHECK (tier IN ('FREE', 'BASIC', 'PRO', 'PREMIUM', 'ENTERPRISE')),
    monthly_price BIGINT NOT NULL CHECK (monthly_price >= 0),
    cpu_millis BIGINT NOT NULL CHECK (cpu_millis > 0),
    memory_mib BIGINT NOT NULL CHECK (memory_mib > 0),
    storage_gib BIGINT NOT NULL CHECK (storage_gib >= 0),
    replicas BIGINT NOT NULL CHECK (replicas > 0),
    total_quota BIGINT NOT NULL,
    used_quota BIGINT NOT NULL DEFAULT 0,
    max_instances_per_user BIGINT NOT NULL CHECK (max_instances_per_user > 0),
    features JSONB NOT NULL,
    active BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT service_plans_service_id_slug_key UNIQUE (service_id, slug),
    -- Never oversold, never negative.
    CONSTRAINT service_plans_quota_check CHECK (used_quota >= 0 AND used_quota <= total_quota)
);

-- ---- wallet and ledger ----

CREATE TABLE wallets (
    user_id UUID PRIMARY KEY NOT NULL REFERENCES users (id),
    paid_balance BIGINT NOT NULL DEFAULT 0,
    bonus_balance BIGINT NOT NULL DEFAULT 0,
    total_top_up BIGINT NOT NULL DEFAULT 0,
    total_spent BIGINT NOT NULL DEFAULT 0,
    -- Head of this wallet's chain of journal entries.
    entries BIGINT NOT NULL DEFAULT 0,
    head_hash TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT wallets_paid_balance_check CHECK (paid_balance >= 0),
    CONSTRAINT wallets_bonus_balance_check CHECK (bonus_balance >= 0)
);

-- What a customer sees: one row a business act, with its state.
CREATE TABLE transactions (
    id UUID PRIMARY KEY NOT NULL,
    -- TXMP-101, TXMP-102, ...
    number BIGINT NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
    type TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('PENDING', 'COMPLETED', 'FAILED', 'CANCELLED', 'REFUNDED')),
    -- What the wallet gained; negative when it paid.
    amount BIGINT NOT NULL,
    balance_before BIGINT,
    balance_after BIGINT,
    description TEXT NOT NULL,
    -- Reason lines, coupon and so on, for the person who asks why.
    details JSONB NOT NULL,
    subscription_id UUID,
    coupon_id UUID,
    price_decision_id UUID REFERENCES decisions (id),
    coupon_decision_id UUID REFERENCES decisions (id),
    created_at TIMESTAMPTZ NOT NULL,
    completed_at TIMESTAMPTZ,
    CONSTRAINT transactions_number_key UNIQUE (number)
);
CREATE INDEX transactions_by_user ON transactions (user_id, created_at);

-- What is posted: append-only, chained per wallet by hash.
CREATE TABLE journal_entries (
    id UUID PRIMARY KEY NOT NULL,
    transaction_id UUID NOT NULL REFERENCES transactions (id),
    wallet_id UUID NOT NULL REFERENCES wallets (user_id),
    -- 1, 2, 3, ... within the wallet.
    position BIGINT NOT NULL,
    posted_at TIMESTAMPTZ NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    -- One posting set per business act, however often it is tried.
    idempotency_key TEXT NOT NULL,
    CONSTRAINT journal_entries_wallet_id_position_key UNIQUE (wallet_id, position),
    CONSTRAINT journal_entries_idempotency_key_key UNIQUE (idempotency_key)
);
CREATE INDEX journal_entries_by_transaction ON journal_entries (transaction_id);

CREATE TABLE postings (
    -- Written before its entry, so that the entry's trigger can see that the postings balance.
    entry_id UUID NOT NULL REFERENCES journal_entries (id) DEFERRABLE INITIALLY DEFERRED,
    line BIGINT NOT NULL,
    account TEXT NOT NULL CHECK (account IN (
        'WALLET_PAID', 'WALLET_BONUS', 'GATEWAY', 'REVENUE', 'PROMOTIONS', 'REFUNDS', 'ADJUSTMENTS',
        'RECEIVABLES'
    )),
    -- Whose wallet, for the wallet accounts.
    user_id UUID REFERENCES users (id),
    amount BIGINT NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (entry_id, line),
    CONSTRAINT postings_owner_check CHECK ((account IN ('WALLET_PAID', 'WALLET_BONUS')) = (user_id IS NOT NULL))
);
CREATE INDEX postings_by_account ON postings (account, user_id);

-- An entry is written after its postings and only if they balance; then nothing changes any more.
CREATE FUNCTION ledger_entry_balances() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) < 2 OR coalesce(sum(amount), 0) <> 0 FROM postings WHERE entry_id = NEW.id) THEN
        RAISE EXCEPTION 'ledger: the postings of an entry must balance' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER journal_entries_balance BEFORE INSERT ON journal_entries
FOR EACH ROW EXECUTE FUNCTION ledger_entry_balances();

CREATE FUNCTION ledger_posting_in_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM journal_entries WHERE id = NEW.entry_id) THEN
        RAISE EXCEPTION 'ledger: a posted entry takes no more postings' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER postings_before_entry BEFORE INSERT ON postings
FOR EACH ROW EXECUTE FUNCTION ledger_posting_in_time();

CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger: % is append-only', TG_TABLE_NAME USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER journal_entries_frozen BEFORE UPDATE OR DELETE ON journal_entries
FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only();
CREATE TRIGGER postings_frozen BEFORE UPDATE OR DELETE ON postings
FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only();

-- ---- coupons ----

CREATE TABLE coupons (
    id UUID PRIMARY KEY NOT NULL,
    code TEXT NOT NULL,
    description TEXT NOT NULL,
    plugin_id TEXT NOT NULL,
    parameters JSONB NOT NULL,
    starts_at TIMESTAMPTZ NOT NULL,
    ends_at TIMESTAMPTZ,
    max_uses BIGINT CHECK (max_uses > 0),
    max_uses_per_user BIGINT CHECK (max_uses_per_user > 0),
    used_count BIGINT NOT NULL DEFAULT 0,
    budget BIGINT CHECK (budget > 0),
    granted_amount BIGINT NOT NULL DEFAULT 0,
    -- Slugs and tiers it is good for; empty means all.
    services JSONB NOT NULL,
    tiers JSONB NOT NULL,
    -- How many periods of a subscription it lasts; null means for ever.
    periods BIGINT CHECK (periods > 0),
    status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'EXPIRED', 'DISABLED', 'USED_UP')),
    created_by UUID REFERENCES users (id),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT coupons_code_key UNIQUE (code),
    CONSTRAINT coupons_used_count_check CHECK (used_count >= 0 AND (max_uses IS NULL OR used_count <= max_uses)),
    CONSTRAINT coupons_granted_amount_check CHECK (granted_amount >= 0 AND (budget IS NULL OR granted_amount <= budget))
);

-- One row per customer and coupon: the per-customer limit is a conditional update of it.
CREATE TABLE coupon_customer_uses (
    coupon_id UUID NOT NULL REFERENCES coupons (id),
    user_id UUID NOT NULL REFERENCES users (id),
    uses BIGINT NOT NULL,
    PRIMARY KEY (coupon_id, user_id)
);

CREATE TABLE coupon_redemptions (
    id UUID PRIMARY KEY NOT NULL,
    coupon_id UUID NOT NULL REFERENCES coupons (id),
    user_id UUID NOT NULL REFERENCES users (id),
    -- `{"credit": 5000}`, `{"discount": 5000}` or `{"freePeriods": 2}`.
    effect JSONB NOT NULL,
    -- What it cost, in rupiah.
    amount BIGINT NOT NULL CHECK (amount >= 0),
    reason TEXT NOT NULL,
    decision_id UUID NOT NULL REFERENCES decisions (id),
    transaction_id UUID REFERENCES transactions (id),
    subscription_id UUID,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX coupon_redemptions_by_coupon ON coupon_redemptions (coupon_id, created_at);
CREATE INDEX coupon_redemptions_by_user ON coupon_redemptions (user_id, created_at);

-- ---- subscriptions ----

CREATE TABLE subscriptions (
    id UUID PRIMARY KEY NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
    plan_id UUID NOT NULL REFERENCES service_plans (id),
    status TEXT NOT NULL CHECK (status IN ('PENDING', 'ACTIVE', 'PAST_DUE', 'SUSPENDED', 'CANCELLED', 'EXPIRED')),
    -- The price the customer bought at, for one month, before coupons.
    monthly_price BIGINT NOT NULL CHECK (monthly_price >= 0),
    config JSONB NOT NULL,
    auto_renew BOOLEAN NOT NULL,
    -- Periods are calendar months anchored on this moment's day.
    anchor_at TIMESTAMPTZ NOT NULL,
    period_number BIGINT NOT NULL,
    period_start TIMESTAMPTZ NOT NULL,
    period_end TIMESTAMPTZ NOT NULL,
    coupon_id UUID REFERENCES coupons (id),
    -- Further periods the coupon still reduces; null means for ever.
    coupon_periods_left BIGINT,
    cancelled_at TIMESTAMPTZ,
    cancel_reason TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX subscriptions_by_user ON subscriptions (user_id, created_at);
CREATE INDEX subscriptions_by_plan ON subscriptions (plan_id, user_id);

-- What each period cost: never charged twice.
CREATE TABLE subscription_periods (
    subscription_id UUID NOT NULL REFERENCES subscriptions (id),
    number BIGINT NOT NULL,
    starts_at TIMESTAMPTZ NOT NULL,
    ends_at TIMESTAMPTZ NOT NULL,
    price BIGINT NOT NULL CHECK (price >= 0),
    discount BIGINT NOT NULL CHECK (discount >= 0 AND discount <= price),
    paid_cash BIGINT NOT NULL CHECK (paid_cash >= 0),
    paid_bonus BIGINT NOT NULL CHECK (paid_bonus >= 0),
    -- Cash given back to the wallet; never more than was paid.
    refunded_cash BIGINT NOT NULL DEFAULT 0 CHECK (refunded_cash >= 0 AND refunded_cash <= paid_cash),
    transaction_id UUID REFERENCES transactions (id),
    price_decision_id UUID NOT NULL REFERENCES decisions (id),
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (subscription_id, number)
);

-- A quote is the charge: a purchase that names one is refused when it would cost otherwise.
CREATE TABLE quotes (
    id UUID PRIMARY KEY NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
    plan_id UUID NOT NULL REFERENCES service_plans (id),
    coupon_code TEXT,
    -- Canonical JSON of the configuration it was made for.
    config TEXT NOT NULL,
    due BIGINT NOT NULL CHECK (due >= 0),
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX quotes_by_expiry ON quotes (expires_at);

-- ---- instances ----

CREATE TABLE instances (
    id UUID PRIMARY KEY NOT NULL,
    subscription_id UUID NOT NULL REFERENCES subscriptions (id),
    user_id UUID NOT NULL REFERENCES users (id),
    plan_id UUID NOT NULL REFERENCES service_plans (id),
    -- The plugin version it was provisioned with; stays until somebody moves it.
    plugin_digest TEXT NOT NULL REFERENCES plugin_versions (digest),
    -- What the service's template said to that version; moves with it.
    settings JSONB NOT NULL,
    -- Prefix of its objects' names, unique in the cluster.
    name TEXT NOT NULL,
    namespace TEXT NOT NULL,
    hostname TEXT,
    config JSONB NOT NULL,
    -- What it shall be.
    desired TEXT NOT NULL CHECK (desired IN ('RUNNING', 'STOPPED', 'TERMINATED')),
    -- What it is.
    status TEXT NOT NULL CHECK (status IN (
        'PENDING', 'PROVISIONING', 'RUNNING', 'DEGRADED', 'FAILED', 'STOPPED', 'TERMINATING', 'TERMINATED'
    )),
    -- Why, in a sentence a customer understands.
    message TEXT NOT NULL,
    -- Raised by every change of what it shall be; `observed_generation` is what was applied last.
    generation BIGINT NOT NULL DEFAULT 1,
    observed_generation BIGINT NOT NULL DEFAULT 0,
    -- What was applied: `[{"apiVersion","kind","name"}]`, for pruning and for proving it is gone.
    applied JSONB NOT NULL,
    manifests_decision_id UUID REFERENCES decisions (id),
    failures BIGINT NOT NULL DEFAULT 0,
    next_attempt_at TIMESTAMPTZ NOT NULL,
    -- Which server works on it, and until when that counts.
    lease_holder UUID,
    lease_until TIMESTAMPTZ,
    ready_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT instances_name_key UNIQUE (name)
);
CREATE INDEX instances_by_subscription ON instances (subscription_id);
CREATE INDEX instances_by_user ON instances (user_id, created_at);
CREATE INDEX instances_due ON instances (next_attempt_at);

-- Generated per instance, encrypted with the master key.
CREATE TABLE instance_secrets (
    instance_id UUID NOT NULL REFERENCES instances (id),
    name TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (instance_id, name)
);

CREATE TABLE instance_events (
    id UUID PRIMARY KEY NOT NULL,
    instance_id UUID NOT NULL REFERENCES instances (id),
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX instance_events_by_instance ON instance_events (instance_id, created_at);

-- ---- effects that follow a commit ----

CREATE TABLE outbox (
    id UUID PRIMARY KEY NOT NULL,
    topic TEXT NOT NULL,
    subject_id UUID NOT NULL,
    payload JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    handled_at TIMESTAMPTZ
);
CREATE INDEX outbox_waiting ON outbox (topic, created_at) WHERE handled_at IS NULL;

-- Answers kept so that a repeated request is answered, not repeated.
CREATE TABLE idempotency_keys (
    user_id UUID NOT NULL REFERENCES users (id),
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    -- Which request runs or ran. One that lost its claim can store no answer, and so commit nothing.
    holder UUID NOT NULL,
    -- Null while that request is still running.
    status BIGINT,
    answer TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    locked_until TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (user_id, route, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Who looked at what.
CREATE TABLE audit_events (
    id UUID PRIMARY KEY NOT NULL,
    actor_id UUID REFERENCES users (id),
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    details JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX audit_events_by_subject ON audit_events (subject, created_at);

-- Readable numbers. A sequence never makes two customers wait for each other.
CREATE SEQUENCE transaction_numbers START WITH 101;
CREATE SEQUENCE ticket_numbers START WITH 1;
