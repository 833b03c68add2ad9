//! Decisions on periods that are over, and the rows that the jobs pick.

use std::collections::HashSet;

use chrono::{DateTime, Days, Utc};
use chrono_tz::{Asia::Jakarta, Tz};

use super::*;
use crate::{
    db::Conn,
    execute, fetch_one,
    ids::PlanId,
    money::Rupiah,
    subscriptions::{Settings, Subscription, SubscriptionStatus as Status},
    test_database::{TestDatabase, ended},
};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn ids(due: Vec<Due>) -> Vec<SubscriptionId> {
    due.into_iter().map(|one| one.id).collect()
}

fn settings(grace_days: u64) -> Settings {
    Settings {
        grace_period: grace_days > 0,
        grace_days,
        ..Settings::default()
    }
}

const DUE: Rupiah = Rupiah::new(50_000);

type Decided = (Status, Option<DateTime<Utc>>, Option<DateTime<Utc>>);

fn fallen(seen: &Subscription, grace_days: u64, (zone, now): (Tz, &str)) -> Decided {
    let behind = dunning::behind(seen, &settings(grace_days), DUE, (zone, at(now)));
    assert_eq!(behind.unpaid, DUE);
    (behind.status, behind.grace_until, behind.suspended_at)
}

/// However late the job comes, grace counts from the end of what was paid.
#[test]
fn grace_begins_when_the_period_ends() {
    let until = Some(at("2028-01-13T12:00:00Z"));
    for now in ["2028-01-10T12:00:00Z", "2028-01-12T00:00:00Z"] {
        let decided = fallen(&ended(Status::Active), 3, (Tz::UTC, now));
        assert_eq!(decided, (Status::PastDue, until, None), "{now}");
    }
}

#[test]
fn grace_counts_days_where_the_shop_is() {
    let berlin = chrono_tz::Europe::Berlin;
    let seen = Subscription {
        period_end: at("2027-03-27T09:00:00Z"),
        ..ended(Status::Active)
    };
    let (_, until, _) = fallen(&seen, 2, (berlin, "2027-03-27T09:00:00Z"));
    assert_eq!(
        until,
        Some(at("2027-03-29T08:00:00Z")),
        "an hour is skipped"
    );
}

#[test]
fn without_grace_an_unpaid_period_suspends_at_once() {
    let now = "2028-01-10T12:30:00Z";
    let decided = fallen(&ended(Status::Active), 0, (Jakarta, now));
    assert_eq!(decided, (Status::Suspended, None, Some(at(now))));
}

#[test]
fn grace_is_not_extended_and_ends_in_suspension() {
    let until = at("2028-01-13T12:00:00Z");
    let seen = Subscription {
        grace_until: Some(until),
        ..ended(Status::PastDue)
    };
    let last = fallen(&seen, 9, (Jakarta, "2028-01-13T11:59:59Z"));
    assert_eq!(last, (Status::PastDue, Some(until), None));
    let over = fallen(&seen, 9, (Jakarta, "2028-01-13T12:00:00Z"));
    assert_eq!(over, (Status::Suspended, None, Some(until)));
}

#[test]
fn what_is_suspended_stays_so_since_it_was() {
    let since = at("2028-01-13T12:00:00Z");
    let seen = Subscription {
        suspended_at: Some(since),
        ..ended(Status::Suspended)
    };
    let decided = fallen(&seen, 9, (Jakarta, "2028-02-01T00:00:00Z"));
    assert_eq!(decided, (Status::Suspended, None, Some(since)));
}

#[test]
fn a_grace_by_hand_keeps_the_shops_bounds() {
    let settings = Settings {
        grace_min_days: 1,
        grace_max_days: 14,
        ..Settings::default()
    };
    for (days, allowed) in [(0, false), (1, true), (14, true), (15, false)] {
        assert_eq!(settings.check_grace_days(days).is_ok(), allowed, "{days}");
    }
}

/// Subscriptions of each status, half an hour after their periods ended.
struct Rows {
    database: TestDatabase,
    plan_id: PlanId,
    now: DateTime<Utc>,
}

impl Rows {
    async fn open() -> Self {
        let database = TestDatabase::open().await;
        Self {
            plan_id: database.sell("service-test", "app").await,
            now: database.clock.now(),
            database,
        }
    }

    async fn add(&self, status: &str) -> SubscriptionId {
        let end = self.now - TimeDelta::minutes(30);
        self.database.subscribe(self.plan_id, status, end).await
    }

    async fn set(&self, id: SubscriptionId, sql: &'static str, value: DateTime<Utc>) {
        let mut conn = self.database.db.begin().await.unwrap();
        assert_eq!(execute!(conn, sql, id, value).unwrap(), 1);
        conn.commit().await.unwrap();
    }

    async fn conn(&self) -> Conn {
        self.database.db.read().await.unwrap()
    }
}

#[tokio::test]
async fn what_renews_is_due_once_and_what_does_not_in_every_live_status() {
    let rows = Rows::open().await;
    let active = rows.add("ACTIVE").await;
    let in_grace = rows.add("PAST_DUE").await;
    let grace = "UPDATE subscriptions SET grace_until = $2 WHERE id = $1";
    rows.set(in_grace, grace, rows.now).await;
    let suspended = rows.add("SUSPENDED").await;
    for status in ["CANCELLED", "EXPIRED"] {
        rows.add(status).await;
    }
    let later = rows.now + TimeDelta::minutes(1);
    rows.database.subscribe(rows.plan_id, "ACTIVE", later).await;
    // Their periods end at one moment, and ids of one millisecond have no order.
    let due = async |now| {
        let found = store::due(&mut rows.conn().await, now).await.unwrap();
        found.into_iter().map(|one| one.id).collect::<HashSet<_>>()
    };
    assert_eq!(due(rows.now).await, HashSet::from([active, suspended]));
    assert_eq!(due(later).await.len(), 3);
    // An unpaid period may cost less by now.
    rows.set(in_grace, grace, later).await;
    assert_eq!(
        due(rows.now).await,
        HashSet::from([active, in_grace, suspended])
    );
    let stop = "UPDATE subscriptions SET auto_renew = FALSE";
    rows.database.sql(stop).await;
    assert_eq!(due(rows.now).await.len(), 3, "the two that ended are not");
}

#[tokio::test]
async fn grace_and_retention_are_over_at_their_ends() {
    let rows = Rows::open().await;
    let (unpaid, suspended) = (rows.add("PAST_DUE").await, rows.add("SUSPENDED").await);
    let sql = "UPDATE subscriptions SET grace_until = $2 WHERE id = $1";
    rows.set(unpaid, sql, rows.now).await;
    let sql = "UPDATE subscriptions SET suspended_at = $2 WHERE id = $1";
    rows.set(suspended, sql, rows.now).await;
    let before = rows.now - TimeDelta::milliseconds(1);
    let mut conn = rows.conn().await;
    let (c, none) = (&mut conn, Vec::<SubscriptionId>::new());
    let over = store::out_of_grace(c, before).await.unwrap();
    assert_eq!(ids(over), none);
    let over = store::out_of_grace(c, rows.now).await.unwrap();
    assert_eq!(ids(over), [unpaid]);
    assert_eq!(store::suspended_until(c, before).await.unwrap(), none);
    let kept = store::suspended_until(c, rows.now).await.unwrap();
    assert_eq!(kept, [suspended]);
}

#[tokio::test]
async fn an_unpaid_period_is_payable_when_the_wallet_holds_it() {
    let rows = Rows::open().await;
    for status in ["ACTIVE", "PAST_DUE", "SUSPENDED", "EXPIRED"] {
        rows.add(status).await;
    }
    let database = &rows.database;
    database
        .sql("UPDATE subscriptions SET unpaid = 50000")
        .await;
    let payable = async || {
        let found = store::payable(&mut rows.conn().await, rows.now).await;
        found.unwrap().len()
    };
    database
        .sql("UPDATE wallets SET paid_balance = 30000, bonus_balance = 19999")
        .await;
    assert_eq!(payable().await, 0);
    // Money that came since may be enough for what it costs now.
    database
        .sql("UPDATE subscriptions SET updated_at = '2000-01-01T00:00:00.000Z'")
        .await;
    assert_eq!(payable().await, 2, "looked at before the wallet changed");
    database
        .sql("UPDATE subscriptions SET updated_at = '2999-01-01T00:00:00.000Z'")
        .await;
    assert_eq!(payable().await, 0);
    database
        .sql("UPDATE wallets SET bonus_balance = 20000")
        .await;
    assert_eq!(payable().await, 2, "one in grace and one suspended");
    database
        .sql("UPDATE subscriptions SET auto_renew = FALSE")
        .await;
    assert_eq!(payable().await, 0);
}

/// The waits are short until the retries are used up, then a day; then they begin again.
#[tokio::test]
async fn a_failed_renewal_is_retried_soon_and_then_the_next_day() {
    let rows = Rows::open().await;
    let id = rows.add("ACTIVE").await;
    let (soon, later) = (
        rows.now + TimeDelta::hours(1),
        rows.now + TimeDelta::days(1),
    );
    for expected in [soon, soon, later, soon] {
        let mut conn = rows.database.db.begin().await.unwrap();
        let moments = (rows.now, soon, later);
        store::failed(&mut conn, id, 2, moments).await.unwrap();
        conn.commit().await.unwrap();
        let sql = "SELECT renewal_retry_at FROM subscriptions WHERE id = $1";
        let (next,) = fetch_one!(rows.conn().await, (DateTime<Utc>,), sql, id).unwrap();
        assert_eq!(next.timestamp_millis(), expected.timestamp_millis());
    }
    let early = store::payable(&mut rows.conn().await, rows.now)
        .await
        .unwrap();
    assert_eq!(early, Vec::new());
    let found = store::payable(&mut rows.conn().await, soon).await.unwrap();
    assert_eq!(ids(found), [id]);
}

/// A server that fails in a renewal which another one has done meanwhile leaves no mark.
#[tokio::test]
async fn what_another_server_renewed_is_not_retried() {
    let rows = Rows::open().await;
    let (end, now) = (rows.now + TimeDelta::days(30), rows.now);
    let id = rows.database.subscribe(rows.plan_id, "ACTIVE", end).await;
    let mut conn = rows.database.db.begin().await.unwrap();
    let failed = store::failed(&mut conn, id, 2, (now, now, now)).await;
    failed.unwrap();
    conn.commit().await.unwrap();
    let noted = "SELECT count(*) FROM subscriptions
                 WHERE renewal_retry_at IS NOT NULL OR renewal_failures > 0";
    assert_eq!(rows.database.number(noted).await, 0);
}

#[tokio::test]
async fn retention_reaches_back_so_many_days_of_the_shop() {
    let rows = Rows::open().await;
    let id = rows.add("SUSPENDED").await;
    let shop = rows.database.subscriptions(Settings {
        retention: Days::new(7),
        ..Settings::default()
    });
    let shop = shop.await;
    let sql = "UPDATE subscriptions SET suspended_at = $2 WHERE id = $1";
    rows.set(id, sql, rows.now).await;
    let quota = "UPDATE service_plans SET used_quota = 1";
    rows.database.sql(quota).await;
    let status = "SELECT count(*) FROM subscriptions WHERE status = 'EXPIRED'";
    shop.clock
        .advance(TimeDelta::days(7) - TimeDelta::minutes(5));
    assert_eq!(process_grace(&shop).await.unwrap().items, 0);
    assert_eq!(rows.database.number(status).await, 0);
    shop.clock.advance(TimeDelta::minutes(5));
    let outcome = process_grace(&shop).await.unwrap();
    assert_eq!((outcome.items, outcome.errors), (1, Vec::new()));
    assert_eq!(rows.database.number(status).await, 1);
}
