-- Names the request for a top-up by its Idempotency-Key, until it is answered; absent without one.
ALTER TABLE payments ADD COLUMN intent TEXT;
CREATE UNIQUE INDEX payments_intent ON payments (intent) WHERE intent IS NOT NULL;
