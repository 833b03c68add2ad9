-- Texts of the catalogue in Indonesian, as the templates have them; NULL where they have none.
ALTER TABLE service_categories ADD COLUMN indonesian_name TEXT;
ALTER TABLE service_categories ADD COLUMN indonesian_description TEXT;
ALTER TABLE services ADD COLUMN indonesian_summary TEXT;
ALTER TABLE services ADD COLUMN indonesian_description TEXT;
-- Titles and descriptions of the form's fields, by their names.
ALTER TABLE services ADD COLUMN indonesian_form TEXT NOT NULL DEFAULT '{}';
ALTER TABLE service_plans ADD COLUMN indonesian_features TEXT;
