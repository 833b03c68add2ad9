//! The whole ledger in a file, for auditors: with it anybody can prove the books without us.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{
    journal::Journal,
    ledger,
    store::{EntryRow, PostingRow},
};
use crate::{Result, db::Db};

/// Format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A JSON object for each entry. Without its `hash`, written with sorted keys and no spaces, it
    /// is what SHA-256 made `hash` of; `previous` is the hash of the entry before in that wallet.
    Jsonl,
    /// A line for each posting, for spreadsheets.
    Csv,
}

const COLUMNS: [&str; 12] = [
    "wallet",
    "position",
    "entry",
    "posted_at",
    "transaction",
    "idempotency_key",
    "previous",
    "hash",
    "line",
    "account",
    "user",
    "amount",
];

/// Writes every entry, wallet by wallet in the order of their ids, out of one snapshot; returns the
/// number of entries. Holds one page of entries in memory at a time.
///
/// # Errors
/// When the database does not answer, or the output takes no more.
pub async fn export(db: &Db, format: ExportFormat, out: impl Write + Send) -> Result<u64> {
    let mut sink = Sink::new(format, out).map_err(crate::Error::internal)?;
    let mut conn = db.snapshot().await?;
    let mut written = 0;
    let mut journal = Journal::default();
    while let Some((entry, lines)) = journal.next(&mut conn).await? {
        sink.entry(&entry, &lines).map_err(crate::Error::internal)?;
        written += 1;
    }
    sink.finish().map_err(crate::Error::internal)?;
    Ok(written)
}

enum Sink<W: Write> {
    Jsonl(W),
    Csv(Box<csv::Writer<W>>),
}

impl<W: Write> Sink<W> {
    fn new(format: ExportFormat, out: W) -> io::Result<Self> {
        Ok(match format {
            ExportFormat::Jsonl => Self::Jsonl(out),
            ExportFormat::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(COLUMNS)?;
                Self::Csv(Box::new(writer))
            }
        })
    }

    fn entry(&mut self, entry: &EntryRow, lines: &[PostingRow]) -> io::Result<()> {
        match self {
            Self::Jsonl(out) => writeln!(out, "{}", json_line(entry, lines)),
            Self::Csv(out) => lines.iter().try_for_each(|line| {
                let user = line.user_id.map(|id| id.to_string()).unwrap_or_default();
                Ok(out.write_record([
                    entry.wallet_id.to_string().as_str(),
                    &entry.position.to_string(),
                    &entry.id.to_string(),
                    &entry.posted_at.to_rfc3339(),
                    &entry.transaction_id.to_string(),
                    &crate::csv::cell(&entry.idempotency_key),
                    &entry.previous_hash,
                    &entry.hash,
                    &line.line.to_string(),
                    line.account.as_str(),
                    &user,
                    &line.amount.get().to_string(),
                ])?)
            }),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Jsonl(mut out) => out.flush(),
            Self::Csv(mut out) => out.flush(),
        }
    }
}

/// The hashed content, and the hash.
fn json_line(entry: &EntryRow, lines: &[PostingRow]) -> String {
    let mut content = ledger::content(entry, lines);
    if let Value::Object(fields) = &mut content {
        fields.insert("hash".to_owned(), json!(entry.hash));
    }
    dermaga_runtime::canonical_json(&content)
}
