//! Worker for the bonuses of confirmed addresses that a server stopped before.

use std::time::Duration;

use dermaga_shop::{
    Result, coupons,
    workers::{Next, Worker},
};
use tokio_util::sync::CancellationToken;

use crate::api::AppState;

const INTERVAL: Duration = Duration::from_secs(60);
/// Accounts of one step.
const AT_ONCE: i64 = 20;

/// Grants what is overdue, until cancelled.
pub(super) async fn watch(state: AppState, cancel: CancellationToken) {
    let worker = Worker::new("bonuses", INTERVAL).ending_steps();
    worker.run(cancel, || give(&state)).await;
}

async fn give(state: &AppState) -> Result<Next> {
    for user_id in state.accounts.bonuses_due(AT_ONCE).await? {
        if !state.accounts.take_bonuses(user_id).await? {
            continue;
        }
        // A coupon that an account has used already is refused to it.
        let given = coupons::apply_confirmation(&state.coupons, &state.accounts, user_id).await;
        if given.is_some() {
            state.accounts.bonuses_given(user_id).await?;
        }
    }
    Ok(Next::AfterRest)
}
