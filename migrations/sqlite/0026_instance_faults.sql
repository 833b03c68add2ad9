-- The cause of the failures in a row: another cause begins at one, and those of a cluster that was away are forgotten
-- when it is back.
ALTER TABLE instances ADD COLUMN failure_cause TEXT;

-- The server that works on it, by the identity in its data folder; after a kill it ends its own leases.
ALTER TABLE instances ADD COLUMN lease_server BLOB;
