//! Jobs by the clock: the rules of the domains, bound to what they need.

use dermaga_shop::{
    Result, billing,
    catalog::{self, Catalog},
    coupons::{self, Coupons},
    events, notifications,
    provisioning::health,
    scheduler::{Job, Outcome, Progress, Rule, Scheduler},
    subscriptions::{self, Subscriptions},
    tickets::Tickets,
    users::deletion,
    wallet::{self, Wallets},
    webhooks,
};

use uuid::Uuid;

use crate::config::Config;

/// Parts of the application that jobs need.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) subscriptions: &'a Subscriptions,
    pub(super) coupons: &'a Coupons,
    pub(super) wallets: &'a Wallets,
    pub(super) catalog: &'a Catalog,
    pub(super) tickets: &'a Tickets,
    /// Identity of this server.
    pub(super) server: Uuid,
}

/// Returns the jobs of a server with this configuration.
pub(super) fn scheduler(config: &Config, parts: Parts<'_>) -> Scheduler {
    let (subscriptions, wallets) = (parts.subscriptions, parts.wallets);
    let mut jobs = billing(config, subscriptions);
    jobs.extend(telling(config, subscriptions));
    jobs.extend(upkeep(config, parts.coupons, wallets));
    jobs.push(removal(config, wallets, subscriptions));
    jobs.push(proof(config, wallets));
    jobs.push(image_ages(config, parts.catalog));
    jobs.extend(tickets(config, parts.tickets));
    let (db, clock) = (wallets.db.clone(), wallets.clock.clone());
    Scheduler::new(db, clock, jobs, parts.server)
}

/// Binds a rule to the part of the application that it needs.
fn bound<P, R>(part: &P, rule: impl Fn(P, Progress) -> R + Send + Sync + 'static) -> Rule
where
    P: Clone + Send + Sync + 'static,
    R: Future<Output = Result<Outcome>> + Send + 'static,
{
    let part = part.clone();
    Rule::new(move |progress| rule(part.clone(), progress))
}

fn billing(config: &Config, shop: &Subscriptions) -> Vec<Job> {
    vec![
        Job {
            name: billing::DAILY_RENEWALS,
            summary: "Charges the next period of subscriptions whose period is over, or ends them.",
            schedule: config.schedules.daily_renewals.clone(),
            rule: bound(shop, |shop, progress| async move {
                billing::renew_all_due(&shop, &progress).await
            }),
        },
        Job {
            name: billing::GRACE_PERIOD,
            summary: "Suspends subscriptions whose grace is over, and ends those suspended for too long.",
            schedule: config.schedules.grace_period.clone(),
            rule: bound(shop, |shop, progress| async move {
                billing::process_all_grace(&shop, &progress).await
            }),
        },
    ]
}

fn telling(config: &Config, shop: &Subscriptions) -> Vec<Job> {
    vec![
        Job {
            name: billing::LOW_CREDIT_NOTIFICATIONS,
            summary: "Warns customers whose next period is due soon and whose balance is too small for it.",
            schedule: config.schedules.low_credit_notifications.clone(),
            rule: bound(shop, |shop, progress| async move {
                billing::warn_of_low_credit(&shop, &progress).await
            }),
        },
        Job {
            name: billing::GRACE_PERIOD_REMINDERS,
            summary: "Reminds customers of unpaid services that run on for a while.",
            schedule: config.schedules.grace_period_reminders.clone(),
            rule: bound(shop, |shop, progress| async move {
                billing::remind_of_grace(&shop, &progress).await
            }),
        },
        Job {
            name: billing::BILLING_STATS,
            summary: "Tells administrators the figures since the last summary, and keeps those of days that are over.",
            schedule: config.schedules.billing_stats.clone(),
            rule: bound(
                shop,
                |shop, _| async move { billing::summarise(&shop).await },
            ),
        },
    ]
}

fn upkeep(config: &Config, coupons: &Coupons, wallets: &Wallets) -> Vec<Job> {
    vec![
        Job {
            name: "coupon-statuses",
            summary: "Marks coupons whose time is over, or whose uses or budget are spent.",
            schedule: config.schedules.coupon_statuses.clone(),
            rule: bound(coupons, |coupons, _| async move {
                let mut conn = coupons.db.begin().await?;
                let changed = coupons::keep_statuses_true(&mut conn, &coupons.clock).await?;
                conn.commit().await?;
                Ok(Outcome::of(changed))
            }),
        },
        Job {
            name: "wallet-float",
            summary: "Warns when customers' paid credit together reaches the warning level.",
            schedule: config.schedules.wallet_float.clone(),
            rule: bound(wallets, |wallets, _| async move {
                Ok(Outcome::of(wallet::watch_float(&wallets).await?))
            }),
        },
        Job {
            name: "ledger-seal",
            summary: "Remembers how far each wallet's chain has come, so that a lost end is noticed.",
            schedule: config.schedules.ledger_seal.clone(),
            rule: bound(wallets, |wallets, _| async move {
                let sealed = wallet::seal(&wallets).await?;
                wallet::close_blocks(&wallets).await?;
                Ok(Outcome::of(sealed))
            }),
        },
        Job {
            name: "database-statistics",
            summary: "Lets SQLite look at the sizes of its tables, by which it chooses indexes.",
            schedule: config.schedules.database_statistics.clone(),
            rule: bound(&wallets.db, |db, _| async move {
                db.optimize().await?;
                Ok(Outcome::of(0))
            }),
        },
    ]
}

fn removal(config: &Config, wallets: &Wallets, subscriptions: &Subscriptions) -> Job {
    let parts = (wallets.clone(), subscriptions.clone());
    let how_long = config.provisioning.health_kept;
    Job {
        name: "health-history",
        summary: "Removes the history of instances' health that is older than it is kept, notifications after 400 days, expired quotes, and the texts of decisions about deleted accounts.",
        schedule: config.schedules.health_history.clone(),
        rule: bound(&parts, move |(wallets, shop), _| async move {
            let (db, clock) = (&wallets.db, &wallets.clock);
            let spans = health::purge(db, clock, how_long).await?;
            let told = notifications::purge(db, clock).await?;
            let sent = webhooks::purge(db, clock).await?;
            let seen = events::purge(db, clock).await?;
            let quoted = subscriptions::purge_quotes(&shop).await?;
            let erased = deletion::erase_decisions_of_deleted(&shop).await?;
            Ok(Outcome::of(spans + told + sent + seen + quoted + erased))
        }),
    }
}

fn proof(config: &Config, wallets: &Wallets) -> Job {
    Job {
        name: "ledger-verify",
        summary: "Proves the books, and raises an alert while they are broken.",
        schedule: config.schedules.ledger_verify.clone(),
        rule: bound(wallets, |wallets, _| async move {
            let found = wallet::watch_books(&wallets).await?;
            Ok(Outcome {
                items: found.entries,
                errors: found.faults,
            })
        }),
    }
}

fn image_ages(config: &Config, catalog: &Catalog) -> Job {
    let most_days = config.image_check_days;
    Job {
        name: "image-ages",
        summary: "Warns of images on sale that are past their support, or were not checked for long.",
        schedule: config.schedules.image_ages.clone(),
        rule: bound(catalog, move |catalog, _| async move {
            let told = catalog::watch_images(&catalog, most_days).await?;
            Ok(Outcome::of(told))
        }),
    }
}

fn tickets(config: &Config, tickets: &Tickets) -> Vec<Job> {
    vec![
        Job {
            name: "ticket-silence",
            summary: "Closes answered tickets whose customers have not written for TICKETS_SILENCE_DAYS.",
            schedule: config.schedules.ticket_silence.clone(),
            rule: bound(tickets, |tickets, _| async move {
                Ok(Outcome::of(tickets.close_silent().await?))
            }),
        },
        Job {
            name: "attachment-orphans",
            summary: "Removes pictures that no message has taken within an hour: their uploads were cut off.",
            schedule: config.schedules.attachment_orphans.clone(),
            rule: bound(tickets, |tickets, _| async move {
                let (items, errors) = tickets.sweep().await?;
                Ok(Outcome { items, errors })
            }),
        },
    ]
}
