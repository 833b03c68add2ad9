-- What one version decided, by time; also asked before a version is deleted.
CREATE INDEX decisions_by_digest ON decisions (digest, created_at);
