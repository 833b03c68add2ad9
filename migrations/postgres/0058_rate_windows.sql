-- Requests that were taken in the running window of a class and party, by all servers. Unlogged: a database that
-- crashes forgets counts of a minute, and no request waits for the disk.
CREATE UNLOGGED TABLE rate_windows (
    class TEXT NOT NULL,
    -- A network's address, or an account's id.
    party TEXT NOT NULL,
    used BIGINT NOT NULL,
    -- Part of them that the last server took in advance.
    portion BIGINT NOT NULL,
    -- Milliseconds since 1970 by the database's clock.
    ends_at BIGINT NOT NULL,
    PRIMARY KEY (class, party)
);
CREATE INDEX rate_windows_by_end ON rate_windows (ends_at);
-- The clock of all windows, whatever the clocks of servers say.
CREATE VIEW rate_clock AS SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now;
