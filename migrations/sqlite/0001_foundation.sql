-- The foundation: accounts, catalogue, plugins and decisions, wallet and ledger, coupons,
-- subscriptions and instances. The two engines' files differ in types, sequences and triggers only.

-- ---- accounts ----

CREATE TABLE users (
    id BLOB PRIMARY KEY NOT NULL,
    -- Lower-cased: one person, one account, however they type it.
    email TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    name TEXT NOT NULL,
    phone TEXT,
    avatar TEXT,
    role TEXT NOT NULL CHECK (role IN ('USER', 'ADMINISTRATOR')),
    status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'DISABLED')),
    -- Raised to make every older access token useless.
    token_generation INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT users_email_key UNIQUE (email)
) STRICT;

CREATE TABLE refresh_tokens (
    id BLOB PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    -- All tokens that descend from one login; reuse of a rotated one revokes them all.
    family BLOB NOT NULL,
    token_hash TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    rotated_at TEXT,
    revoked_at TEXT,
    CONSTRAINT refresh_tokens_token_hash_key UNIQUE (token_hash)
) STRICT;
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
    component BLOB NOT NULL,
    size_bytes INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('STAGED', 'ACTIVE', 'SUPERSEDED', 'RETIRED')),
    -- The conformance report of its upload.
    report TEXT NOT NULL,
    uploaded_by BLOB REFERENCES users (id),
    created_at TEXT NOT NULL,
    activated_at TEXT,
    retired_at TEXT,
    -- Its publisher's: `KEY-NAME:BASE64`, Ed25519 over the digest.
    signature TEXT
) STRICT;
CREATE INDEX plugin_versions_by_plugin ON plugin_versions (plugin_id, created_at);
CREATE UNIQUE INDEX plugin_versions_active_key ON plugin_versions (plugin_id) WHERE state = 'ACTIVE';

-- The class of size and memory that administrators granted; every other plugin is standard.
CREATE TABLE plugin_classes (
    plugin_id TEXT PRIMARY KEY NOT NULL,
    class TEXT NOT NULL CHECK (class IN ('standard', 'large')),
    reason TEXT NOT NULL,
    granted_by BLOB REFERENCES users (id),
    granted_at TEXT NOT NULL
) STRICT;

CREATE TABLE decisions (
    id BLOB PRIMARY KEY NOT NULL,
    digest TEXT NOT NULL REFERENCES plugin_versions (digest),
    plugin_id TEXT NOT NULL,
    plugin_version TEXT NOT NULL,
    contract TEXT NOT NULL,
    function TEXT NOT NULL,
    -- Whom it was about, when it was about somebody.
    user_id BLOB REFERENCES users (id),
    -- Canonical JSON, kept as text: replays compare byte for byte.
    input TEXT NOT NULL,
    -- Null when the call failed; then `failure` has the code.
    output TEXT,
    failure TEXT,
    logs TEXT NOT NULL,
    fuel INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_by_plugin ON decisions (plugin_id, created_at);
CREATE INDEX decisions_by_user ON decisions (user_id, created_at);

-- ---- catalogue ----

CREATE TABLE service_categories (
    id BLOB PRIMARY KEY NOT NULL,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    CONSTRAINT service_categories_slug_key UNIQUE (slug)
) STRICT;

CREATE TABLE services (
    id BLOB PRIMARY KEY NOT NULL,
    slug TEXT NOT NULL,
    category_id BLOB NOT NULL REFERENCES service_categories (id),
    plugin_id TEXT NOT NULL,
    name TEXT NOT NULL,
    summary TEXT NOT NULL,
    description TEXT NOT NULL,
    featured INTEGER NOT NULL,
    active INTEGER NOT NULL,
    -- Name to reference: the only images this service may run.
    images TEXT NOT NULL,
    -- What the template says to the plugin.
    settings TEXT NOT NULL,
    pod_security_exceptions TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT services_slug_key UNIQUE (slug)
) STRICT;

CREATE TABLE service_plans (
    id BLOB PRIMARY KEY NOT NULL,
    service_id BLOB NOT NULL REFERENCES services (id),
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    tier TEXT NOT NULL CHECK (tier IN ('FREE', 'BASIC', 'PRO', 'PREMIUM', 'ENTERPRISE')),
    monthly_price INTEGER NOT NULL CHECK (monthly_price >= 0),
    cpu_millis INTEGER NOT NULL CHECK (cpu_millis > 0),
    memory_mib INTEGER NOT NULL CHECK (memory_mib > 0),
    storage_gib INTEGER NOT NULL CHECK (storage_gib >= 0),
    replicas INTEGER NOT NULL CHECK (replicas > 0),
    total_quota INTEGER NOT NULL,
    used_quota INTEGER NOT NULL DEFAULT 0,
    max_instances_per_user INTEGER NOT NULL CHECK (max_instances_per_user > 0),
    features TEXT NOT NULL,
    active INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT service_plans_service_id_slug_key UNIQUE (service_id, slug),
    -- Never oversold, never negative.
    CONSTRAINT service_plans_quota_check CHECK (used_quota >= 0 AND used_quota <= total_quota)
) STRICT;

-- ---- wallet and ledger ----

CREATE TABLE wallets (
    user_id BLOB PRIMARY KEY NOT NULL REFERENCES users (id),
    paid_balance INTEGER NOT NULL DEFAULT 0,
    bonus_balance INTEGER NOT NULL DEFAULT 0,
    total_top_up INTEGER NOT NULL DEFAULT 0,
    total_spent INTEGER NOT NULL DEFAULT 0,
    -- Head of this wallet's chain of journal entries.
    entries INTEGER NOT NULL DEFAULT 0,
    head_hash TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT wallets_paid_balance_check CHECK (paid_balance >= 0),
    CONSTRAINT wallets_bonus_balance_check CHECK (bonus_balance >= 0)
) STRICT;

-- What a customer sees: one row a business act, with its state.
CREATE TABLE transactions (
    id BLOB PRIMARY KEY NOT NULL,
    -- TXMP-101, TXMP-102, ...
    number INTEGER NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    type TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('PENDING', 'COMPLETED', 'FAILED', 'CANCELLED', 'REFUNDED')),
    -- What the wallet gained; negative when it paid.
    amount INTEGER NOT NULL,
    balance_before INTEGER,
    balance_after INTEGER,
    description TEXT NOT NULL,
    -- Reason lines, coupon and so on, for the person who asks why.
    details TEXT NOT NULL,
    subscription_id BLOB,
    coupon_id BLOB,
    price_decision_id BLOB REFERENCES decisions (id),
    coupon_decision_id BLOB REFERENCES decisions (id),
    created_at TEXT NOT NULL,
    completed_at TEXT,
    CONSTRAINT transactions_number_key UNIQUE (number)
) STRICT;
CREATE INDEX transactions_by_user ON transactions (user_id, created_at);

-- What is posted: append-only, chained per wallet by hash.
CREATE TABLE journal_entries (
    id BLOB PRIMARY KEY NOT NULL,
    transaction_id BLOB NOT NULL REFERENCES transactions (id),
    wallet_id BLOB NOT NULL REFERENCES wallets (user_id),
    -- 1, 2, 3, ... within the wallet.
    position INTEGER NOT NULL,
    posted_at TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    -- One posting set per business act, however often it is tried.
    idempotency_key TEXT NOT NULL,
    CONSTRAINT journal_entries_wallet_id_position_key UNIQUE (wallet_id, position),
    CONSTRAINT journal_entries_idempotency_key_key UNIQUE (idempotency_key)
) STRICT;
CREATE INDEX journal_entries_by_transaction ON journal_entries (transaction_id);

CREATE TABLE postings (
    -- Written before its entry, so that the entry's trigger can see that the postings balance.
    entry_id BLOB NOT NULL REFERENCES journal_entries (id) DEFERRABLE INITIALLY DEFERRED,
    line INTEGER NOT NULL,
    account TEXT NOT NULL CHECK (account IN (
        'WALLET_PAID', 'WALLET_BONUS', 'GATEWAY', 'REVENUE', 'PROMOTIONS', 'REFUNDS', 'ADJUSTMENTS',
        'RECEIVABLES'
    )),
    -- Whose wallet, for the wallet accounts.
    user_id BLOB REFERENCES users (id),
    amount INTEGER NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (entry_id, line),
    CONSTRAINT postings_owner_check CHECK ((account IN ('WALLET_PAID', 'WALLET_BONUS')) = (user_id IS NOT NULL))
) STRICT;
CREATE INDEX postings_by_account ON postings (account, user_id);

-- An entry is written after its postings and only if they balance; then nothing changes any more.
CREATE TRIGGER journal_entries_balance BEFORE INSERT ON journal_entries
WHEN (SELECT count(*) < 2 OR coalesce(sum(amount), 0) <> 0 FROM postings WHERE entry_id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'ledger: the postings of an entry must balance'); END;

CREATE TRIGGER postings_before_entry BEFORE INSERT ON postings
WHEN EXISTS (SELECT 1 FROM journal_entries WHERE id = NEW.entry_id)
BEGIN SELECT RAISE(ABORT, 'ledger: a posted entry takes no more postings'); END;

CREATE TRIGGER journal_entries_frozen BEFORE UPDATE ON journal_entries
BEGIN SELECT RAISE(ABORT, 'ledger: entries are append-only'); END;
CREATE TRIGGER journal_entries_kept BEFORE DELETE ON journal_entries
BEGIN SELECT RAISE(ABORT, 'ledger: entries are append-only'); END;
CREATE TRIGGER postings_frozen BEFORE UPDATE ON postings
BEGIN SELECT RAISE(ABORT, 'ledger: postings are append-only'); END;
CREATE TRIGGER postings_kept BEFORE DELETE ON postings
BEGIN SELECT RAISE(ABORT, 'ledger: postings are append-only'); END;

-- ---- coupons ----

CREATE TABLE coupons (
    id BLOB PRIMARY KEY NOT NULL,
    code TEXT NOT NULL,
    description TEXT NOT NULL,
    plugin_id TEXT NOT NULL,
    parameters TEXT NOT NULL,
    starts_at TEXT NOT NULL,
    ends_at TEXT,
    max_uses INTEGER CHECK (max_uses > 0),
    max_uses_per_user INTEGER CHECK (max_uses_per_user > 0),
    used_count INTEGER NOT NULL DEFAULT 0,
    budget INTEGER CHECK (budget > 0),
    granted_amount INTEGER NOT NULL DEFAULT 0,
    -- Slugs and tiers it is good for; empty means all.
    services TEXT NOT NULL,
    tiers TEXT NOT NULL,
    -- How many periods of a subscription it lasts; null means for ever.
    periods INTEGER CHECK (periods > 0),
    status TEXT NOT NULL CHECK (status IN ('ACTIVE', 'EXPIRED', 'DISABLED', 'USED_UP')),
    created_by BLOB REFERENCES users (id),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT coupons_code_key UNIQUE (code),
    CONSTRAINT coupons_used_count_check CHECK (used_count >= 0 AND (max_uses IS NULL OR used_count <= max_uses)),
    CONSTRAINT coupons_granted_amount_check CHECK (granted_amount >= 0 AND (budget IS NULL OR granted_amount <= budget))
) STRICT;

-- One row per customer and coupon: the per-customer limit is a conditional update of it.
CREATE TABLE coupon_customer_uses (
    coupon_id BLOB NOT NULL REFERENCES coupons (id),
    user_id BLOB NOT NULL REFERENCES users (id),
    uses INTEGER NOT NULL,
    PRIMARY KEY (coupon_id, user_id)
) STRICT;

CREATE TABLE coupon_redemptions (
    id BLOB PRIMARY KEY NOT NULL,
    coupon_id BLOB NOT NULL REFERENCES coupons (id),
    user_id BLOB NOT NULL REFERENCES users (id),
    -- `{"credit": 5000}`, `{"discount": 5000}` or `{"freePeriods": 2}`.
    effect TEXT NOT NULL,
    -- What it cost, in rupiah.
    amount INTEGER NOT NULL CHECK (amount >= 0),
    reason TEXT NOT NULL,
    decision_id BLOB NOT NULL REFERENCES decisions (id),
    transaction_id BLOB REFERENCES transactions (id),
    subscription_id BLOB,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX coupon_redemptions_by_coupon ON coupon_redemptions (coupon_id, created_at);
CREATE INDEX coupon_redemptions_by_user ON coupon_redemptions (user_id, created_at);

-- ---- subscriptions ----

CREATE TABLE subscriptions (
    id BLOB PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    plan_id BLOB NOT NULL REFERENCES service_plans (id),
    status TEXT NOT NULL CHECK (status IN ('PENDING', 'ACTIVE', 'PAST_DUE', 'SUSPENDED', 'CANCELLED', 'EXPIRED')),
    -- The price the customer bought at, for one month, before coupons.
    monthly_price INTEGER NOT NULL CHECK (monthly_price >= 0),
    config TEXT NOT NULL,
    auto_renew INTEGER NOT NULL,
    -- Periods are calendar months anchored on this moment's day.
    anchor_at TEXT NOT NULL,
    period_number INTEGER NOT NULL,
    period_start TEXT NOT NULL,
    period_end TEXT NOT NULL,
    coupon_id BLOB REFERENCES coupons (id),
    -- Further periods the coupon still reduces; null means for ever.
    coupon_periods_left INTEGER,
    cancelled_at TEXT,
    cancel_reason TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX subscriptions_by_user ON subscriptions (user_id, created_at);
CREATE INDEX subscriptions_by_plan ON subscriptions (plan_id, user_id);

-- What each period cost: never charged twice.
CREATE TABLE subscription_periods (
    subscription_id BLOB NOT NULL REFERENCES subscriptions (id),
    number INTEGER NOT NULL,
    starts_at TEXT NOT NULL,
    ends_at TEXT NOT NULL,
    price INTEGER NOT NULL CHECK (price >= 0),
    discount INTEGER NOT NULL CHECK (discount >= 0 AND discount <= price),
    paid_cash INTEGER NOT NULL CHECK (paid_cash >= 0),
    paid_bonus INTEGER NOT NULL CHECK (paid_bonus >= 0),
    -- Cash given back to the wallet; never more than was paid.
    refunded_cash INTEGER NOT NULL DEFAULT 0 CHECK (refunded_cash >= 0 AND refunded_cash <= paid_cash),
    transaction_id BLOB REFERENCES transactions (id),
    price_decision_id BLOB NOT NULL REFERENCES decisions (id),
    created_at TEXT NOT NULL,
    PRIMARY KEY (subscription_id, number)
) STRICT;

-- A quote is the charge: a purchase that names one is refused when it would cost otherwise.
CREATE TABLE quotes (
    id BLOB PRIMARY KEY NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    plan_id BLOB NOT NULL REFERENCES service_plans (id),
    coupon_code TEXT,
    -- Canonical JSON of the configuration it was made for.
    config TEXT NOT NULL,
    due INTEGER NOT NULL CHECK (due >= 0),
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
) STRICT;
CREATE INDEX quotes_by_expiry ON quotes (expires_at);

-- ---- instances ----

CREATE TABLE instances (
    id BLOB PRIMARY KEY NOT NULL,
    subscription_id BLOB NOT NULL REFERENCES subscriptions (id),
    user_id BLOB NOT NULL REFERENCES users (id),
    plan_id BLOB NOT NULL REFERENCES service_plans (id),
    -- The plugin version it was provisioned with; stays until somebody moves it.
    plugin_digest TEXT NOT NULL REFERENCES plugin_versions (digest),
    -- What the service's template said to that version; moves with it.
    settings TEXT NOT NULL,
    -- Prefix of its objects' names, unique in the cluster.
    name TEXT NOT NULL,
    namespace TEXT NOT NULL,
    hostname TEXT,
    config TEXT NOT NULL,
    -- What it shall be.
    desired TEXT NOT NULL CHECK (desired IN ('RUNNING', 'STOPPED', 'TERMINATED')),
    -- What it is.
    status TEXT NOT NULL CHECK (status IN (
        'PENDING', 'PROVISIONING', 'RUNNING', 'DEGRADED', 'FAILED', 'STOPPED', 'TERMINATING', 'TERMINATED'
    )),
    -- Why, in a sentence a customer understands.
    message TEXT NOT NULL,
    -- Raised by every change of what it shall be; `observed_generation` is what was applied last.
    generation INTEGER NOT NULL DEFAULT 1,
    observed_generation INTEGER NOT NULL DEFAULT 0,
    -- What was applied: `[{"apiVersion","kind","name"}]`, for pruning and for proving it is gone.
    applied TEXT NOT NULL,
    manifests_decision_id BLOB REFERENCES decisions (id),
    failures INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TEXT NOT NULL,
    -- Which server works on it, and until when that counts.
    lease_holder BLOB,
    lease_until TEXT,
    ready_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    CONSTRAINT instances_name_key UNIQUE (name)
) STRICT;
CREATE INDEX instances_by_subscription ON instances (subscription_id);
CREATE INDEX instances_by_user ON instances (user_id, created_at);
CREATE INDEX instances_due ON instances (next_attempt_at);

-- Generated per instance, encrypted with the master key.
CREATE TABLE instance_secrets (
    instance_id BLOB NOT NULL REFERENCES instances (id),
    name TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (instance_id, name)
) STRICT;

CREATE TABLE instance_events (
    id BLOB PRIMARY KEY NOT NULL,
    instance_id BLOB NOT NULL REFERENCES instances (id),
    kind TEXT NOT NULL,
    message TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX instance_events_by_instance ON instance_events (instance_id, created_at);

-- ---- effects that follow a commit ----

CREATE TABLE outbox (
    id BLOB PRIMARY KEY NOT NULL,
    topic TEXT NOT NULL,
    subject_id BLOB NOT NULL,
    payload TEXT NOT NULL,
    created_at TEXT NOT NULL,
    handled_at TEXT
) STRICT;
CREATE INDEX outbox_waiting ON outbox (topic, created_at) WHERE handled_at IS NULL;

-- Answers kept so that a repeated request is answered, not repeated.
CREATE TABLE idempotency_keys (
    user_id BLOB NOT NULL REFERENCES users (id),
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    -- Which request runs or ran. One that lost its claim can store no answer, and so commit nothing.
    holder BLOB NOT NULL,
    -- Null while that request is still running.
    status INTEGER,
    answer TEXT,
    created_at TEXT NOT NULL,
    locked_until TEXT NOT NULL,
    PRIMARY KEY (user_id, route, key)
) STRICT;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- Who looked at what.
CREATE TABLE audit_events (
    id BLOB PRIMARY KEY NOT NULL,
    actor_id BLOB REFERENCES users (id),
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    details TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX audit_events_by_subject ON audit_events (subject, created_at);

-- Readable numbers. SQLite has one writer, so a counter row costs nothing.
CREATE TABLE sequences (
    name TEXT PRIMARY KEY NOT NULL,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO sequences (name, value) VALUES ('transaction', 100), ('ticket', 0);
