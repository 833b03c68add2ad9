-- Lists that are read on by cursors: the order of each is that of one index.
DROP INDEX instance_events_by_instance;
CREATE INDEX instance_events_by_instance ON instance_events (instance_id, created_at, id);
DROP INDEX job_runs_by_start;
CREATE INDEX job_runs_by_start ON job_runs (job, started_at, id);
