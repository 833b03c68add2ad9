-- Moment of the next look at an instance at rest, as its last look wrote it into `next_attempt_at`, too. While both are
-- the same, only the clock asks for that look.
ALTER TABLE instances ADD COLUMN rests_until TEXT;
