//! Accounts of the shop.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    crypto::Hidden,
    ids::{SessionId, UserId},
    language::Language,
    text,
};

crate::text_enum! {
    /// Permissions of an account.
    pub enum Role {
        User = "USER",
        Administrator = "ADMINISTRATOR",
    }
}

crate::text_enum! {
    pub enum AccountStatus {
        Active = "ACTIVE",
        Disabled = "DISABLED",
    }
}

/// An account as the database holds it.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct User {
    pub id: UserId,
    pub email: String,
    pub password_hash: Hidden,
    pub name: String,
    pub phone: Option<String>,
    pub avatar: Option<String>,
    pub role: Role,
    pub status: AccountStatus,
    pub token_generation: i64,
    /// Language that it is written to in.
    pub language: Language,
    pub email_verified_at: Option<DateTime<Utc>>,
    pub deleted_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

/// An account as its owner sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    pub id: UserId,
    pub email: String,
    pub name: String,
    /// Phone number with country code, for example `+6281234567890`.
    pub phone: Option<String>,
    pub avatar: Option<String>,
    pub role: Role,
    /// Language of mails and notifications, and of answers to requests without `Accept-Language`.
    pub language: Language,
    /// Time at which the e-mail address was confirmed.
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub email_verified_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
}

impl From<User> for Profile {
    fn from(user: User) -> Self {
        let User {
            id,
            email,
            name,
            phone,
            avatar,
            role,
            language,
            email_verified_at,
            created_at,
            ..
        } = user;
        Self {
            id,
            email,
            name,
            phone,
            avatar,
            role,
            language,
            email_verified_at,
            created_at,
        }
    }
}

/// The keys of a session.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// Token for `Authorization: Bearer ...`.
    #[schema(value_type = String)]
    pub access_token: Hidden,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub access_token_expires_at: DateTime<Utc>,
    /// Token for one exchange for a new pair of tokens.
    #[schema(value_type = String)]
    pub refresh_token: Hidden,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub refresh_token_expires_at: DateTime<Utc>,
}

impl Tokens {
    /// Returns the moment after which neither token works.
    pub(super) fn last_use(&self) -> DateTime<Utc> {
        self.access_token_expires_at
            .max(self.refresh_token_expires_at)
    }
}

/// A session as its owner sees it.
#[derive(Debug, Clone, Serialize, ToSchema, sqlx::FromRow)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    pub id: SessionId,
    /// Browser and system in a few words.
    #[schema(example = "Firefox on Linux")]
    #[serde(serialize_with = "super::origin::device_in_words")]
    pub device: String,
    /// Address that the session was started from, or refreshed last; absent for an administrator's.
    pub address: Option<String>,
    /// True for the session that asks.
    pub is_current: bool,
    /// True for a session in which an administrator looks at the account.
    pub by_administrator: bool,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub created_at: DateTime<Utc>,
    /// Time of the last use, to ten minutes.
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub last_used_at: DateTime<Utc>,
    /// Time at which it ends unless it is refreshed before.
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub expires_at: DateTime<Utc>,
}

/// An address, trimmed and lower-cased: one person, one account, however they type it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// # Errors
    /// A sentence that completes "email ...".
    pub fn parse(text: &str) -> Result<Self, String> {
        text::email(text).map(Self)
    }

    /// Reads the address of an account that may be there, also one that no new account could have.
    ///
    /// # Errors
    /// A sentence that completes "email ...".
    pub fn of_account(text: &str) -> Result<Self, String> {
        text::account_email(text).map(Self)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Shortens for logs: enough to recognise, too little to write to.
impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (local, domain) = self.0.rsplit_once('@').unwrap_or((&self.0, ""));
        write!(
            f,
            "{}***@{domain}",
            local.chars().take(1).collect::<String>()
        )
    }
}

/// Parses an Indonesian mobile number into its stored form: `+62` and nine to twelve digits.
///
/// # Errors
/// A sentence that completes "phone ...".
pub fn parse_phone(text: &str) -> Result<String, String> {
    text::phone(text)
}

/// Parses the address of a picture, `https` only, so that no page with it warns.
///
/// # Errors
/// A sentence that completes "avatar ...".
pub fn parse_avatar(text: &str) -> Result<String, String> {
    let wrong = || "must be an https address of at most 2048 characters".to_owned();
    let uri: http::Uri = text::identifier(text)?.parse().map_err(|_| wrong())?;
    let host = uri
        .authority()
        .filter(|authority| !authority.as_str().contains('@'))
        .map(|authority| authority.host());
    if uri.scheme_str() != Some("https") || host.is_none_or(str::is_empty) || text.len() > 2048 {
        return Err(wrong());
    }
    Ok(uri.to_string())
}

/// Parses the name of an account: 1 to 100 characters, at least one of them visible.
///
/// # Errors
/// A sentence that completes "name ...".
pub fn parse_name(text: &str) -> Result<String, String> {
    text::name(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_is_normalised_and_masked() {
        let email = Email::parse("  Sari.Dewi@Example.COM ").unwrap();
        assert_eq!(email.as_str(), "sari.dewi@example.com");
        assert_eq!(email.to_string(), "s***@example.com");
        for wrong in [
            "",
            "sari",
            "sari@",
            "@example.com",
            "a b@example.com",
            "sari\u{202e}@example.com",
            "sari@example",
            "sari..dewi@example.com",
            &format!("{}@example.com", "a".repeat(250)),
        ] {
            assert!(Email::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn phone_is_stored_with_country_code() {
        for text in [
            "081234567890",
            "+6281234567890",
            "6281234567890",
            "0812-3456-7890",
            "+62 (812) 3456.7890",
        ] {
            assert_eq!(parse_phone(text).unwrap(), "+6281234567890", "{text}");
        }
        for wrong in [
            "",
            "0211234567",
            "08123",
            "08123456789012",
            "+14155550100",
            "0812x4567890",
            "+620812345678",
        ] {
            assert!(parse_phone(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn avatar_is_https() {
        assert!(parse_avatar("https://cdn.example.com/a.png?size=2").is_ok());
        for wrong in [
            "http://example.com/a.png",
            "https://",
            "javascript:alert(1)",
            "/a.png",
            "https://u:p@example.com/",
            "https://example.com/a\u{202e}gpj.png",
        ] {
            assert!(parse_avatar(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn name_counts_characters() {
        assert_eq!(parse_name(" Ny ").unwrap(), "Ny");
        assert!(parse_name(&"é".repeat(100)).is_ok() && parse_name("a").is_ok());
        for wrong in ["", "  \u{200b}  ", &"a".repeat(101), "a\nb"] {
            assert!(parse_name(wrong).is_err(), "{wrong}");
        }
    }
}
