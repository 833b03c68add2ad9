-- The volume claims that hold an instance's data, by uid and volume: another one is not its data.
ALTER TABLE instances ADD COLUMN claims TEXT NOT NULL DEFAULT '[]';
