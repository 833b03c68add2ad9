//! Addresses at which Midtrans is reached.

/// Base addresses of Midtrans: `(payment pages, everything else)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::payments) struct Addresses {
    pub(in crate::payments) snap: String,
    pub(in crate::payments) core: String,
}

impl Addresses {
    /// Midtrans itself: its sandbox, or real money.
    pub(in crate::payments) fn midtrans(is_production: bool) -> Self {
        let sandbox = if is_production { "" } else { "sandbox." };
        Self {
            snap: format!("https://app.{sandbox}midtrans.com"),
            core: format!("https://api.{sandbox}midtrans.com"),
        }
    }

    /// Addresses of one server that answers for both.
    pub(in crate::payments) fn one(base: &str) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self {
            snap: base.clone(),
            core: base,
        }
    }
}
