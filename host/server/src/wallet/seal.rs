//! Daily seals over the heads of all chains.
//!
//! A chain shows a change in its middle, not that its end was cut off together with the wallet's
//! row. A seal remembers how far each chain had come; seals are chained themselves, so whoever keeps
//! the newest digest elsewhere holds proof of everything before it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::store::{self, SealRow, SealedHead};
use crate::{
    Result,
    app::AppState,
    db::{Conn, new_id},
};

/// The newest seal: keep its digest somewhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Seal {
    /// 1, 2, 3, ...
    pub number: i64,
    pub sealed_at: DateTime<Utc>,
    /// SHA-256 over the digest before it and the heads that moved since.
    pub digest: String,
}

/// Seals every chain that has grown since the last seal; gives how many.
///
/// # Errors
/// When the database refuses.
pub async fn seal(state: &AppState) -> Result<u64> {
    let mut conn = state.db.begin().await?;
    let last = store::last_seal(&mut conn).await?;
    let number = last.as_ref().map_or(0, |seal| seal.number) + 1;
    store::insert_sealed_heads(&mut conn, number).await?;
    let heads = store::sealed_heads(&mut conn, number).await?;
    if heads.is_empty() {
        return Ok(0);
    }
    let previous = last.map(|seal| seal.digest).unwrap_or_default();
    let row = SealRow {
        id: new_id(&state.clock),
        number,
        sealed_at: state.clock.now(),
        digest: digest(&previous, &heads),
    };
    store::insert_seal(&mut conn, &row).await?;
    conn.commit().await?;
    tracing::info!(
        seal.number = number,
        seal.digest = row.digest,
        "ledger.sealed"
    );
    Ok(u64::try_from(heads.len()).unwrap_or(u64::MAX))
}

fn digest(previous: &str, heads: &[SealedHead]) -> String {
    let mut content = format!("dermaga seal 1 {previous}\n");
    for head in heads {
        content.push_str(&format!(
            "{} {} {}\n",
            head.wallet_id, head.position, head.hash
        ));
    }
    hex::encode(Sha256::digest(content))
}

/// Compares all seals with the chains; gives the newest seal, and a sentence for each fault.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn check(conn: &mut Conn) -> Result<(Option<Seal>, Vec<String>)> {
    let mut faults = Vec::new();
    for (wallet_id, number, position) in store::broken_seals(conn).await? {
        faults.push(format!(
            "Wallet {wallet_id} had another entry {position} when seal {number} was made, or has lost it."
        ));
    }
    let mut previous = String::new();
    let mut newest = None;
    for (row, expected) in store::seals(conn).await?.into_iter().zip(1..) {
        let heads = store::sealed_heads(conn, row.number).await?;
        if row.number != expected || digest(&previous, &heads) != row.digest {
            faults.push(format!(
                "Seal {} does not continue the seals before it.",
                row.number
            ));
        }
        previous.clone_from(&row.digest);
        newest = Some(Seal {
            number: row.number,
            sealed_at: row.sealed_at,
            digest: row.digest,
        });
    }
    Ok((newest, faults))
}

/// A wallet, a seal's number and a position.
pub(super) type BrokenSeal = (Uuid, i64, i64);
