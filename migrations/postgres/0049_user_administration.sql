-- Acts of administrators on accounts. Those on roles and statuses lock this row first, so that of two at the same
-- moment the second one sees the first, and an administrator is left.
CREATE TABLE administrator_changes (
    id BIGINT PRIMARY KEY NOT NULL CHECK (id = 1),
    changes BIGINT NOT NULL
);
INSERT INTO administrator_changes (id, changes) VALUES (1, 0);
CREATE INDEX users_by_age ON users (created_at, id);
