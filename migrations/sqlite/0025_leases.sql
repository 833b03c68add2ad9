-- A run is leased like an instance and a payment: by a holder, until a moment, or by nobody.

CREATE TABLE job_runs_leased (
    id BLOB PRIMARY KEY NOT NULL,
    job TEXT NOT NULL,
    scheduled_for TEXT NOT NULL,
    trigger TEXT NOT NULL CHECK (trigger IN ('SCHEDULE', 'ADMINISTRATOR')),
    requested_by BLOB REFERENCES users (id),
    attempts INTEGER NOT NULL,
    started_at TEXT NOT NULL,
    lease_holder BLOB,
    lease_until TEXT,
    finished_at TEXT,
    status TEXT NOT NULL CHECK (status IN ('RUNNING', 'SUCCEEDED', 'PARTIAL', 'FAILED')),
    items INTEGER NOT NULL,
    total INTEGER NOT NULL DEFAULT 0,
    error_count INTEGER NOT NULL,
    errors TEXT NOT NULL,
    CONSTRAINT job_runs_job_scheduled_for_key UNIQUE (job, scheduled_for),
    CONSTRAINT job_runs_finished_check CHECK ((status = 'RUNNING') = (finished_at IS NULL))
) STRICT;
INSERT INTO job_runs_leased (id, job, scheduled_for, trigger, requested_by, attempts, started_at, finished_at, status, items,
  total, error_count, errors)
SELECT id, job, scheduled_for, trigger, requested_by, attempts, started_at, finished_at, status, items, total, error_count, errors
FROM job_runs;
DROP TABLE job_runs;
ALTER TABLE job_runs_leased RENAME TO job_runs;
CREATE INDEX job_runs_by_start ON job_runs (job, started_at);
CREATE UNIQUE INDEX job_runs_unfinished_key ON job_runs (job) WHERE finished_at IS NULL;

-- Leases in the future, left by a clock that was ahead, are found by these.
CREATE INDEX instances_by_lease ON instances (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX payments_by_lease ON payments (lease_until) WHERE lease_until IS NOT NULL;
