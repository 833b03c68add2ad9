//! API tokens: named, scoped, expiring keys with which a program acts for an account.
//!
//! A token is shown once and stored hashed. It works until it expires, is revoked, its account is
//! disabled, logs out everywhere or gets a new password, and never manages the account itself: no
//! password, no session, no other token. Nor does it become more than it is by other accounts: it makes no
//! administrator, and opens no account.

mod store;

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{AccountStatus, Accounts, Identity, Role};
use crate::{
    Code, Error, Result,
    calendar::json_text,
    crypto::{self, Hidden},
    db::{Conn, new_id},
    ids::{ApiTokenId, UserId},
    language,
    outbox::{self, Topic},
    owners,
};

/// Prefix of every token, so that people and secret scanners recognise one.
const PREFIX: &str = "dmg_";
/// Length of the shown beginning of a token, by which its owner recognises it.
const HINT_LENGTH: usize = PREFIX.len() + 4;
/// Maximum of valid tokens of one account.
const MAX_PER_ACCOUNT: i64 = 20;
/// Route of the account as a whole, which deletes it.
const ACCOUNT: &str = "/api/user";
/// Beginnings of routes that manage the account itself, or open that of another.
const MANAGING: &[&str] = &[
    "/api/admin/users/{id}/sign-in",
    "/api/admin/users/{id}/two-factor",
    "/api/auth/",
    "/api/user/api-tokens",
    "/api/user/export",
    "/api/user/sessions",
    "/api/user/two-factor",
];
/// Resolution of the recorded last use; a write for every request would cost too much.
const LAST_USE_RESOLUTION: TimeDelta = TimeDelta::minutes(1);

crate::text_enum! {
    /// Part of its account's permissions that a token may use.
    pub enum Scope {
        /// Look at everything but instance credentials.
        Read = "READ",
        /// Everything but managing the account itself, making or removing administrators, and opening
        /// accounts of others.
        Write = "WRITE",
        /// Upload, activate and try plugins; for administrators.
        Plugins = "PLUGINS",
    }
}

impl Scope {
    /// Returns true when a request is within this scope; `route` is the route's pattern.
    pub fn allows(self, method: &Method, route: &str) -> bool {
        if route == ACCOUNT || MANAGING.iter().any(|prefix| route.starts_with(prefix)) {
            return false;
        }
        match self {
            Self::Read => method.is_safe() && !route.ends_with("/credentials"),
            Self::Write => true,
            Self::Plugins => {
                route.starts_with("/api/admin/plugins")
                    || route.starts_with("/api/admin/coupon-types")
            }
        }
    }

    /// Returns the sentence for a request that is beyond this scope.
    fn refusal(self, method: &Method, route: &str) -> String {
        let enough = Self::ALL.iter().filter(|scope| scope.allows(method, route));
        let enough: Vec<_> = enough.map(|scope| scope.as_str()).collect();
        if enough.is_empty() {
            return format!(
                "No API token reaches {method} {route}. Log in, and send the access token."
            );
        }
        let enough = enough.join(" or ");
        format!("This API token has the scope {self}, and {method} {route} needs {enough}.")
    }
}

/// A token as its owner sees it later.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct ApiToken {
    pub id: ApiTokenId,
    pub name: String,
    pub scope: Scope,
    /// First characters of the token.
    #[schema(example = "dmg_k3Qz")]
    pub hint: String,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub expires_at: DateTime<Utc>,
    /// Time of the last use, to the minute.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub last_used_at: Option<DateTime<Utc>>,
}

/// A new token: what its owner sees, and the secret, this once.
#[derive(Debug)]
pub struct NewApiToken {
    pub token: ApiToken,
    pub secret: Hidden,
}

/// Revokes every token of an account, in the caller's transaction.
pub(super) async fn revoke_all(
    conn: &mut Conn,
    user_id: UserId,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    store::revoke_all(conn, user_id, now).await
}

/// Returns true for an API token, false for an access token.
pub(super) fn is_api_token(token: &str) -> bool {
    token.starts_with(PREFIX)
}

impl Accounts {
    /// Creates a token for an account.
    ///
    /// # Errors
    /// `FORBIDDEN` for [`Scope::Plugins`] without the role, `CONFLICT` when there are too many,
    /// `UNAUTHENTICATED` when the session has ended.
    pub async fn create_api_token(
        &self,
        identity: Identity,
        name: &str,
        scope: Scope,
        lifetime: TimeDelta,
    ) -> Result<NewApiToken> {
        if scope == Scope::Plugins && identity.role != Role::Administrator {
            let message = "The scope PLUGINS is for administrators.";
            return Err(Error::new(Code::Forbidden, message));
        }
        let now = self.clock.now();
        let secret = format!("{PREFIX}{}", crypto::random_token());
        let token = ApiToken {
            id: new_id(&self.clock),
            name: name.to_owned(),
            scope,
            hint: secret.chars().take(HINT_LENGTH).collect(),
            created_at: now,
            expires_at: now + lifetime,
            last_used_at: None,
        };
        let mut conn = self.db.begin().await?;
        // The account's row is locked, so that two requests cannot both take the last place.
        owners::still_signed_in(&mut conn, identity.signed_in()).await?;
        if store::count(&mut conn, identity.user_id, now).await? >= MAX_PER_ACCOUNT {
            let message = format!(
                "You already have the maximum of {MAX_PER_ACCOUNT} API tokens. Revoke one first."
            );
            return Err(Error::new(Code::Conflict, message));
        }
        let hash = crypto::sha256_hex(&secret);
        store::insert(&mut conn, identity.user_id, &token, &hash).await?;
        let payload = json!({ "tokenId": token.id, "token": token.name, "scope": scope, "at": json_text(now) });
        let what = (Topic::ApiTokenCreated, identity.user_id.into());
        let key = token.id.to_string();
        outbox::put_once(&mut conn, &self.clock, what, &key, payload).await?;
        conn.commit().await?;
        tracing::info!(user.id = %identity.user_id, token.id = %token.id, token.scope = %scope, "api_token.created");
        let secret = secret.into();
        Ok(NewApiToken { token, secret })
    }

    /// Returns an account's valid tokens, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn api_tokens(&self, user_id: UserId) -> Result<Vec<ApiToken>> {
        Ok(store::list(&mut self.db.read().await?, user_id, self.clock.now()).await?)
    }

    /// Revokes a token at once, on every server.
    ///
    /// # Errors
    /// `NOT_FOUND` when the account has no such token, or had.
    pub async fn revoke_api_token(&self, user_id: UserId, id: ApiTokenId) -> Result<()> {
        let mut conn = self.db.begin().await?;
        if !store::revoke(&mut conn, user_id, id, self.clock.now()).await? {
            return Err(Error::not_found("API token"));
        }
        conn.commit().await?;
        tracing::info!(user.id = %user_id, token.id = %id, "api_token.revoked");
        Ok(())
    }

    /// Returns the identity behind this token, when the request is within its scope.
    pub(super) async fn authenticate_api_token(
        &self,
        token: &str,
        method: &Method,
        route: &str,
    ) -> Result<Identity> {
        let now = self.clock.now();
        let mut conn = self.db.read().await?;
        let holder = store::holder(&mut conn, &crypto::sha256_hex(token), now).await?;
        drop(conn);
        let holder = holder
            .filter(|holder| holder.status == AccountStatus::Active)
            .ok_or_else(|| {
                let message = "The API token is not valid: unknown, expired or revoked.";
                Error::new(Code::Unauthenticated, message)
            })?;
        // A refusal has the account's language, too.
        language::remember(holder.language);
        if !holder.scope.allows(method, route) {
            let message = holder.scope.refusal(method, route);
            return Err(Error::new(Code::Forbidden, message));
        }
        if holder
            .last_used_at
            .is_none_or(|used| now - used >= LAST_USE_RESOLUTION)
        {
            self.note_use(holder.id, now).await;
        }
        Ok(Identity {
            user_id: holder.user_id,
            // Ending the session of a token ends none of the account's.
            session: Uuid::from(holder.id).into(),
            role: holder.role,
            is_program: true,
            acting: None,
            has_two_factor: holder.has_two_factor,
            language: holder.language,
        })
    }

    /// Records the last use, for people to look at; a request does not fail for it.
    async fn note_use(&self, id: ApiTokenId, now: DateTime<Utc>) {
        let noted: sqlx::Result<()> = async {
            let mut conn: Conn = self.db.begin().await?;
            store::note_use(&mut conn, id, now).await?;
            conn.commit().await
        }
        .await;
        if let Err(error) = noted {
            tracing::warn!(%error, token.id = %id, "api_token.use_not_noted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_reach_what_they_say() {
        let cases = [
            ("GET", "/api/wallet/info", [true, true, false]),
            ("POST", "/api/wallet/redeem-coupon", [false, true, false]),
            (
                "GET",
                "/api/instances/{id}/credentials",
                [false, true, false],
            ),
            ("POST", "/api/admin/plugins", [false, true, true]),
            (
                "POST",
                "/api/admin/plugins/{id}/activate",
                [false, true, true],
            ),
            ("GET", "/api/admin/plugins", [true, true, true]),
            ("GET", "/api/admin/decisions", [true, true, false]),
            ("POST", "/api/auth/change-password", [false, false, false]),
            ("GET", "/api/auth/profile", [false, false, false]),
            ("GET", "/api/user/api-tokens", [false, false, false]),
            ("DELETE", "/api/user/api-tokens/{id}", [false, false, false]),
            ("GET", "/api/user/sessions", [false, false, false]),
            ("DELETE", "/api/user", [false, false, false]),
            ("POST", "/api/user/export", [false, false, false]),
            ("DELETE", "/api/user/two-factor", [false, false, false]),
            ("GET", "/api/user/profile", [true, true, false]),
            (
                "POST",
                "/api/admin/users/{id}/sign-in",
                [false, false, false],
            ),
            (
                "DELETE",
                "/api/admin/users/{id}/two-factor",
                [false, false, false],
            ),
            (
                "POST",
                "/api/admin/users/{id}/sign-out",
                [false, true, false],
            ),
        ];
        for (method, route, expected) in cases {
            let method: Method = method.parse().unwrap();
            let allowed = [Scope::Read, Scope::Write, Scope::Plugins]
                .map(|scope| scope.allows(&method, route));
            assert_eq!(allowed, expected, "{method} {route}");
        }
    }

    #[test]
    fn a_refusal_names_the_scope_that_is_missing() {
        let told = |scope: Scope, route: &str| scope.refusal(&Method::POST, route);
        assert_eq!(
            told(Scope::Read, "/api/subscriptions"),
            "This API token has the scope READ, and POST /api/subscriptions needs WRITE."
        );
        assert_eq!(
            told(Scope::Read, "/api/admin/plugins"),
            "This API token has the scope READ, and POST /api/admin/plugins needs WRITE or PLUGINS."
        );
        assert_eq!(
            told(Scope::Write, "/api/auth/change-password"),
            "No API token reaches POST /api/auth/change-password. Log in, and send the access token."
        );
    }
}
