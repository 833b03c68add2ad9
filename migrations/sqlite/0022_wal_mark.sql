-- Changed at the beginning of each write-ahead log: which file the log continues. A log that was left
-- beside a restored database mentions other values.
CREATE TABLE wal_mark (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    -- A prefix, the value before and the value after, each of these 32 hexadecimal digits.
    mark TEXT NOT NULL
) STRICT;
INSERT INTO wal_mark (id, mark)
VALUES (1, 'dermaga-wal:' || lower(hex(randomblob(16))) || ':' || lower(hex(randomblob(16))));
