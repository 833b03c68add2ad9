//! Settings of coupons.

/// Settings of coupons. Each address has welcome bonuses once, whatever is between `+` and `@`; dots are not looked
/// at, so that one more or less makes another address.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Let welcome bonuses wait until the customer's e-mail address is confirmed.
    pub bonus_requires_verified_email: bool,
}
