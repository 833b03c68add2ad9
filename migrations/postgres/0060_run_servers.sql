-- The server that runs it, by the identity in its data folder; after a kill it ends its own leases.
ALTER TABLE job_runs ADD COLUMN lease_server UUID;
