//! Tokens that only the readers of an account's mails can know.
//!
//! A token is made when its mail is written, so that no table and no queue has it; it is stored
//! hashed, works once, and expires.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Email,
    store::mailed_tokens::{self, NewMailedToken},
    throttle::Guesser,
};
use crate::{
    Error, Result, crypto,
    db::{Clock, Conn, Db, new_id},
    ids::UserId,
    owners, text_enum,
    throttle::Throttle,
};

/// Mails that one address on the network, or for one e-mail address, may ask for in an hour, on one server.
const MOST_AN_HOUR: u32 = 5;

text_enum! {
    /// Use of a token.
    pub enum Purpose {
        /// Confirms that the address is read by the owner of the account.
        Confirmation = "CONFIRMATION",
        /// Sets a new password without the old one.
        PasswordReset = "PASSWORD_RESET",
    }
}

/// Makes a token for an account, in place of those that have expired.
///
/// # Errors
/// `NOT_FOUND` when the account is deleted: its mail was being written meanwhile.
pub(super) async fn make(
    db: &Db,
    clock: &Clock,
    user_id: UserId,
    purpose: Purpose,
    lifetime: TimeDelta,
) -> Result<(String, DateTime<Utc>)> {
    let (token, now) = (crypto::random_token(), clock.now());
    let expires_at = now + lifetime;
    let mut conn = db.begin().await?;
    // A disabled account has its mails, too.
    if owners::keep(&mut conn, user_id).await?.is_none() {
        return Err(Error::not_found("account"));
    }
    mailed_tokens::forget_expired(&mut conn, user_id, now).await?;
    let new = NewMailedToken {
        id: new_id(clock),
        user_id,
        purpose,
        token_hash: crypto::sha256_hex(&token),
        created_at: now,
        expires_at,
    };
    mailed_tokens::insert(&mut conn, &new).await?;
    conn.commit().await?;
    Ok((token, expires_at))
}

/// Uses up a token that is good, in the caller's transaction; returns its account.
///
/// # Errors
/// `VALIDATION_FAILED` when the token is unknown, was used or has expired.
pub(super) async fn take(
    conn: &mut Conn,
    token: &str,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<UserId> {
    let hash = crypto::sha256_hex(token);
    let user_id = mailed_tokens::take(conn, &hash, purpose, now).await?;
    user_id.ok_or_else(refusal)
}

/// Returns the refusal of a token.
pub(super) fn refusal() -> Error {
    Error::invalid(
        "token",
        "is unknown, was used or has expired; ask for another mail",
    )
}

/// Limits of mails of one purpose, by who asks and by the address.
#[derive(Debug)]
pub(super) struct Limits {
    by_guesser: Throttle<Guesser>,
    by_email: Throttle<String>,
}

impl Default for Limits {
    fn default() -> Self {
        let hour = TimeDelta::hours(1);
        Self {
            by_guesser: Throttle::new(MOST_AN_HOUR, hour, "mails"),
            by_email: Throttle::new(MOST_AN_HOUR, hour, "mails"),
        }
    }
}

impl Limits {
    /// Counts a mail. Returns false when the e-mail address has had enough for now: a stranger who asks
    /// for it must not keep its owner from an answer, nor fill the inbox; the last mail stays good.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` for who asks too often, for addresses with an account and without one alike.
    pub(super) fn admit(
        &self,
        email: &Email,
        from: Option<IpAddr>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        self.by_guesser.admit(from.into(), now)?;
        let counted = self.by_email.admit(email.as_str().to_owned(), now);
        Ok(counted.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fetch_one, test_database::TestDatabase};

    async fn made(database: &TestDatabase) -> Result<(String, DateTime<Utc>)> {
        let (db, clock) = (&database.db, &database.clock);
        let (user_id, hour) = (database.user_id, TimeDelta::hours(1));
        make(db, clock, user_id, Purpose::PasswordReset, hour).await
    }

    async fn kept(database: &TestDatabase) -> i64 {
        let mut conn = database.db.read().await.unwrap();
        let sql = "SELECT count(*) FROM mailed_tokens";
        let (count,) = fetch_one!(conn, (i64,), sql).unwrap();
        count
    }

    /// A mail that is written while its account is deleted leaves no token.
    #[tokio::test]
    async fn a_deleted_account_gets_no_token() {
        let database = TestDatabase::open().await;
        database.sql("UPDATE users SET status = 'DISABLED'").await;
        made(&database).await.unwrap();
        assert_eq!(kept(&database).await, 1);
        database
            .sql("UPDATE users SET deleted_at = created_at")
            .await;
        assert!(made(&database).await.is_err());
        assert_eq!(kept(&database).await, 1);
    }
}
