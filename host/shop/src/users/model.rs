//! Accounts as administrators see them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{accounts::Role, db::Place, ids::UserId, money::Rupiah, text_enum};

text_enum! {
    /// State of an account.
    pub enum UserState {
        Active = "ACTIVE",
        /// Closed to every sign-in; instances keep running.
        Disabled = "DISABLED",
        /// Without anything personal; the row is kept for the books.
        Deleted = "DELETED",
    }
}

/// An account as administrators see it.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct UserView {
    pub id: UserId,
    pub email: String,
    pub name: String,
    pub phone: Option<String>,
    pub role: Role,
    pub state: UserState,
    /// Time at which the e-mail address was confirmed.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub email_verified_at: Option<DateTime<Utc>>,
    /// Paid credit in the wallet.
    #[schema(value_type = i64)]
    pub paid_balance: Rupiah,
    /// Bonus credit in the wallet.
    #[schema(value_type = i64)]
    pub bonus_balance: Rupiah,
    /// Subscriptions that have not ended.
    pub live_subscriptions: i64,
    /// Last use of a session by its owner, to ten minutes; absent when none is known any more.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub last_seen_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
}

impl UserView {
    /// Returns its place in a list that begins with the newest.
    pub const fn place(&self) -> Place<UserId> {
        Place {
            at: self.created_at,
            tie: self.id,
        }
    }
}

/// Filter of a list of accounts.
#[derive(Debug, Default)]
pub struct UserFilter<'a> {
    /// Text within the e-mail address or the name, in any case.
    pub q: Option<&'a str>,
    pub role: Option<Role>,
    pub state: Option<UserState>,
    pub is_email_verified: Option<bool>,
    /// Made at or after this moment.
    pub from: Option<DateTime<Utc>>,
    /// Made before this moment.
    pub until: Option<DateTime<Utc>>,
}
