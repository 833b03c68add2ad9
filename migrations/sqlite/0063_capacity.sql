-- Instances and held places whose pods a look at the cluster may not have shown yet.
CREATE INDEX instances_undelivered
ON instances (subscription_id, final_generation, generation, name, plan_id, cpu_millis, memory_mib, storage_gib, replicas, ready_at, desired)
WHERE ready_at IS NULL AND desired = 'RUNNING';
CREATE INDEX instances_by_ready ON instances (ready_at);
CREATE INDEX instances_unproven ON instances (id) WHERE unproven_generation IS NOT NULL;
CREATE INDEX waitlist_held ON waitlist (held_until) WHERE held_until IS NOT NULL;
