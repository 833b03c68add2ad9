-- Nothing read these rows.

DROP TABLE outbox;
