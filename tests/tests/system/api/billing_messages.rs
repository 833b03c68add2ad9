//! Tests of what the jobs of billing tell: the figures since the last summary, and a reminder for each day of a grace.

use chrono::{Days, TimeDelta};
use dermaga::{config::Config, sandbox::Action};
use dermaga_shop::{billing::process_grace, calendar, scheduler::Schedule};
use dermaga_tests::{Engine, Shop, both_engines};
use serde_json::{Value, json};

use super::{
    notifications::{run, told, told_times},
    payments::Till,
};
use crate::journeys::{
    renewal::{becomes, buy, id_of, moment, next_period},
    upgrade::customer_with_cash,
};

/// A shop whose jobs run when they are called.
struct Called;

impl Called {
    async fn open(engine: Engine) -> Option<Shop> {
        Shop::open_with(engine, called).await
    }
}

/// The same with a gateway.
struct CalledTill;

impl CalledTill {
    async fn open(engine: Engine) -> Option<Till> {
        Till::open_with(engine, called).await
    }
}

/// The same with warnings as early as they may be.
struct Early;

impl Early {
    async fn open(engine: Engine) -> Option<Shop> {
        Shop::open_with(engine, |config| {
            called(config);
            config.subscriptions.low_credit_days = 30;
        })
        .await
    }
}

fn called(config: &mut Config) {
    let jobs = &mut config.schedules;
    jobs.daily_renewals = Schedule::Off;
    jobs.grace_period = Schedule::Off;
    jobs.grace_period_reminders = Schedule::Off;
    jobs.billing_stats = Schedule::Off;
    jobs.low_credit_notifications = Schedule::Off;
    // Messages that were read are removed after a month, and a test counts them after more.
    jobs.health_history = Schedule::Off;
}

both_engines!(
    Called,
    [
        a_summary_has_the_figures_of_its_time,
        the_first_summary_begins_with_the_first_payment,
        what_is_paid_before_midnight_stands_in_the_next_summary,
        a_summary_by_hand_takes_nothing_from_the_nightly_one,
        a_grace_is_reminded_of_each_day,
        what_is_told_of_an_end_is_told_again_when_days_move_it
    ]
);

both_engines!(
    CalledTill,
    [
        a_top_up_stands_in_the_summary_of_its_payment,
        a_top_up_that_was_taken_back_was_received
    ]
);

both_engines!(Early, [a_later_period_is_not_warned_of_before_it_runs]);

/// Counts the summaries that were written and are kept.
async fn summaries(shop: &Shop) -> u64 {
    let all = "UPDATE outbox SET created_at = created_at WHERE topic = 'ADMIN_BILLING_SUMMARY'";
    shop.sql(all).await.unwrap()
}

/// Runs the job, and returns the facts of its summary, which is all that an administrator without older ones reads.
async fn summed_up(shop: &Shop, number: u64) -> Value {
    let admin = shop.admin().await;
    run(&admin, "billing-stats").await;
    let told = told(&admin, "ADMIN_BILLING_SUMMARY").await;
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(summaries(shop).await, number);
    told[0]["facts"].clone()
}

/// The same, once what was paid until now is a part of it.
async fn figures(shop: &Shop, number: u64) -> Value {
    shop.clock().advance(TimeDelta::minutes(2));
    summed_up(shop, number).await
}

fn money(facts: &Value) -> [i64; 4] {
    ["paid", "paidAmount", "topUps", "topUpAmount"].map(|field| facts[field].as_i64().unwrap())
}

/// Advances the clock to a minute of a day that comes after so many others, where the shop is.
fn advance_to(shop: &Shop, days: u64, minutes: i64) {
    let clock = shop.clock();
    let day = calendar::date(clock.zone(), clock.now()) + Days::new(days);
    let at = calendar::start_of_day(clock.zone(), day) + TimeDelta::minutes(minutes);
    clock.advance(at - clock.now());
}

/// The job runs at 23:00, and five minutes after midnight: both tell all that came since the run before.
async fn what_is_paid_before_midnight_stands_in_the_next_summary(shop: Shop) {
    advance_to(&shop, 1, 23 * 60);
    let first = summed_up(&shop, 1).await;
    assert_eq!(money(&first), [0; 4], "{first:#}");
    shop.clock().advance(TimeDelta::minutes(30));
    let customer = customer_with_cash(&shop, "larut@example.com", 60_000).await;
    buy(&shop, &customer, ("n8n", "basic"), None).await;
    advance_to(&shop, 1, 5);
    let second = summed_up(&shop, 2).await;
    assert_eq!(money(&second), [1, 50_000, 1, 60_000], "{second:#}");
    assert_eq!(second["since"], first["until"]);
    advance_to(&shop, 0, 23 * 60);
    let third = summed_up(&shop, 3).await;
    assert_eq!(money(&third), [0; 4], "{third:#}");
    assert_eq!(third["since"], second["until"]);
    assert_eq!(third["date"], second["date"]);
}

/// It is begun before a summary ends, and paid after that.
async fn a_top_up_stands_in_the_summary_of_its_payment(mut till: Till) {
    advance_to(&till.shop, 1, 22 * 60 + 50);
    till.admin = till.shop.admin().await;
    let customer = till.shop.customer("nanti@example.com").await;
    let top_up = till.top_up(&customer, 75_000, "BANK_TRANSFER").await;
    advance_to(&till.shop, 0, 23 * 60);
    let first = summed_up(&till.shop, 1).await;
    assert_eq!(money(&first), [0; 4], "{first:#}");
    advance_to(&till.shop, 0, 23 * 60 + 12);
    till.act(&top_up, Action::Pay);
    till.notify(&top_up).await.data(200);
    advance_to(&till.shop, 1, 23 * 60);
    let second = summed_up(&till.shop, 2).await;
    assert_eq!(money(&second), [0, 0, 1, 75_000], "{second:#}");
    assert_eq!(second["since"], first["until"]);
}

/// The first of two is taken back before the summary. The statistics have it, and what took it back, each once.
async fn a_top_up_that_was_taken_back_was_received(mut till: Till) {
    advance_to(&till.shop, 1, 10 * 60);
    till.admin = till.shop.admin().await;
    let customer = till.shop.customer("kembali@example.com").await;
    let taken_back = till.paid(&customer, 60_000).await;
    till.paid(&customer, 40_000).await;
    till.act(&taken_back, Action::Chargeback);
    till.notify(&taken_back).await.data(200);
    assert_eq!(till.paid_balance(&customer).await, 40_000);
    let facts = figures(&till.shop, 1).await;
    assert_eq!(money(&facts), [0, 0, 2, 100_000], "{facts:#}");
    let admin = till.shop.admin().await;
    let all = admin.get("/api/admin/wallets/statistics").await.data(200);
    let expected = [
        ("CHARGEBACK", "COMPLETED", -60_000),
        ("TOP_UP", "COMPLETED", 40_000),
        ("TOP_UP", "REFUNDED", 60_000),
    ]
    .map(|(kind, status, amount)| {
        json!({ "type": kind, "status": status, "count": 1, "amount": amount })
    });
    assert_eq!(all["thisMonth"], json!(expected));
    assert_eq!(all["totalTopUp"], 100_000);
}

/// A run by hand tells what came before it, one right after it nothing, and the nightly one the rest, also where the
/// summaries before it were read and removed.
async fn a_summary_by_hand_takes_nothing_from_the_nightly_one(shop: Shop) {
    advance_to(&shop, 1, 10 * 60);
    customer_with_cash(&shop, "pagi@example.com", 60_000).await;
    let by_hand = figures(&shop, 1).await;
    assert_eq!(money(&by_hand), [0, 0, 1, 60_000], "{by_hand:#}");
    run(&shop.admin().await, "billing-stats").await;
    assert_eq!(summaries(&shop).await, 1);
    customer_with_cash(&shop, "siang@example.com", 25_000).await;
    advance_to(&shop, 0, 23 * 60);
    let nightly = summed_up(&shop, 2).await;
    assert_eq!(money(&nightly), [0, 0, 1, 25_000], "{nightly:#}");
    assert_eq!(nightly["since"], by_hand["until"]);

    shop.clock().advance(TimeDelta::days(60));
    customer_with_cash(&shop, "lama@example.com", 10_000).await;
    shop.clock().advance(TimeDelta::days(60));
    run(&shop.admin().await, "health-history").await;
    assert_eq!(summaries(&shop).await, 1, "the newest one is kept");
    let late = summed_up(&shop, 2).await;
    assert_eq!(money(&late), [0, 0, 1, 10_000], "{late:#}");
    assert_eq!(late["since"], nightly["until"]);
}

/// The job runs for the first time after months, and tells of all of them.
async fn the_first_summary_begins_with_the_first_payment(shop: Shop) {
    let begun = shop.clock().now();
    customer_with_cash(&shop, "perdana@example.com", 60_000).await;
    shop.clock().advance(TimeDelta::days(100));
    customer_with_cash(&shop, "kedua@example.com", 25_000).await;
    let first = figures(&shop, 1).await;
    assert_eq!(money(&first), [0, 0, 2, 85_000], "{first:#}");
    let since = moment(&first["since"]);
    let until = begun + TimeDelta::minutes(5);
    assert!((begun..until).contains(&since), "{first:#}");
}

async fn a_summary_has_the_figures_of_its_time(shop: Shop) {
    let one = customer_with_cash(&shop, "satu@example.com", 60_000).await;
    let other = customer_with_cash(&shop, "dua@example.com", 25_000).await;
    let first = buy(&shop, &one, ("n8n", "basic"), None).await;
    let second = buy(&shop, &other, ("postgresql", "basic"), None).await;
    for bought in [&first, &second] {
        becomes(&shop, id_of(bought), "ACTIVE").await;
    }
    let of = |facts: &Value| {
        ["active", "pastDue", "suspended", "lowCredit"].map(|field| facts[field].as_i64().unwrap())
    };
    let facts = figures(&shop, 1).await;
    assert_eq!(money(&facts), [2, 75_000, 2, 85_000], "{facts:#}");
    assert_eq!(of(&facts), [2, 0, 0, 0], "{facts:#}");
    assert_eq!(facts["pending"], 0);

    // Two days before the end neither has enough for the next period.
    let end = moment(&first["subscription"]["periodEnd"]);
    shop.clock()
        .advance(end - shop.clock().now() - TimeDelta::days(2));
    let facts = figures(&shop, 2).await;
    assert_eq!(money(&facts), [0, 0, 0, 0], "{facts:#}");
    assert_eq!(of(&facts), [2, 0, 0, 2], "{facts:#}");

    assert_eq!(
        next_period(&shop, id_of(&first)).await["status"],
        "PAST_DUE"
    );
    assert_eq!(
        next_period(&shop, id_of(&second)).await["status"],
        "PAST_DUE"
    );
    let facts = figures(&shop, 3).await;
    assert_eq!(of(&facts)[..3], [0, 2, 0], "{facts:#}");
    shop.clock().advance(TimeDelta::days(8));
    process_grace(&shop.state().subscriptions).await.unwrap();
    let facts = figures(&shop, 4).await;
    assert_eq!(of(&facts)[..3], [0, 0, 2], "{facts:#}");
}

/// The wallet pays for the period that is over and not renewed yet, and not for the one after it, which ends within
/// the days of a warning, too: it is on the list, and its customer is not told of the end of another period.
async fn a_later_period_is_not_warned_of_before_it_runs(shop: Shop) {
    let customer = customer_with_cash(&shop, "berikut@example.com", 100_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let end = moment(&bought["subscription"]["periodEnd"]);
    let after = TimeDelta::days(3);
    shop.clock().advance(end - shop.clock().now() + after);
    let admin = shop.admin().await;
    let path = "/api/admin/billing/low-credit?days=30";
    let listed = admin.get(path).await.data(200);
    assert_eq!(listed[0]["subscriptionId"], bought["subscription"]["id"]);
    assert_eq!(
        (&listed[0]["renewals"], &listed[0]["missing"]),
        (&json!(1), &json!(50_000))
    );
    run(&admin, "low-credit-notifications").await;
    let all = "UPDATE outbox SET created_at = created_at WHERE topic = 'LOW_CREDIT_WARNING'";
    assert_eq!(shop.sql(all).await.unwrap(), 0);
}

async fn a_grace_is_reminded_of_each_day(shop: Shop) {
    let job = "grace-period-reminders";
    let customer = customer_with_cash(&shop, "ingat@example.com", 60_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    assert_eq!(
        next_period(&shop, id_of(&bought)).await["status"],
        "PAST_DUE"
    );
    for day in 1..=3 {
        let admin = shop.admin().await;
        for _ in 0..2 {
            run(&admin, job).await;
        }
        let customer = shop.sign_in("ingat@example.com").await;
        let reminded = told_times(&customer, "GRACE_PERIOD_REMINDER", day).await;
        assert_eq!(reminded.len(), day, "{reminded:#?}");
        shop.clock().advance(TimeDelta::days(1));
    }
    // After the end of the grace there is nothing to remind of.
    shop.clock().advance(TimeDelta::days(8));
    let admin = shop.admin().await;
    process_grace(&shop.state().subscriptions).await.unwrap();
    run(&admin, job).await;
    let customer = shop.sign_in("ingat@example.com").await;
    told(&customer, "SUBSCRIPTION_SUSPENDED").await;
    let all = told(&customer, "GRACE_PERIOD_REMINDER").await;
    assert_eq!(all.len(), 3, "{all:#?}");
    assert_eq!(all[0]["facts"]["missing"], json!(40_000));
}

/// Days that an administrator gives move the end of a period: its customer is warned of the new one, and told of the
/// grace that begins with it.
async fn what_is_told_of_an_end_is_told_again_when_days_move_it(shop: Shop) {
    let email = "lagi@example.com";
    let customer = customer_with_cash(&shop, email, 60_000).await;
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let give = async |days: i64| {
        let body = json!({ "days": days, "reason": "The cluster was away." });
        let path = format!("/api/admin/subscriptions/{id}/extend");
        shop.admin().await.put(&path, body).await.data(200)
    };
    let mut end = moment(&bought["subscription"]["periodEnd"]);
    for times in 1..=2 {
        let before = TimeDelta::days(2);
        shop.clock().advance(end - shop.clock().now() - before);
        for _ in 0..2 {
            run(&shop.admin().await, "low-credit-notifications").await;
        }
        let reader = shop.sign_in(email).await;
        let warned = told_times(&reader, "LOW_CREDIT_WARNING", times).await;
        assert_eq!(warned.len(), times, "{warned:#?}");
        end = moment(&give(10).await["periodEnd"]);
    }
    for times in 1..=2 {
        assert_eq!(next_period(&shop, id).await["status"], "PAST_DUE");
        let reader = shop.sign_in(email).await;
        let failed = told_times(&reader, "RENEWAL_FAILURE", times).await;
        assert_eq!(failed.len(), times, "{failed:#?}");
        assert_eq!(give(10).await["status"], "ACTIVE");
    }
}

both_engines!(Shop, [people_are_warned_and_reminded_once]);

async fn people_are_warned_and_reminded_once(shop: Shop) {
    let send = "/api/admin/billing/send-low-credit-notifications";
    let customer = customer_with_cash(&shop, "kurang@example.com", 60_000).await;
    customer.post(send, json!({})).await.fails(403, "FORBIDDEN");
    let bought = buy(&shop, &customer, ("n8n", "basic"), None).await;
    let id = id_of(&bought);
    let end = moment(&bought["subscription"]["periodEnd"]);
    shop.clock()
        .advance(end - shop.clock().now() - TimeDelta::days(4));
    let admin = shop.admin().await;
    run(&admin, "low-credit-notifications").await;
    shop.clock().advance(TimeDelta::days(2));
    let admin = shop.admin().await;
    let started = admin.post(send, json!({})).await.status;
    assert!([202, 409].contains(&started), "{started}");
    run(&admin, "low-credit-notifications").await;
    run(&admin, "low-credit-notifications").await;
    let customer = shop.sign_in("kurang@example.com").await;
    let warned = told(&customer, "LOW_CREDIT_WARNING").await;
    assert_eq!(warned.len(), 1, "{warned:#?}");
    assert_eq!(warned[0]["facts"]["missing"], 40_000);
    // Four days before the end there was no reason yet.
    let at = moment(&warned[0]["createdAt"]);
    assert!(end - at < TimeDelta::days(3), "{at}");

    assert_eq!(next_period(&shop, id).await["status"], "PAST_DUE");
    let admin = shop.admin().await;
    run(&admin, "grace-period-reminders").await;
    run(&admin, "grace-period-reminders").await;
    let customer = shop.sign_in("kurang@example.com").await;
    let reminded = told(&customer, "GRACE_PERIOD_REMINDER").await;
    assert_eq!(reminded.len(), 1, "{reminded:#?}");
    assert_eq!(reminded[0]["facts"]["missing"], 40_000);

    // The clock may have told one already, to those who were administrators then.
    shop.clock().advance(TimeDelta::minutes(15));
    let admin = shop.admin().await;
    run(&admin, "billing-stats").await;
    run(&admin, "billing-stats").await;
    let summary = told(&admin, "ADMIN_BILLING_SUMMARY").await;
    assert_eq!(summary.len(), 1, "{summary:#?}");
    let facts = &summary[0]["facts"];
    assert_eq!(
        (&facts["pastDue"], &facts["active"]),
        (&json!(1), &json!(0))
    );
}
