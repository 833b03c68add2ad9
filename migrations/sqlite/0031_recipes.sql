-- What an instance was rendered from, besides its plan, when it was last seen to be well, and the decision about its
-- manifests then. A change that does not work goes back to it.
ALTER TABLE instances ADD COLUMN good_digest TEXT REFERENCES plugin_versions (digest);
ALTER TABLE instances ADD COLUMN good_settings TEXT;
ALTER TABLE instances ADD COLUMN good_config TEXT;
ALTER TABLE instances ADD COLUMN good_decision_id BLOB REFERENCES decisions (id);
-- The generation of a change that is not proven to work yet, and since when the cluster works on it.
ALTER TABLE instances ADD COLUMN unproven_generation INTEGER;
ALTER TABLE instances ADD COLUMN rollout_since TEXT;
-- The last change, when it did not work: `{"at","change","reason"}`.
ALTER TABLE instances ADD COLUMN undone TEXT;

UPDATE instances SET good_digest = moved_from, good_settings = moved_from_settings, good_config = config,
    unproven_generation = generation
WHERE moved_from IS NOT NULL;
ALTER TABLE instances DROP COLUMN moved_from;
ALTER TABLE instances DROP COLUMN moved_from_settings;
CREATE INDEX instances_by_good_digest ON instances (good_digest);
CREATE INDEX instances_by_plan ON instances (plan_id);
