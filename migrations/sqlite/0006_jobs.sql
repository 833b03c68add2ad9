-- What runs by the clock, and what came of it.
CREATE TABLE jobs (
    name TEXT PRIMARY KEY NOT NULL,
    -- Instants before this are nobody's: a new job does not make up for a past it did not have.
    watched_since TEXT NOT NULL
) STRICT;

CREATE TABLE job_runs (
    id BLOB PRIMARY KEY NOT NULL,
    job TEXT NOT NULL,
    scheduled_for TEXT NOT NULL,
    trigger TEXT NOT NULL CHECK (trigger IN ('SCHEDULE', 'ADMINISTRATOR')),
    requested_by BLOB REFERENCES users (id),
    -- Raised when another server takes the run up; the number is the fence against the earlier one.
    attempts INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    lease_until TEXT NOT NULL,
    finished_at TEXT,
    status TEXT NOT NULL CHECK (status IN ('RUNNING', 'SUCCEEDED', 'PARTIAL', 'FAILED')),
    items INTEGER NOT NULL,
    error_count INTEGER NOT NULL,
    -- The first failures, in sentences.
    errors TEXT NOT NULL,
    -- Two servers, one run.
    CONSTRAINT job_runs_job_scheduled_for_key UNIQUE (job, scheduled_for),
    CONSTRAINT job_runs_finished_check CHECK ((status = 'RUNNING') = (finished_at IS NULL))
) STRICT;
CREATE INDEX job_runs_by_start ON job_runs (job, started_at);
CREATE UNIQUE INDEX job_runs_unfinished_key ON job_runs (job) WHERE finished_at IS NULL;
