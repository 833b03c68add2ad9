-- Time at which an administrator asked for all objects of an instance to be applied again, until a pass of any server
-- has done that: each server remembers by itself what it applied.
ALTER TABLE instances ADD COLUMN reapply_asked_at TEXT;
