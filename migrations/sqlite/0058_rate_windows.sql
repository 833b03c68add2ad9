-- Requests that were taken in the running window of a class and party, by all servers. Empty on SQLite, whose one
-- server counts in its memory.
CREATE TABLE rate_windows (
    class TEXT NOT NULL,
    -- A network's address, or an account's id.
    party TEXT NOT NULL,
    used INTEGER NOT NULL,
    -- Part of them that the last server took in advance.
    portion INTEGER NOT NULL,
    -- Milliseconds since 1970 by the database's clock.
    ends_at INTEGER NOT NULL,
    PRIMARY KEY (class, party)
) STRICT;
CREATE INDEX rate_windows_by_end ON rate_windows (ends_at);
-- The clock of all windows, whatever the clocks of servers say.
CREATE VIEW rate_clock AS SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS now;
