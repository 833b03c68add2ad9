//! Erasure of what decisions about a deleted account say of its person: questions, answers and logs.

use chrono::{DateTime, Utc};
use serde_json::Value;

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

/// A failed look at the health of an instance that was recorded without an account.
#[derive(Debug)]
pub struct Look {
    pub id: DecisionId,
    /// Name of the instance, which no other one ever has.
    pub instance: Option<String>,
    at: DateTime<Utc>,
}

/// Returns the next of such looks after another one, the oldest first; none after the last.
///
/// # Errors
/// When the database does not answer.
pub async fn looks_without_account(conn: &mut Conn, after: Option<&Look>) -> Result<Vec<Look>> {
    let first = (DateTime::UNIX_EPOCH, DecisionId::MIN);
    let place = after.map_or(first, |look| (look.at, look.id));
    let found = store::unowned_looks(conn, place, AT_ONCE).await?;
    let looks = found.into_iter().map(|found| Look {
        id: found.id,
        instance: instance_in(&found.input),
        at: found.created_at,
    });
    Ok(looks.collect())
}

/// Returns the name of the instance in the input of a look.
fn instance_in(input: &str) -> Option<String> {
    let input: Value = serde_json::from_str(input).ok()?;
    let name = input.pointer("/instance/name")?.as_str()?;
    Some(name.to_owned())
}

/// Assigns such a look to the account of its instance, with which it is erased.
///
/// # Errors
/// When the database refuses, as it does for another account.
pub async fn assign_look(conn: &mut Conn, look: DecisionId, user_id: UserId) -> Result<()> {
    store::assign_look(conn, look, user_id).await?;
    Ok(())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_names_its_instance() {
        for (input, expected) in [
            (
                r#"{"instance":{"config":{"name":"mine"},"name":"n8n-3f9a"},"observed":[]}"#,
                Some("n8n-3f9a"),
            ),
            (r#"{"instance":{},"observed":[{"name":"other"}]}"#, None),
            ("null", None),
            ("", None),
        ] {
            assert_eq!(instance_in(input).as_deref(), expected, "{input}");
        }
    }
}
