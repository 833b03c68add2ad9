-- The history of an instance's health, which is read on by cursors: its order is that of one index.
DROP INDEX health_spans_by_instance;
CREATE INDEX health_spans_by_instance ON health_spans (instance_id, since, id);
