-- Requests of the window before, which count for the part of it that the running minute still covers.
ALTER TABLE rate_windows ADD COLUMN used_before BIGINT NOT NULL DEFAULT 0;
