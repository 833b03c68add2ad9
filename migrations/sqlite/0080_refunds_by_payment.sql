-- Refunds of a payment, for the archive of the account.
CREATE INDEX payment_refunds_by_payment ON payment_refunds (payment_id, created_at, id);
