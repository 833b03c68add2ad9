-- What the payer paid on top of the amount, by the gateway's own word; it never reaches the wallet.
ALTER TABLE payments ADD COLUMN fee BIGINT NOT NULL DEFAULT 0 CHECK (fee >= 0);
-- No customer's request asks the gateway about it before this moment.
ALTER TABLE payments ADD COLUMN ask_after TIMESTAMPTZ;
-- Why what the gateway says of it cannot be used, in words; null when all is clear.
ALTER TABLE payments ADD COLUMN problem TEXT;

-- Counts an administrator's changes, so that a use judged by an earlier reading is not taken.
ALTER TABLE coupons ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
