-- A run is leased like an instance and a payment: by a holder, until a moment, or by nobody.

ALTER TABLE job_runs ADD COLUMN lease_holder UUID;
ALTER TABLE job_runs ALTER COLUMN lease_until DROP NOT NULL;
UPDATE job_runs SET lease_until = NULL;

-- Leases in the future, left by a clock that was ahead, are found by these.
CREATE INDEX instances_by_lease ON instances (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX payments_by_lease ON payments (lease_until) WHERE lease_until IS NOT NULL;
