//! Daily seals over the heads of all chains.
//!
//! A chain shows a change in its middle, not that its end was cut off together with the wallet's
//! row. A seal remembers how far each chain had come; seals are chained themselves, so the newest
//! digest, kept elsewhere, is proof of everything before it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::Wallets;
use super::{
    journal::PAGE,
    store::{self, SealRow, SealedHead},
};
use crate::{
    Result,
    db::{Conn, new_id},
    ids::UserId,
};

/// The newest seal: keep its digest somewhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Seal {
    /// 1, 2, 3, ...
    pub number: i64,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub sealed_at: DateTime<Utc>,
    /// SHA-256 over the digest before it and the heads that moved since.
    pub digest: String,
}

/// Seals every chain that has grown since the last seal; returns their number.
///
/// # Errors
/// When the database refuses.
pub async fn seal(wallets: &Wallets) -> Result<u64> {
    let mut conn = wallets.db.begin().await?;
    let last = store::last_seal(&mut conn).await?;
    let number = last.as_ref().map_or(0, |seal| seal.number) + 1;
    let heads = store::insert_sealed_heads(&mut conn, number).await?;
    if heads == 0 {
        return Ok(0);
    }
    let previous = last.map(|seal| seal.digest).unwrap_or_default();
    let row = SealRow {
        id: new_id(&wallets.clock),
        number,
        sealed_at: wallets.clock.now(),
        digest: digest(&mut conn, &previous, number).await?,
    };
    store::insert_seal(&mut conn, &row).await?;
    conn.commit().await?;
    tracing::info!(
        seal.number = number,
        seal.digest = row.digest,
        "ledger.sealed"
    );
    Ok(heads)
}

/// The digest over the heads of a seal, a page of which is in memory at a time.
async fn digest(conn: &mut Conn, previous: &str, number: i64) -> Result<String> {
    let mut digest = Sha256::new_with_prefix(format!("dermaga seal 1 {previous}\n"));
    let mut after = UserId::MIN;
    loop {
        let heads = store::sealed_heads(conn, number, after, PAGE).await?;
        for head in &heads {
            let SealedHead {
                wallet_id,
                position,
                hash,
            } = head;
            digest.update(format!("{wallet_id} {position} {hash}\n"));
        }
        match heads.last() {
            Some(last) => after = last.wallet_id,
            None => return Ok(hex::encode(digest.finalize())),
        }
    }
}

/// Compares all seals with the chains; returns the newest seal, and a sentence for each fault.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn check(conn: &mut Conn) -> Result<(Option<Seal>, Vec<String>)> {
    let mut faults = Vec::new();
    for (wallet_id, number, position) in store::broken_seals(conn, PAGE).await? {
        faults.push(format!(
            "Wallet {wallet_id} had another entry {position} when seal {number} was made, or has lost it."
        ));
    }
    let mut previous = String::new();
    let mut newest = None;
    for (row, expected) in store::seals(conn).await?.into_iter().zip(1..) {
        if row.number != expected || digest(conn, &previous, row.number).await? != row.digest {
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
pub(super) type BrokenSeal = (UserId, i64, i64);
