-- PostgreSQL keeps its write-ahead log by itself; nothing changes here.
SELECT 1;
