//! Every job of two servers at the same instant, day after day: one charge a period, one mail a kind.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use dermaga_shop::{
    billing::{process_all_grace, remind_of_grace, renew_all_due, summarise, warn_of_low_credit},
    scheduler::Progress,
};
use dermaga_tests::{Engine, MailServer, Shop, both_engines};
use serde_json::Value;

use crate::{
    api::mails::sends_to,
    journeys::{
        renewal::{buy, id_of, subscription},
        upgrade::customer_with_cash,
    },
};

const INSTANTS: usize = 50;

/// Runs all five jobs, without the record of runs that would let one server do it.
async fn every_job(server: &Shop) {
    let shop = &server.state().subscriptions;
    let progress = Progress::default();
    let outcomes = [
        renew_all_due(shop, &progress).await,
        process_all_grace(shop, &progress).await,
        warn_of_low_credit(shop, &progress).await,
        remind_of_grace(shop, &progress).await,
        summarise(shop).await,
    ];
    for outcome in outcomes {
        assert_eq!(outcome.unwrap().errors, Vec::<String>::new());
    }
}

/// Returns how often each mail came, by its reader and its text.
fn counted(server: &MailServer) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for mail in server.received() {
        let subject = mail.header("Subject").unwrap_or_default().to_owned();
        let id = mail.header("Message-ID").unwrap_or_default();
        *counts
            .entry((mail.to.clone(), format!("{subject} {id}")))
            .or_default() += 1;
    }
    counts
}

/// Kinds of what the five jobs tell.
const TOLD: [&str; 6] = [
    "ADMIN_BILLING_SUMMARY",
    "GRACE_PERIOD_REMINDER",
    "LOW_CREDIT_WARNING",
    "RENEWAL_FAILURE",
    "RENEWAL_SUCCESS",
    "SUBSCRIPTION_SUSPENDED",
];

/// Returns the kind of each mail that was sent, with what makes it the same as another one: its reader, its
/// subscription, and the period or the day that it is about. Each subscription falls behind once at most.
async fn causes(shop: &Shop) -> Vec<(String, String)> {
    let sql = "SELECT n.kind, d.address || ' ' || n.kind || ' ' || coalesce(n.payload ->> 'subscriptionId', '-') || ' ' ||
                 coalesce(CASE n.kind WHEN 'ADMIN_BILLING_SUMMARY' THEN substr(n.payload ->> 'until', 1, 10)
                   WHEN 'GRACE_PERIOD_REMINDER' THEN CAST(CAST(n.created_at AT TIME ZONE 'Asia/Jakarta' AS DATE) AS TEXT)
                   WHEN 'LOW_CREDIT_WARNING' THEN n.payload ->> 'periodEnd'
                   WHEN 'RENEWAL_SUCCESS' THEN n.payload ->> 'period' END, '-')
               FROM notification_deliveries d JOIN notifications n ON n.id = d.notification_id
               WHERE d.state = 'SENT'";
    let mut conn = shop.state().db.read().await.unwrap();
    let sent = dermaga_shop::fetch_all!(conn, (String, String), sql).unwrap();
    let is_of_a_job = |(kind, _): &(String, String)| TOLD.contains(&kind.as_str());
    sent.into_iter().filter(is_of_a_job).collect()
}

/// Waits until every message is spread and every mail sent.
async fn all_told(shop: &Shop) {
    let sql = "SELECT count(*) FROM outbox WHERE handled_at IS NULL";
    let deliveries = "SELECT count(*) FROM notification_deliveries WHERE state <> 'SENT'";
    let mut left = 0;
    for _ in 0..1_200 {
        let mut conn = shop.state().db.read().await.unwrap();
        let (waiting,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
        let (unsent,) = dermaga_shop::fetch_one!(conn, (i64,), deliveries).unwrap();
        left = waiting + unsent;
        if left == 0 {
            return;
        }
        drop(conn);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{left} are not told after a minute");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_that_run_every_job_at_the_same_instant_charge_and_tell_once() {
    let mails = MailServer::start().await;
    let open = Shop::open_with(Engine::Postgres, |config| sends_to(config, &mails)).await;
    let Some(one) = open else { return };
    let two = one.second_server().await;
    // The reader of the figures of each day.
    one.admin().await;
    // One pays all, one pays the first period only, one the first two.
    let mut bought = Vec::new();
    for (email, cash) in [("kaya", 900_000), ("pas", 50_000), ("dua", 100_000)] {
        let email = format!("{email}@example.com");
        let customer = customer_with_cash(&one, &email, cash).await;
        bought.push(buy(&one, &customer, ("n8n", "basic"), None).await);
    }
    for _ in 0..INSTANTS {
        // A mail under way is sent again when a clock leaps past its lease.
        all_told(&one).await;
        for server in [&one, &two] {
            server.clock().advance(TimeDelta::days(1));
        }
        tokio::join!(every_job(&one), every_job(&two));
    }

    let mut periods = Vec::new();
    for purchase in &bought {
        let seen = subscription(&one, id_of(purchase)).await;
        periods.push(seen["periods"].as_array().unwrap().len());
    }
    assert_eq!(periods, [2, 1, 2]);
    one.books_balance().await;

    all_told(&one).await;
    let sent = causes(&one).await;
    for kind in TOLD {
        assert!(
            sent.iter().any(|(sent, _)| sent == kind),
            "{kind}: {sent:#?}"
        );
    }
    let mut by_cause: BTreeMap<String, usize> = BTreeMap::new();
    for (_, cause) in sent {
        *by_cause.entry(cause).or_default() += 1;
    }
    by_cause.retain(|_, count| *count > 1);
    assert!(by_cause.is_empty(), "{by_cause:#?}");
    let twice: Vec<_> = counted(&mails)
        .into_iter()
        .filter(|(_, count)| *count > 1)
        .collect();
    assert!(twice.is_empty(), "{twice:#?}");
    let renewed: Vec<Value> = one
        .admin()
        .await
        .get("/api/admin/transactions?type=SUBSCRIPTION&limit=100")
        .await
        .data(200)
        .as_array()
        .unwrap()
        .clone();
    // Three purchases and two renewals.
    assert_eq!(renewed.len(), 5, "{renewed:#?}");
}

both_engines!(Shop, [what_was_just_paid_for_needs_no_warning]);

/// Warnings are written while renewals run: a subscription and its wallet are as of one moment, and what was
/// paid for since is left out.
async fn what_was_just_paid_for_needs_no_warning(shop: Shop) {
    for number in 0..12 {
        let email = format!("pas-{number}@example.com");
        let customer = customer_with_cash(&shop, &email, 100_000).await;
        buy(&shop, &customer, ("n8n", "basic"), None).await;
    }
    shop.clock().advance(TimeDelta::days(32));
    let (subscriptions, progress) = (&shop.state().subscriptions, Progress::default());
    let warnings = async {
        for _ in 0..20 {
            let outcome = warn_of_low_credit(subscriptions, &progress).await.unwrap();
            assert_eq!(outcome.errors, Vec::<String>::new());
        }
    };
    let (renewed, ()) = tokio::join!(renew_all_due(subscriptions, &progress), warnings);
    assert_eq!(renewed.unwrap().errors, Vec::<String>::new());
    let mut conn = shop.state().db.read().await.unwrap();
    let sql = "SELECT count(*) FROM outbox WHERE topic = 'LOW_CREDIT_WARNING'";
    let (warned,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    assert_eq!(warned, 0);
    let sql = "SELECT count(*) FROM subscription_periods WHERE number = 2";
    let (paid,) = dermaga_shop::fetch_one!(conn, (i64,), sql).unwrap();
    assert_eq!(paid, 12);
    drop(conn);
    shop.books_balance().await;
}
