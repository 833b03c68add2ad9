//! Settings of coupons.

/// Settings of coupons.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Let welcome bonuses wait until the customer's e-mail address is confirmed.
    pub bonus_requires_verified_email: bool,
}
