-- Uploads that are compiled after their answer, and what became of them.
CREATE TABLE plugin_uploads (
    id BLOB PRIMARY KEY NOT NULL,
    digest TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('COMPILING', 'STAGED', 'REFUSED')),
    -- Whose component it is, once that is known.
    plugin_id TEXT,
    -- `{"code": ..., "message": ..., "details": [...]}` of one that was refused.
    failure TEXT,
    uploaded_by BLOB NOT NULL REFERENCES users (id),
    created_at TEXT NOT NULL,
    finished_at TEXT
) STRICT;
-- The same bytes are compiled once at a time.
CREATE UNIQUE INDEX plugin_uploads_compiling_key ON plugin_uploads (digest) WHERE state = 'COMPILING';
