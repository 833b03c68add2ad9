//! Settings of accounts.

use std::time::Duration;

use super::password::Effort;

/// Settings of accounts and their sessions.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub access_token_lifetime: Duration,
    pub refresh_token_lifetime: Duration,
    /// Time for which a mailed token for a new password is good.
    pub password_reset_lifetime: Duration,
    /// Administrators do nothing without a second factor.
    pub admin_two_factor: bool,
    /// Maximum of new accounts from one address within an hour.
    pub registrations_per_hour: u32,
    /// Effort of hashing passwords.
    pub effort: Effort,
}
