-- Daily seals: how far each chain of the ledger had come. Chained and append-only like the ledger.

CREATE TABLE ledger_seals (
    id UUID PRIMARY KEY NOT NULL,
    number BIGINT NOT NULL,
    sealed_at TIMESTAMPTZ NOT NULL,
    -- SHA-256 over the digest before it and the heads of this seal.
    digest TEXT NOT NULL,
    CONSTRAINT ledger_seals_number_key UNIQUE (number)
);

-- The chains that had grown since the seal before.
CREATE TABLE ledger_seal_heads (
    seal_number BIGINT NOT NULL REFERENCES ledger_seals (number) DEFERRABLE INITIALLY DEFERRED,
    wallet_id UUID NOT NULL REFERENCES wallets (user_id),
    position BIGINT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (seal_number, wallet_id)
);
CREATE INDEX ledger_seal_heads_by_wallet ON ledger_seal_heads (wallet_id, position);

CREATE TRIGGER ledger_seals_frozen BEFORE UPDATE OR DELETE ON ledger_seals
FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only();
CREATE TRIGGER ledger_seal_heads_frozen BEFORE UPDATE OR DELETE ON ledger_seal_heads
FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only();

-- Row triggers do not see TRUNCATE.
CREATE TRIGGER journal_entries_kept BEFORE TRUNCATE ON journal_entries
FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
CREATE TRIGGER postings_kept BEFORE TRUNCATE ON postings
FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
CREATE TRIGGER ledger_seals_kept BEFORE TRUNCATE ON ledger_seals
FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
CREATE TRIGGER ledger_seal_heads_kept BEFORE TRUNCATE ON ledger_seal_heads
FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
