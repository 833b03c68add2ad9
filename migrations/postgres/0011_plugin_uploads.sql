-- Uploads that are compiled after their answer, and what became of them.
CREATE TABLE plugin_uploads (
    id UUID PRIMARY KEY NOT NULL,
    digest TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('COMPILING', 'STAGED', 'REFUSED')),
    -- Whose component it is, once that is known.
    plugin_id TEXT,
    -- `{"code": ..., "message": ..., "details": [...]}` of one that was refused.
    failure JSONB,
    uploaded_by UUID NOT NULL REFERENCES users (id),
    created_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ
);
-- The same bytes are compiled once at a time.
CREATE UNIQUE INDEX plugin_uploads_compiling_key ON plugin_uploads (digest) WHERE state = 'COMPILING';
