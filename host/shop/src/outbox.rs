//! Messages to people about what happened, written in the transaction of its cause.
//!
//! A message is there if and only if its cause is, whatever happens to the server in between. The
//! notifications read it; what they have read is purged when it is old.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    Result,
    db::{Clock, Conn, new_id},
    delete_free, execute, fetch_all, fetch_one, text_enum,
};

text_enum! {
    /// Kind of what happened. The subject is its customer, but where it is said otherwise.
    #[schema(as = NotificationKind)]
    pub enum Topic {
        /// A period ends soon, and the wallet does not hold enough for the next one.
        LowCreditWarning = "LOW_CREDIT_WARNING",
        /// The next period was paid.
        RenewalSuccess = "RENEWAL_SUCCESS",
        /// The next period could not be paid; the service runs on for a while.
        RenewalFailure = "RENEWAL_FAILURE",
        /// A service was stopped, since its next period was not paid.
        SubscriptionSuspended = "SUBSCRIPTION_SUSPENDED",
        /// A subscription has ended, and its data is removed.
        SubscriptionEnded = "SUBSCRIPTION_ENDED",
        /// The time in which an unpaid service runs on ends soon.
        GracePeriodReminder = "GRACE_PERIOD_REMINDER",
        /// Figures of the time since the last summary, for [`ADMINISTRATORS`].
        AdminBillingSummary = "ADMIN_BILLING_SUMMARY",
        /// Money has come to the wallet.
        TopUpReceived = "TOP_UP_RECEIVED",
        /// An instance runs for the first time.
        InstanceReady = "INSTANCE_READY",
        /// Restarts did not mend an instance.
        InstanceFailed = "INSTANCE_FAILED",
        /// A question was answered.
        TicketAnswered = "TICKET_ANSWERED",
        /// An image on sale is past its support, or was not checked for long; for
        /// [`ADMINISTRATORS`].
        ImageOld = "IMAGE_OLD",
        /// The price of the next period changes.
        PriceChange = "PRICE_CHANGE",
        /// A plan that was sold out can be bought again: a place is held for the customer who waited.
        QuotaFree = "QUOTA_FREE",
        /// The password of the account was changed.
        PasswordChanged = "PASSWORD_CHANGED",
        /// A key for programs was made for the account.
        ApiTokenCreated = "API_TOKEN_CREATED",
        /// The account was signed in to from a device that none of its sessions had before.
        NewDevice = "NEW_DEVICE",
        /// All sessions and keys of the account were ended, or one session whose token was used twice.
        SessionsEnded = "SESSIONS_ENDED",
        /// Two-factor sign-in was turned on or off, a recovery code was used, or codes were guessed.
        TwoFactorChanged = "TWO_FACTOR_CHANGED",
        /// An administrator changed the role of the account, disabled it or enabled it again.
        AccountChanged = "ACCOUNT_CHANGED",
        /// An administrator signed in to the account to look at it.
        AccountLookedAt = "ACCOUNT_LOOKED_AT",
        /// A webhook was disabled, since it is gone or has failed for days; for [`ADMINISTRATORS`]
        /// when it is the shop's.
        WebhookDisabled = "WEBHOOK_DISABLED",
        /// An address waits to be confirmed; goes out by e-mail alone.
        EmailConfirmation = "EMAIL_CONFIRMATION",
        /// A new password was asked for by a person who forgot the old one; goes out by e-mail alone.
        PasswordReset = "PASSWORD_RESET",
    }
}

impl Topic {
    /// Returns true for what its reader must know: it cannot be turned off.
    pub const fn is_required(self) -> bool {
        matches!(
            self,
            Self::RenewalFailure
                | Self::SubscriptionSuspended
                | Self::SubscriptionEnded
                | Self::PriceChange
                | Self::PasswordChanged
                | Self::ApiTokenCreated
                | Self::NewDevice
                | Self::SessionsEnded
                | Self::TwoFactorChanged
                | Self::AccountChanged
                | Self::AccountLookedAt
                | Self::WebhookDisabled
                | Self::EmailConfirmation
                | Self::PasswordReset
        )
    }

    /// Returns true for what happened to the account itself, as its sign-ins and keys.
    pub const fn is_about_security(self) -> bool {
        matches!(
            self,
            Self::PasswordChanged
                | Self::ApiTokenCreated
                | Self::NewDevice
                | Self::SessionsEnded
                | Self::TwoFactorChanged
                | Self::AccountChanged
                | Self::AccountLookedAt
        )
    }

    /// Returns true for mails that prove who reads an address: no inbox and no webhook has them.
    pub const fn is_mail_only(self) -> bool {
        matches!(self, Self::EmailConfirmation | Self::PasswordReset)
    }

    /// Returns true for what only administrators are to know.
    pub const fn is_for_administrators(self) -> bool {
        matches!(self, Self::AdminBillingSummary | Self::ImageOld)
    }
}

/// Subject of what all administrators are to know.
pub const ADMINISTRATORS: Uuid = Uuid::nil();

/// Subject of what is for the account with the address in the payload, if there is one: it is looked
/// up when the message is read.
pub const ADDRESSEE: Uuid = Uuid::max();

/// A message that waits to be read.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Message {
    pub id: Uuid,
    pub topic: Topic,
    pub subject_id: Uuid,
    pub payload: Json<Value>,
    pub created_at: DateTime<Utc>,
}

/// Number of entries of a queue that wait, and the time of the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    pub waiting: i64,
    pub oldest: Option<DateTime<Utc>>,
}

impl From<(i64, Option<DateTime<Utc>>)> for Backlog {
    fn from((waiting, oldest): (i64, Option<DateTime<Utc>>)) -> Self {
        Self { waiting, oldest }
    }
}

impl Backlog {
    /// Shows it as metrics of a queue.
    pub fn show(self, queue: &'static str, now: DateTime<Utc>) {
        let age = self.oldest.map_or(TimeDelta::zero(), |oldest| now - oldest);
        metrics::gauge!("dermaga_queue_waiting", "queue" => queue).set(self.waiting as f64);
        metrics::gauge!("dermaga_queue_oldest_seconds", "queue" => queue)
            .set(age.max(TimeDelta::zero()).as_seconds_f64());
    }
}

/// Returns the messages that were not read yet, counted.
///
/// # Errors
/// When the database does not answer.
pub async fn backlog(conn: &mut Conn) -> Result<Backlog> {
    let sql = "SELECT count(*), min(created_at) FROM outbox WHERE handled_at IS NULL";
    let found = fetch_one!(conn, (i64, Option<DateTime<Utc>>), sql)?;
    Ok(found.into())
}

/// Writes what happened to a subject, in the caller's transaction.
///
/// # Errors
/// When the database refuses.
pub async fn put(
    conn: &mut Conn,
    clock: &Clock,
    topic: Topic,
    subject_id: Uuid,
    payload: Value,
) -> Result<()> {
    insert(conn, clock, (topic, subject_id), None, payload).await?;
    Ok(())
}

/// Writes a message to the account with an e-mail address, without a look at the accounts: it is
/// the same for an address that has none.
///
/// # Errors
/// When the database refuses.
pub async fn put_to_address(
    conn: &mut Conn,
    clock: &Clock,
    topic: Topic,
    email: &str,
) -> Result<()> {
    put(conn, clock, topic, ADDRESSEE, json!({ "email": email })).await
}

/// Writes what happened as [`put`] does, unless the same was written before: the key names the
/// cause and its period. Returns true when it is new.
///
/// # Errors
/// When the database refuses.
pub async fn put_once(
    conn: &mut Conn,
    clock: &Clock,
    (topic, subject_id): (Topic, Uuid),
    key: &str,
    payload: Value,
) -> Result<bool> {
    insert(conn, clock, (topic, subject_id), Some(key), payload).await
}

async fn insert(
    conn: &mut Conn,
    clock: &Clock,
    (topic, subject_id): (Topic, Uuid),
    key: Option<&str>,
    payload: Value,
) -> Result<bool> {
    let sql = "INSERT INTO outbox (id, topic, subject_id, once_key, payload, created_at) VALUES ($1, $2, $3, $4, $5, $6) \
               ON CONFLICT (topic, subject_id, once_key) WHERE once_key IS NOT NULL DO NOTHING";
    let (id, now) = (new_id::<Uuid>(clock), clock.now());
    let payload = Json(payload);
    Ok(execute!(conn, sql, id, topic, subject_id, key, payload, now)? == 1)
}

/// Returns the last moment that a message of a topic to a subject covers, by the `until` of its payload, where one
/// that is kept has it.
///
/// # Errors
/// When the database does not answer.
pub async fn covered_until(
    conn: &mut Conn,
    (topic, subject_id): (Topic, Uuid),
) -> Result<Option<DateTime<Utc>>> {
    // Moments in JSON are in order as texts, too.
    let sql = "SELECT max(payload ->> 'until') FROM outbox WHERE topic = $1 AND subject_id = $2";
    let (until,) = fetch_one!(conn, (Option<String>,), sql, topic, subject_id)?;
    Ok(until.and_then(|until| until.parse().ok()))
}

/// Returns the messages that were not read yet, the oldest first.
///
/// # Errors
/// When the database does not answer.
pub async fn waiting(conn: &mut Conn, limit: i64) -> Result<Vec<Message>> {
    let sql = "SELECT id, topic, subject_id, payload, created_at FROM outbox WHERE handled_at IS NULL \
               ORDER BY created_at, id LIMIT $1";
    Ok(fetch_all!(conn, Message, sql, limit)?)
}

/// Marks a message whose row is free. SQLite's writer has every row.
const TAKE_FREE: &str = "UPDATE outbox SET handled_at = $2 WHERE id = \
    (SELECT id FROM outbox WHERE id = $1 AND handled_at IS NULL FOR NO KEY UPDATE SKIP LOCKED)";

/// Marks a message as read, in the transaction of what follows from it; false when another server
/// did, or has its row locked. It waits for none: the transaction may have locks of other messages' readers,
/// which the deletion of an account, that has this row, waits for.
///
/// # Errors
/// When the database refuses.
pub async fn take(conn: &mut Conn, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
    let sql = "UPDATE outbox SET handled_at = $2 WHERE id = $1 AND handled_at IS NULL";
    let is_postgres = conn.is_postgres();
    let taken = execute!(conn, if is_postgres { TAKE_FREE } else { sql }, id, now)?;
    Ok(taken == 1)
}

/// Removes all messages of a subject, read or not; returns their ids, which copies of them go by.
///
/// # Errors
/// When the database refuses.
pub async fn forget(conn: &mut Conn, subject_id: Uuid) -> Result<Vec<Uuid>> {
    let sql = "DELETE FROM outbox WHERE subject_id = $1 RETURNING id";
    let rows = fetch_all!(conn, (Uuid,), sql, subject_id)?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Removes all messages to the account with an e-mail address, read or not.
///
/// # Errors
/// When the database refuses.
pub async fn forget_address(conn: &mut Conn, email: &str) -> Result<()> {
    let sql = "DELETE FROM outbox WHERE subject_id = $1 AND payload = $2";
    let payload = Json(json!({ "email": email }));
    execute!(conn, sql, ADDRESSEE, payload)?;
    Ok(())
}

/// Shortest time for which a message that was read is kept: customers are warned of the end of a period at most 30
/// days before it, and the key of the first warning is what keeps the job from the next one.
pub const KEPT_AT_LEAST: TimeDelta = TimeDelta::days(31);

/// Removes a number of rows that were read and are older than a moment; returns how many there
/// were. The newest summary of billing stays: the next one begins where it ends. So do those about old images, a
/// few for each: an image stays old for as long as it is on sale, and its key keeps it from being told each month.
///
/// # Errors
/// When the database refuses.
pub async fn purge(conn: &mut Conn, before: DateTime<Utc>, limit: i64) -> Result<u64> {
    let sql = delete_free!(
        conn,
        "outbox",
        "id",
        "created_at < $1 AND handled_at IS NOT NULL AND topic <> 'IMAGE_OLD' \
         AND (topic <> 'ADMIN_BILLING_SUMMARY' OR created_at < (SELECT max(newest.created_at) FROM outbox newest \
           WHERE newest.subject_id = $3 AND newest.topic = 'ADMIN_BILLING_SUMMARY')) \
         ORDER BY created_at LIMIT $2"
    );
    Ok(execute!(conn, sql, before, limit, ADMINISTRATORS)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thief who is signed in must not be able to switch them off.
    #[test]
    fn notices_about_security_are_required() {
        for &topic in Topic::ALL {
            assert!(!topic.is_about_security() || topic.is_required(), "{topic}");
        }
    }

    /// A proof of who reads an address would be none, had anyone else its token.
    #[test]
    fn mails_that_prove_an_address_go_nowhere_else() {
        for &topic in Topic::ALL.iter().filter(|topic| topic.is_mail_only()) {
            assert!(topic.is_required(), "{topic}");
            assert!(!topic.is_for_administrators(), "{topic}");
        }
        assert_ne!(ADDRESSEE, ADMINISTRATORS);
    }
}
