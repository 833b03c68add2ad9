//! The float: paid credit of all customers together, which is money the shop owes.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::Wallets;
use super::store;
use crate::{
    Result,
    alerts::{self, AlertKind},
    db::Conn,
    money::Rupiah,
};

/// Subject of the alert: the shop as a whole.
const SUBJECT: &str = "wallets";

/// The float against its warning level, in rupiah.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Float {
    pub paid: Rupiah,
    /// `WALLET_FLOAT_WARNING`; null when it is not set.
    pub warning_level: Option<Rupiah>,
    /// True when the float is at or above the level.
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
pub async fn measure(wallets: &Wallets, conn: &mut Conn) -> Result<Float> {
    let totals = store::admin::totals(conn).await?;
    Ok(shown(wallets, totals.paid))
}

/// Shows the float as a metric.
pub(super) fn shown(wallets: &Wallets, paid: Rupiah) -> Float {
    metrics::gauge!("dermaga_wallet_float_rupiah").set(figure(paid.get()));
    Float::new(paid, wallets.settings.float_warning)
}

/// Shows what customers hold, and how far ledger and seals have come, as metrics.
///
/// # Errors
/// When the database does not answer.
pub async fn show(conn: &mut Conn) -> Result<()> {
    let books = store::admin::books(conn).await?;
    metrics::gauge!("dermaga_wallet_float_rupiah").set(figure(books.paid.get()));
    metrics::gauge!("dermaga_wallet_bonus_rupiah").set(figure(books.bonus.get()));
    metrics::gauge!("dermaga_ledger_entries").set(figure(books.entries));
    let last = store::last_seal(conn).await?.map(|seal| seal.sealed_at);
    metrics::gauge!("dermaga_ledger_last_entry_timestamp_seconds").set(seconds(books.last_entry));
    metrics::gauge!("dermaga_ledger_last_seal_timestamp_seconds").set(seconds(last));
    Ok(())
}

/// Returns the seconds since 1970; zero for what has not been yet.
fn seconds(moment: Option<DateTime<Utc>>) -> f64 {
    figure(moment.map_or(0, |moment| moment.timestamp()))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a metric is a float; up to 9 quadrillion it is exact"
)]
fn figure(number: i64) -> f64 {
    number as f64
}

/// Alerts administrators when the float has reached its warning level, and when that is over.
/// Returns 1 while the level is reached and when that ends, otherwise 0.
///
/// # Errors
/// When the database does not answer.
pub async fn watch_float(wallets: &Wallets) -> Result<u64> {
    let mut conn = wallets.db.begin().await?;
    let float = measure(wallets, &mut conn).await?;
    let changed = match float.warning_level {
        Some(level) if float.warning => {
            let message = format!(
                "Customers hold {} of paid credit together, which has reached the warning level of {level}: see that the money is there, and whether the rules for stored value ask something of you.",
                float.paid
            );
            alerts::raise(
                &mut conn,
                &wallets.clock,
                AlertKind::FloatHigh,
                SUBJECT,
                &message,
            )
            .await?;
            true
        }
        _ => alerts::resolve(&mut conn, &wallets.clock, AlertKind::FloatHigh, SUBJECT).await?,
    };
    conn.commit().await?;
    Ok(changed.into())
}
