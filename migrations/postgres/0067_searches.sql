-- Searches that find little: a text is looked for along an index that has it, and a smallest amount by its index.

-- Reasons, in the order of the audit trail.
CREATE INDEX audit_events_by_reason ON audit_events (created_at, id, reason) WHERE reason IS NOT NULL;
-- Tickets with their subjects, and the customers whose addresses are looked at.
DROP INDEX tickets_by_age;
CREATE INDEX tickets_by_age ON tickets (created_at, id, status, priority, assignee_id, user_id, subject);
-- Amounts of any size. What is large is found by them, too, and the index has their statistics.
DROP INDEX transactions_large;
DROP STATISTICS transactions_amounts;
CREATE INDEX transactions_by_amount ON transactions (abs(amount), number, amount);
