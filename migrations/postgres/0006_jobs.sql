-- What runs by the clock, and what came of it.
CREATE TABLE jobs (
    name TEXT PRIMARY KEY NOT NULL,
    -- Instants before this are nobody's: a new job does not make up for a past it did not have.
    watched_since TIMESTAMPTZ NOT NULL
);

CREATE TABLE job_runs (
    id UUID PRIMARY KEY NOT NULL,
    job TEXT NOT NULL,
    scheduled_for TIMESTAMPTZ NOT NULL,
    trigger TEXT NOT NULL CHECK (trigger IN ('SCHEDULE', 'ADMINISTRATOR')),
    requested_by UUID REFERENCES users (id),
    -- Raised when another server takes the run up; the number is the fence against the earlier one.
    attempts BIGINT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    lease_until TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    status TEXT NOT NULL CHECK (status IN ('RUNNING', 'SUCCEEDED', 'PARTIAL', 'FAILED')),
    items BIGINT NOT NULL,
    error_count BIGINT NOT NULL,
    -- The first failures, in sentences.
    errors JSONB NOT NULL,
    -- Two servers, one run.
    CONSTRAINT job_runs_job_scheduled_for_key UNIQUE (job, scheduled_for),
    CONSTRAINT job_runs_finished_check CHECK ((status = 'RUNNING') = (finished_at IS NULL))
);
CREATE INDEX job_runs_by_start ON job_runs (job, started_at);
CREATE UNIQUE INDEX job_runs_unfinished_key ON job_runs (job) WHERE finished_at IS NULL;
