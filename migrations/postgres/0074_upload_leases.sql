-- Server that compiles an upload, and the end of its lease, which its signs of life extend. Absent in uploads of servers
-- that know neither.
ALTER TABLE plugin_uploads ADD COLUMN lease_server UUID;
ALTER TABLE plugin_uploads ADD COLUMN lease_until TIMESTAMPTZ;
CREATE INDEX plugin_uploads_by_server ON plugin_uploads (lease_server) WHERE state = 'COMPILING';
