//! Confirmation of e-mail addresses by [tokens that are mailed to them](super::mailed_tokens), and by a proof
//! that their reader is the owner of the account.

use std::net::IpAddr;

use chrono::TimeDelta;
use serde_json::json;

use super::{
    AccountStatus, Accounts, Email, Identity, Password, disabled,
    mailed_tokens::{self, Purpose},
    still_as_seen, store,
};
use crate::{
    Error, Result, crypto,
    db::{Clock, Conn, Db},
    ids::UserId,
    outbox::{self, Topic},
    owners,
};

/// Time for which a token is good.
const LIFETIME: TimeDelta = TimeDelta::hours(48);

/// Key of the one mail that a new account has unasked.
const REGISTERED: &str = "registered";

/// Time after which bonuses that were not given are taken up by any server.
const OVERDUE: TimeDelta = TimeDelta::minutes(1);

/// Proof that the reader of a mail signs in to the account that its token was made for.
#[derive(Debug)]
pub enum Proof {
    Session(Identity),
    /// Password of the account, and the address on the network that it was sent from.
    Password(Password, Option<IpAddr>),
}

/// Asks for the mail that confirms the address of a new account, once, in the caller's transaction.
pub(super) async fn ask(conn: &mut Conn, clock: &Clock, user_id: UserId) -> Result<()> {
    // Its token is made when the mail is sent; those that its owner asks for are counted by address.
    let what = (Topic::EmailConfirmation, user_id.into());
    outbox::put_once(conn, clock, what, REGISTERED, json!({})).await?;
    Ok(())
}

/// Makes a token for an account, in place of those that have expired.
///
/// # Errors
/// When the database refuses.
pub async fn new_token(db: &Db, clock: &Clock, user_id: UserId) -> Result<String> {
    let made = mailed_tokens::make(db, clock, user_id, Purpose::Confirmation, LIFETIME).await?;
    Ok(made.0)
}

impl Accounts {
    /// Confirms the address of the account that a token was sent to; the account's other tokens end. The
    /// token alone confirms nothing: the account may be a stranger's who registered the address of another,
    /// and would know the password of an account that its reader has confirmed.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when the token is unknown, was used or has expired, and when the proof is
    /// missing, wrong or of another account; `ACCOUNT_DISABLED`; `TOO_MANY_REQUESTS` when guessing;
    /// `UNAVAILABLE` when too many passwords are being checked; `UNAUTHENTICATED` when the session has
    /// ended; `INVALID_CREDENTIALS` when the password was changed meanwhile.
    pub async fn confirm_email(&self, token: &str, proof: Option<Proof>) -> Result<UserId> {
        let now = self.clock.now();
        let (hash, purpose) = (crypto::sha256_hex(token), Purpose::Confirmation);
        let mut conn = self.db.read().await?;
        let found = store::mailed_tokens::holder(&mut conn, &hash, purpose, now).await?;
        drop(conn);
        let user_id = found.ok_or_else(mailed_tokens::refusal)?;
        // The account's row before the token's, as its deletion does.
        let mut conn = match proof {
            Some(Proof::Session(identity)) if identity.user_id == user_id => {
                let mut conn = self.db.begin().await?;
                owners::still_signed_in(&mut conn, identity.signed_in()).await?;
                conn
            }
            Some(Proof::Password(password, from)) => {
                self.shown_password(user_id, password, from).await?
            }
            Some(Proof::Session(_)) | None => return Err(unproven()),
        };
        mailed_tokens::take(&mut conn, token, purpose, now).await?;
        store::confirm_email(&mut conn, user_id, now).await?;
        conn.commit().await?;
        tracing::info!(user.id = %user_id, "account.email_confirmed");
        Ok(user_id)
    }

    /// Checks the password of an account that is not signed in to, and opens a transaction that has locked
    /// the account.
    async fn shown_password(
        &self,
        user_id: UserId,
        password: Password,
        from: Option<IpAddr>,
    ) -> Result<Conn> {
        let user = self.user(user_id).await?;
        self.check_password_of(from.into(), &user, password, "password")
            .await?;
        if user.status == AccountStatus::Disabled {
            return Err(disabled());
        }
        let mut conn = self.db.begin().await?;
        // Hashing takes a while, in which the password may be replaced or the account disabled.
        still_as_seen(&mut conn, &user).await?;
        Ok(conn)
    }

    /// Sends the mail again to an address that waits for its confirmation. The account is looked up
    /// later, so that neither the answer nor its time tells if there is one. An address that has had its
    /// mails of this hour gets no further one.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` when too many were asked for from one address on the network.
    pub async fn ask_confirmation(&self, email: &Email, from: Option<IpAddr>) -> Result<()> {
        if !self.confirmations.admit(email, from, self.clock.now())? {
            return Ok(());
        }
        self.mail_to(Topic::EmailConfirmation, email).await
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

/// Returns the refusal of a token without a proof; it names the way of those who registered nothing.
fn unproven() -> Error {
    Error::invalid(
        "password",
        "must be sent, unless you are signed in to this account; if you chose none, ask for a new one: POST /api/auth/forgot-password",
    )
}
