-- The health of instances over time: a row from one change to the next, the open one being the health of now.

CREATE TABLE health_spans (
    id UUID PRIMARY KEY NOT NULL,
    instance_id UUID NOT NULL REFERENCES instances (id),
    state TEXT NOT NULL CHECK (state IN ('HEALTHY', 'STARTING', 'DEGRADED', 'FAILED', 'STOPPED', 'UNKNOWN')),
    -- False when only the reason changed.
    is_new_state BOOLEAN NOT NULL,
    -- For people, and for administrators.
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    -- Cause of the check that found it.
    source TEXT NOT NULL CHECK (source IN ('PERIODIC', 'EVENT', 'REQUEST')),
    since TIMESTAMPTZ NOT NULL,
    until TIMESTAMPTZ,
    -- Begin of the time without health that lasts, or that a healthy span ended.
    unwell_since TIMESTAMPTZ,
    -- Begin of a fault that a restart may mend.
    ailing_since TIMESTAMPTZ,
    -- Time at which restarts had not helped; until it is well again.
    given_up_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX health_spans_open_key ON health_spans (instance_id) WHERE until IS NULL;
CREATE INDEX health_spans_by_instance ON health_spans (instance_id, since);
CREATE INDEX health_spans_unwell ON health_spans (instance_id) WHERE until IS NULL AND state IN ('FAILED', 'DEGRADED');
CREATE INDEX health_spans_given_up ON health_spans (given_up_at) WHERE until IS NULL AND given_up_at IS NOT NULL;
CREATE INDEX health_spans_by_end ON health_spans (until, id);

-- What was done to mend instances; its limits count them.
CREATE TABLE healing_acts (
    id UUID PRIMARY KEY NOT NULL,
    instance_id UUID NOT NULL REFERENCES instances (id),
    act TEXT NOT NULL CHECK (act IN ('RESTART', 'RECREATION')),
    at TIMESTAMPTZ NOT NULL
);
CREATE INDEX healing_acts_by_instance ON healing_acts (instance_id, at);
CREATE INDEX healing_acts_by_time ON healing_acts (at);
CREATE INDEX healing_acts_by_act ON healing_acts (act, at);

-- What is to be told to others, written with its cause; purged with the history of health.
CREATE TABLE outbox (
    id UUID PRIMARY KEY NOT NULL,
    topic TEXT NOT NULL,
    subject_id UUID NOT NULL,
    payload JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    handled_at TIMESTAMPTZ
);
CREATE INDEX outbox_waiting ON outbox (topic, created_at) WHERE handled_at IS NULL;
CREATE INDEX outbox_by_time ON outbox (created_at);

-- Cause of the next check where it is not the time: an event of the cluster, or an administrator.
ALTER TABLE instances ADD COLUMN due_by TEXT CHECK (due_by IN ('PERIODIC', 'EVENT', 'REQUEST'));
-- Time of the last check, written with what each check writes anyway.
ALTER TABLE instances ADD COLUMN checked_at TIMESTAMPTZ;
