//! Worker that looks every second at the events subscriptions wait for.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    Result,
    subscriptions::{Subscriptions, delivery, upgrade},
    workers::{Next, Worker},
};

const INTERVAL: Duration = Duration::from_secs(1);

/// Settles changes of plan under way, follows what was delivered and what never will be, and renews
/// what can be paid by now, until cancelled.
pub async fn watch(shop: Subscriptions, cancel: CancellationToken) {
    let step = || async { watch_once(&shop).await.map(|()| Next::AfterRest) };
    let worker = Worker::new("subscriptions", INTERVAL);
    let worker = worker.resting_first().ending_steps();
    worker.run(cancel, step).await;
}

async fn watch_once(shop: &Subscriptions) -> Result<()> {
    upgrade::settle_all(shop).await?;
    delivery::note_deliveries(shop).await?;
    delivery::undo_purchases(shop).await?;
    super::renew_payable(shop).await
}
