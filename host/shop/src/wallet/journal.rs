//! The whole journal in order, read a page at a time.

use std::collections::{HashMap, VecDeque};

use super::store::{self, EntryRow, PostingRow};
use crate::{
    Result,
    db::Conn,
    ids::{EntryId, UserId},
};

/// Rows that are in memory at a time.
pub(super) const PAGE: i64 = 1_000;

/// An entry with its postings.
pub(super) type Posted = (EntryRow, Vec<PostingRow>);

/// Reads wallet by wallet in the order of their ids, and each by position. Memory does not grow
/// with the journal; each page costs two statements, however many wallets are in it.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Wallet and position of the last entry read.
    after: Option<(UserId, i64)>,
    page: VecDeque<Posted>,
    is_over: bool,
}

impl Journal {
    /// Returns the next entry, or none after the last.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(super) async fn next(&mut self, conn: &mut Conn) -> Result<Option<Posted>> {
        if self.page.is_empty() && !self.is_over {
            self.turn(conn).await?;
        }
        Ok(self.page.pop_front())
    }

    async fn turn(&mut self, conn: &mut Conn) -> Result<()> {
        let (wallet, position) = self.after.unwrap_or((UserId::MIN, 0));
        let entries = store::entries_after(conn, wallet, position, PAGE).await?;
        let mut postings: HashMap<EntryId, Vec<PostingRow>> = HashMap::new();
        for (entry_id, line) in store::postings_of(conn, &entries).await? {
            postings.entry(entry_id).or_default().push(line);
        }
        match entries.last() {
            Some(last) => self.after = Some((last.wallet_id, last.position)),
            None => self.is_over = true,
        }
        self.page = entries
            .into_iter()
            .map(|entry| {
                let lines = postings.remove(&entry.id).unwrap_or_default();
                (entry, lines)
            })
            .collect();
        Ok(())
    }
}
