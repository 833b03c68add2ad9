-- What each service was loaded from, so that it stays on sale as it was while its file is wrong.
ALTER TABLE services ADD COLUMN template_file TEXT;
ALTER TABLE services ADD COLUMN template TEXT;
-- Why it cannot be sold, whatever administrators want; null for what can.
ALTER TABLE services ADD COLUMN refused TEXT;

-- Templates that passed the check with a plugin version: the digest of everything that decides it.
-- What failed is checked again, since the machine may have been the reason.
CREATE TABLE template_checks (
    key TEXT PRIMARY KEY NOT NULL,
    passed_at TEXT NOT NULL
) STRICT;
CREATE INDEX template_checks_by_age ON template_checks (passed_at);

-- `plugin@version` of an upload: one version is never two different components.
ALTER TABLE plugin_versions ADD COLUMN release TEXT;
CREATE UNIQUE INDEX plugin_versions_release_key ON plugin_versions (release);
