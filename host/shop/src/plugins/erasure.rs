//! Erasure of what decisions about a deleted account say of its person: questions, answers and logs.

use chrono::{DateTime, Utc};

use super::store;
use crate::{
    Error, Result,
    crypto::Vault,
    db::Conn,
    ids::{DecisionId, UserId},
};

/// Purpose of the tags of the vault.
const PURPOSE: &str = "erased-decision";
/// Decisions read at once: an answer may be the manifests of a whole service.
const AT_ONCE: i64 = 50;

/// Erases input, output and logs of the decisions about an account, in the transaction that deletes it or later, and
/// keeps keyed digests of input and output; returns the number of decisions. Id, version, amounts and cost stay.
///
/// # Errors
/// When the database refuses, as it does while the account is not deleted.
pub async fn forget(
    conn: &mut Conn,
    vault: &Vault,
    user_id: UserId,
    now: DateTime<Utc>,
) -> Result<u64> {
    let mut erased = 0;
    loop {
        let page = store::written(conn, user_id, AT_ONCE).await?;
        if page.is_empty() {
            return Ok(erased);
        }
        for decision in &page {
            erase(conn, vault, decision, now).await?;
            erased += 1;
        }
    }
}

async fn erase(
    conn: &mut Conn,
    vault: &Vault,
    decision: &store::Written,
    now: DateTime<Utc>,
) -> Result<()> {
    let id = decision.id;
    let input = tag(vault, id, &decision.input)?;
    let output = decision.output.as_deref();
    let output = output.map(|output| tag(vault, id, output)).transpose()?;
    let erased = store::erase(conn, id, (&input, output.as_deref()), now).await?;
    if erased == 1 {
        return Ok(());
    }
    // Or the caller would read the same page without end.
    Err(Error::internal("a decision was not erased"))
}

/// Keyed, since a short configuration could be guessed from a plain digest; with the id, so that equal texts of two
/// decisions are not seen to be equal.
fn tag(vault: &Vault, id: DecisionId, text: &str) -> Result<String> {
    vault.tag(PURPOSE, &format!("{id}:{text}"))
}
