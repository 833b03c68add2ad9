-- How many things a run has to look at, written while it runs; 0 where the job does not count them.
ALTER TABLE job_runs ADD COLUMN total BIGINT NOT NULL DEFAULT 0;
