-- Daily seals: how far each chain of the ledger had come. Chained and append-only like the ledger.

CREATE TABLE ledger_seals (
    id BLOB PRIMARY KEY NOT NULL,
    number INTEGER NOT NULL,
    sealed_at TEXT NOT NULL,
    -- SHA-256 over the digest before it and the heads of this seal.
    digest TEXT NOT NULL,
    CONSTRAINT ledger_seals_number_key UNIQUE (number)
) STRICT;

-- The chains that had grown since the seal before.
CREATE TABLE ledger_seal_heads (
    seal_number INTEGER NOT NULL REFERENCES ledger_seals (number) DEFERRABLE INITIALLY DEFERRED,
    wallet_id BLOB NOT NULL REFERENCES wallets (user_id),
    position INTEGER NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (seal_number, wallet_id)
) STRICT;
CREATE INDEX ledger_seal_heads_by_wallet ON ledger_seal_heads (wallet_id, position);

CREATE TRIGGER ledger_seals_frozen BEFORE UPDATE ON ledger_seals
BEGIN SELECT RAISE(ABORT, 'ledger: seals are append-only'); END;
CREATE TRIGGER ledger_seals_kept BEFORE DELETE ON ledger_seals
BEGIN SELECT RAISE(ABORT, 'ledger: seals are append-only'); END;
CREATE TRIGGER ledger_seal_heads_frozen BEFORE UPDATE ON ledger_seal_heads
BEGIN SELECT RAISE(ABORT, 'ledger: seals are append-only'); END;
CREATE TRIGGER ledger_seal_heads_kept BEFORE DELETE ON ledger_seal_heads
BEGIN SELECT RAISE(ABORT, 'ledger: seals are append-only'); END;
