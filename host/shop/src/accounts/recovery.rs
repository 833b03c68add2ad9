//! New passwords for those who forgot theirs, by [tokens that are mailed](super::mailed_tokens).

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{
    AccountStatus, Accounts, Email, Password, Role, disabled,
    mailed_tokens::{self, Purpose},
    password, store,
};
use crate::{
    Error, Result,
    calendar::json_text,
    crypto,
    db::{Clock, Db},
    ids::UserId,
    outbox::{self, Topic},
    webhooks,
};

/// Makes a token for an account, in place of those that have expired; returns its expiry, too.
///
/// # Errors
/// When the database refuses.
pub async fn new_token(
    db: &Db,
    clock: &Clock,
    user_id: UserId,
    lifetime: TimeDelta,
) -> Result<(String, DateTime<Utc>)> {
    mailed_tokens::make(db, clock, user_id, Purpose::PasswordReset, lifetime).await
}

impl Accounts {
    /// Sends a mail with which the owner of an address chooses a new password. The account is looked up
    /// later, so that neither the answer nor its time tells if there is one. An address that has had its
    /// mails of this hour gets no further one, and the last token stays good.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` when too many were asked for from one address on the network.
    pub async fn ask_reset(&self, email: &Email, from: Option<IpAddr>) -> Result<()> {
        if !self.resets.admit(email, from, self.clock.now())? {
            return Ok(());
        }
        self.mail_to(Topic::PasswordReset, email).await
    }

    pub(super) async fn mail_to(&self, topic: Topic, email: &Email) -> Result<()> {
        let mut conn = self.db.begin().await?;
        // Without a once-key: a request writes one row, which is read once, into one notification for an account and one
        // delivery, and its token is made within the lease of that delivery. Who asks again wants another mail.
        outbox::put_to_address(&mut conn, &self.clock, topic, email.as_str()).await?;
        Ok(conn.commit().await?)
    }

    /// Sets the password of the account that a token was sent to, and ends every way into it: its
    /// sessions, API tokens, and other tokens for a new password. Who has the token reads the account's
    /// mails, so that an address which was never confirmed is confirmed now; whatever was set up in the
    /// account before may be a stranger's who registered that address, and is removed. Of an administrator
    /// nothing is: the mailbox alone takes no second factor away.
    ///
    /// # Errors
    /// `VALIDATION_FAILED` when the token is unknown, was used or has expired; `ACCOUNT_DISABLED`;
    /// `TOO_MANY_REQUESTS` when guessing; `UNAVAILABLE` when too many passwords are being hashed.
    pub async fn reset_password(
        &self,
        token: &str,
        new: Password,
        from: Option<IpAddr>,
    ) -> Result<UserId> {
        let now = self.clock.now();
        let attempt = self.throttle.admit_token(from.into(), now)?;
        // Hashing is costly: only for those with a token.
        let hash = crypto::sha256_hex(token);
        let found = async {
            let mut conn = self.db.read().await?;
            let purpose = Purpose::PasswordReset;
            Ok::<_, Error>(store::mailed_tokens::holder(&mut conn, &hash, purpose, now).await?)
        };
        let (attempt, found) = attempt.unless_failing(found).await?;
        let user_id = found.ok_or_else(mailed_tokens::refusal)?;
        attempt.succeeded();
        password::check_differs(&new, &self.user(user_id).await?.email, "newPassword")?;
        let password_hash = self.hasher.hash(new).await?;

        let mut conn = self.db.begin().await?;
        // The account's row before the token's, as whatever ends such tokens does.
        let user = store::lock(&mut conn, user_id).await?;
        let user = user.ok_or_else(mailed_tokens::refusal)?;
        mailed_tokens::take(&mut conn, token, Purpose::PasswordReset, now).await?;
        if user.status == AccountStatus::Disabled {
            return Err(disabled());
        }
        store::set_password_hash(&mut conn, user_id, &password_hash, now).await?;
        if user.email_verified_at.is_none() {
            // A stranger registers no administrator: what is set up is the owner's own.
            if user.role != Role::Administrator {
                self.drop_two_factor(&mut conn, user_id).await?;
                webhooks::forget(&mut conn, user_id).await?;
            }
            store::confirm_email(&mut conn, user_id, now).await?;
        }
        let user = self.end_all_sessions(&mut conn, user).await?;
        let facts = json!({ "at": json_text(now), "byMail": true });
        let key = user.token_generation.to_string();
        self.tell(&mut conn, (Topic::PasswordChanged, &key), user_id, facts)
            .await?;
        conn.commit().await?;
        self.standings.forget(user_id);
        tracing::info!(user.id = %user_id, "account.password_reset");
        Ok(user_id)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        accounts::{Settings, TokenKeys},
        crypto::{MasterKey, Vault},
        test_database::TestDatabase,
    };

    /// Asking for a mail writes one message, and reads nothing that depends on the account.
    #[tokio::test]
    async fn a_mail_is_asked_for_without_a_look_at_the_accounts() {
        let database = TestDatabase::open().await;
        let keys = TokenKeys::new(&["a secret"], TimeDelta::hours(1)).unwrap();
        let settings = Settings::default();
        let (db, clock) = (database.db.clone(), database.clock.clone());
        let vault = Arc::new(Vault::new(&[MasterKey::generate()]));
        let accounts = Accounts::new(db, clock, keys, vault, &settings);
        let recorder = database.db.record();
        for email in ["ani@example.org", "hantu@example.org"] {
            let email = Email::parse(email).unwrap();
            accounts.ask_reset(&email, None).await.unwrap();
            accounts.ask_confirmation(&email, None).await.unwrap();
        }
        let sent = recorder.statements();
        assert!(!sent.is_empty());
        for statement in sent {
            assert!(
                statement.sql.starts_with("INSERT INTO outbox"),
                "{}",
                statement.sql
            );
        }
    }
}
