-- Fingerprint of the last recipe (plugin version, settings, images and size) that an instance was moved to and that did
-- not work, until the same works: it halts the move of other instances to the same.
ALTER TABLE instances ADD COLUMN failed_recipe TEXT;
CREATE INDEX instances_failed_recipes ON instances (plan_id) WHERE failed_recipe IS NOT NULL;
