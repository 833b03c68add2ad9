//! What runs by the clock: each domain's rules, bound to their settings.

use crate::{
    config::Config,
    coupons,
    scheduler::{Job, Outcome, Scheduler},
    subscriptions, wallet,
};

/// The jobs of a server with this configuration.
pub(super) fn scheduler(config: &Config) -> Scheduler {
    let jobs = vec![
        Job {
            name: subscriptions::DAILY_RENEWALS,
            summary: "Charges the next period of subscriptions whose period is over, or ends them.",
            schedule: config.cron_daily_renewals.clone(),
            rule: |state, progress| {
                Box::pin(async move { subscriptions::renew_all_due(&state, &progress).await })
            },
        },
        Job {
            name: subscriptions::GRACE_PERIOD,
            summary: "Suspends subscriptions whose grace is over, and ends those suspended for too long.",
            schedule: config.cron_grace_period.clone(),
            rule: |state, progress| {
                Box::pin(async move { subscriptions::process_all_grace(&state, &progress).await })
            },
        },
        Job {
            name: "coupon-statuses",
            summary: "Marks coupons whose time is over, or whose uses or budget are spent.",
            schedule: config.cron_coupon_statuses.clone(),
            rule: |state, _| {
                Box::pin(async move {
                    let mut conn = state.db.begin().await?;
                    let changed = coupons::keep_statuses_true(&mut conn, &state.clock).await?;
                    conn.commit().await?;
                    Ok(Outcome::of(changed))
                })
            },
        },
        Job {
            name: "wallet-float",
            summary: "Warns when customers' paid credit together reaches the warning level.",
            schedule: config.cron_wallet_float.clone(),
            rule: |state, _| {
                Box::pin(async move { Ok(Outcome::of(wallet::watch_float(&state).await?)) })
            },
        },
        Job {
            name: "ledger-seal",
            summary: "Remembers how far each wallet's chain has come, so that a lost end is noticed.",
            schedule: config.cron_ledger_seal.clone(),
            rule: |state, _| Box::pin(async move { Ok(Outcome::of(wallet::seal(&state).await?)) }),
        },
        Job {
            name: "database-statistics",
            summary: "Lets SQLite look at the sizes of its tables, by which it chooses indexes.",
            schedule: config.cron_database_statistics.clone(),
            rule: |state, _| {
                Box::pin(async move {
                    state.db.optimize().await?;
                    Ok(Outcome::of(0))
                })
            },
        },
    ];
    Scheduler::new(jobs, config.billing_timezone)
}
