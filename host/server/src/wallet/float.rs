//! The float: paid credit of all customers together, which is money the shop owes.

use serde::Serialize;
use utoipa::ToSchema;

use super::store;
use crate::{Result, app::AppState, db::Conn, money::Rupiah};

/// The float against its warning level, in rupiah.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Float {
    pub paid: Rupiah,
    /// `WALLET_FLOAT_WARNING`; null when nobody asked to be warned.
    pub warning_level: Option<Rupiah>,
    /// Whether the float is at or above the level.
    pub warning: bool,
}

impl Float {
    pub(super) fn new(paid: Rupiah, warning_level: Option<Rupiah>) -> Self {
        Self {
            paid,
            warning_level,
            warning: warning_level.is_some_and(|level| paid >= level),
        }
    }
}

/// Adds up the float and shows it as a metric.
///
/// # Errors
/// When the database does not answer.
pub(super) async fn measure(state: &AppState, conn: &mut Conn) -> Result<Float> {
    let paid = store::admin::totals(conn).await?.paid;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a metric is a float; up to 9 quadrillion rupiah it is exact"
    )]
    metrics::gauge!("dermaga_wallet_float_rupiah").set(paid.get() as f64);
    Ok(Float::new(paid, state.config.wallet_float_warning))
}
