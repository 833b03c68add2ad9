//! Second factors as their owners see them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    accounts::{Tokens, User},
    crypto::Hidden,
};

/// Result of a login with the right password.
#[derive(Debug)]
pub enum SignIn {
    Session(Box<User>, Tokens),
    /// A code is needed as well.
    Challenge(Challenge),
}

/// Second step of a login.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Challenge {
    /// Goes to `/auth/login/two-factor`, with a code.
    #[schema(value_type = String)]
    pub challenge: Hidden,
    #[serde(serialize_with = "crate::calendar::in_json")]
    pub expires_at: DateTime<Utc>,
}

/// State of an account's second factor.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TwoFactorView {
    pub is_enabled: bool,
    #[serde(serialize_with = "crate::calendar::in_json_if_any")]
    pub enabled_at: Option<DateTime<Utc>>,
    /// Recovery codes that were not used.
    pub recovery_codes_left: i64,
    /// True when the shop asks it of this account, so that it cannot be turned off.
    pub is_required: bool,
}

/// Secret for an authenticator app.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Enrolment {
    /// Secret in Base32, to be typed into an app.
    #[schema(value_type = String)]
    pub secret: Hidden,
    /// The same as an address, to be shown as a QR code.
    #[schema(example = "otpauth://totp/Dermaga:sari%40example.com?secret=...&issuer=Dermaga", value_type = String)]
    pub uri: Hidden,
}

/// Recovery codes, shown this once.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryCodes {
    /// Each works once, in the place of a code of the app.
    #[schema(value_type = Vec<String>)]
    pub codes: Vec<Hidden>,
}
