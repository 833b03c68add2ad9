-- The server that works on the request of a key, by the identity in its data folder; after a kill it frees its own keys.
ALTER TABLE idempotency_keys ADD COLUMN lease_server UUID;
