-- PostgreSQL numbers transactions by a sequence of its own; nothing changes here.
SELECT 1;
