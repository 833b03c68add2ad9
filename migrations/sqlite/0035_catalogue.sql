-- Names of the fields that administrators edited, with a blank around each. They keep their values over the
-- template until they are reset.
ALTER TABLE services ADD COLUMN edited TEXT NOT NULL DEFAULT '';
ALTER TABLE service_plans ADD COLUMN edited TEXT NOT NULL DEFAULT '';
ALTER TABLE service_categories ADD COLUMN edited TEXT NOT NULL DEFAULT '';

-- Sold before, and kept for those who bought it.
ALTER TABLE services ADD COLUMN retired_at TEXT;
ALTER TABLE service_plans ADD COLUMN retired_at TEXT;

-- Categories in the order of their positions, in one level of categories above them.
ALTER TABLE service_categories ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
ALTER TABLE service_categories ADD COLUMN parent_id BLOB REFERENCES service_categories (id);

-- Quotes go with the plan that is deleted.
CREATE INDEX quotes_by_plan ON quotes (plan_id);
