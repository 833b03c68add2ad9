//! Settings of the wallet.

use super::Typeface;
use crate::money::Rupiah;

/// Settings of the wallet, its receipts and its warning.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Most paid credit that one customer may hold.
    pub balance_cap: Option<Rupiah>,
    /// Name of the shop, on receipts.
    pub shop_name: String,
    /// Font for letters on receipts that the included one lacks.
    pub receipt_font: Option<Typeface>,
    /// Paid credit of all customers from which administrators are warned.
    pub float_warning: Option<Rupiah>,
}
