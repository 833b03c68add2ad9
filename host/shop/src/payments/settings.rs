//! Settings of payments.

use std::time::Duration;

use crate::crypto::Secret;

/// Settings of payments and of the gateway behind them.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub midtrans: Midtrans,
    /// Play the gateway where there is no key.
    pub sandbox: bool,
    /// Most top-ups of one customer that wait to be paid.
    pub open_top_ups: i64,
}

/// Keys and addresses of Midtrans.
#[derive(Debug, Clone, Default)]
pub struct Midtrans {
    /// `None`: no payments, or the sandbox.
    pub server_key: Option<Secret>,
    pub client_key: Option<String>,
    pub is_production: bool,
    /// `None`: Midtrans' own.
    pub base_url: Option<String>,
    /// Addresses, these four: `None` leaves each to Midtrans' dashboard.
    pub notification_url: Option<String>,
    pub finish_url: Option<String>,
    pub unfinish_url: Option<String>,
    pub error_url: Option<String>,
    pub timeout: Duration,
}
