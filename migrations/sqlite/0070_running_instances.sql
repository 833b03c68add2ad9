-- Instances whose pods a look at the cluster may not have shown yet: those that are to run, by their delivery, which most have
-- long had. The indexes before had them in no order, so that all of their entries were read.
CREATE INDEX instances_running ON instances (delivered_at) WHERE desired = 'RUNNING';
CREATE INDEX instances_changing ON instances (delivered_at) WHERE unproven_generation IS NOT NULL AND desired = 'RUNNING';
DROP INDEX instances_undelivered;
DROP INDEX instances_unproven;
-- Instances that may wait for a cluster that is back.
CREATE INDEX instances_failed ON instances (next_attempt_at) WHERE failures > 0 AND status <> 'TERMINATED';
