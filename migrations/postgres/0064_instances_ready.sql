-- Manifests in a folder are delivered, and nothing tells whether they run: what was written is not ready.
ALTER TABLE instances RENAME COLUMN ready_at TO delivered_at;
-- When it was first seen to run.
ALTER TABLE instances ADD COLUMN ready_at TIMESTAMPTZ;
UPDATE instances SET ready_at = delivered_at WHERE status <> 'WRITTEN'
AND NOT EXISTS (SELECT 1 FROM instance_events e WHERE e.instance_id = instances.id AND e.kind = 'WRITTEN');
