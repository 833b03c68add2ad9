//! Confirmation of e-mail addresses by tokens that only their readers can know.
//!
//! A token is made when its mail is written, is stored hashed, works once and for two days.

use std::net::IpAddr;

use chrono::TimeDelta;
use serde_json::json;

use super::{AccountStatus, Accounts, Email, store};
use crate::{
    Error, Result, crypto,
    db::{Clock, Conn, Db, new_id},
    ids::UserId,
    outbox::{self, Topic},
};

/// Time for which a token is good.
const LIFETIME: TimeDelta = TimeDelta::hours(48);
/// Mails that one address on the network, or for one e-mail address, may ask for in an hour.
pub(super) const MOST_AN_HOUR: u32 = 5;

/// Time after which bonuses that were not given are taken up by any server.
const OVERDUE: TimeDelta = TimeDelta::minutes(1);

/// Asks for the mail that confirms an account's address, in the caller's transaction.
pub(super) async fn ask(conn: &mut Conn, clock: &Clock, user_id: UserId) -> Result<()> {
    outbox::put(
        conn,
        clock,
        Topic::EmailConfirmation,
        user_id.into(),
        json!({}),
    )
    .await
}

/// Makes a token for an account, in place of those that have expired.
///
/// # Errors
/// When the database refuses.
pub async fn new_token(db: &Db, clock: &Clock, user_id: UserId) -> Result<String> {
    let (token, now) = (crypto::random_token(), clock.now());
    let mut conn = db.begin().await?;
    store::forget_confirmations(&mut conn, user_id, now).await?;
    let new = store::NewConfirmation {
        id: new_id(clock),
        user_id,
        token_hash: crypto::sha256_hex(&token),
        created_at: now,
        expires_at: now + LIFETIME,
    };
    store::insert_confirmation(&mut conn, &new).await?;
    conn.commit().await?;
    Ok(token)
}

impl Accounts {
    /// Confirms the address of the account that a token was sent to; the account's other tokens end.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when the token is unknown, was used or has expired.
    pub async fn confirm_email(&self, token: &str) -> Result<UserId> {
        let now = self.clock.now();
        let mut conn = self.db.begin().await?;
        let hash = crypto::sha256_hex(token);
        let user_id = store::use_confirmation(&mut conn, &hash, now).await?;
        let user_id = user_id.ok_or_else(|| {
            Error::invalid(
                "token",
                "is unknown, was used or has expired; ask for another mail",
            )
        })?;
        store::confirm_email(&mut conn, user_id, now).await?;
        conn.commit().await?;
        tracing::info!(user.id = %user_id, "account.email_confirmed");
        Ok(user_id)
    }

    /// Sends the mail again to an address that waits for its confirmation. The answer is the same
    /// for every address.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` when too many were asked for.
    pub async fn ask_confirmation(&self, email: &Email, from: Option<IpAddr>) -> Result<()> {
        let now = self.clock.now();
        self.confirmations.admit(from.into(), now)?;
        self.confirmations_of
            .admit(email.as_str().to_owned(), now)?;
        let found = store::by_email(&mut self.db.read().await?, email.as_str()).await?;
        let waits = found.filter(|user| {
            user.email_verified_at.is_none() && user.status == AccountStatus::Active
        });
        if let Some(user) = waits {
            let mut conn = self.db.begin().await?;
            ask(&mut conn, &self.clock, user.id).await?;
            conn.commit().await?;
        }
        Ok(())
    }

    /// Returns accounts whose bonuses have been due for a minute, since a server stopped before it
    /// gave them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn bonuses_due(&self, limit: i64) -> Result<Vec<UserId>> {
        let until = self.clock.now() - OVERDUE;
        Ok(store::bonuses_due(&mut self.db.read().await?, until, limit).await?)
    }

    /// Takes an overdue account for this server alone, until it is overdue again; false when another
    /// server took it.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn take_bonuses(&self, user_id: UserId) -> Result<bool> {
        let now = self.clock.now();
        let mut conn = self.db.begin().await?;
        let taken = store::take_bonuses(&mut conn, user_id, now - OVERDUE, now).await?;
        conn.commit().await?;
        Ok(taken)
    }

    /// Notes that an account's bonuses were given, or refused.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn bonuses_given(&self, user_id: UserId) -> Result<()> {
        let mut conn = self.db.begin().await?;
        store::bonuses_given(&mut conn, user_id).await?;
        Ok(conn.commit().await?)
    }
}
