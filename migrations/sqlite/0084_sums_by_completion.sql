-- Sums of transactions count them at the moment when they took effect: a top-up is begun on one day and paid on another.
UPDATE transactions SET completed_at = created_at WHERE status IN ('COMPLETED', 'REFUNDED') AND completed_at IS NULL;
CREATE INDEX transactions_by_completion ON transactions (type, completed_at, status, amount)
WHERE status IN ('COMPLETED', 'REFUNDED');
