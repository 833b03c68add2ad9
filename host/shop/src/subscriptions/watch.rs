//! Worker that looks every second at the events subscriptions wait for.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Subscriptions, delivery, renewal, upgrade};
use crate::Result;

const INTERVAL: Duration = Duration::from_secs(1);

/// Settles changes of plan under way, follows what was delivered and what never will be, and renews
/// what can be paid by now, until cancelled.
pub async fn watch(shop: Subscriptions, cancel: CancellationToken) {
    while cancel
        .run_until_cancelled(tokio::time::sleep(INTERVAL))
        .await
        .is_some()
    {
        if let Err(error) = watch_once(&shop).await {
            tracing::warn!(%error, cause = ?error.source, "subscriptions.watch_failed");
        }
    }
}

async fn watch_once(shop: &Subscriptions) -> Result<()> {
    upgrade::settle_all(shop).await?;
    delivery::note_deliveries(shop).await?;
    delivery::undo_purchases(shop).await?;
    renewal::renew_payable(shop).await
}
