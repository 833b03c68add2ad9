//! SQL of the administrators' view of all subscriptions.

use chrono::{DateTime, Utc};

use super::{AnySubscriptionFilter, OwnedRow};
use crate::{
    db::{Conn, Filter, List, Span, Walked, fetch_first, fetch_span},
    execute, fetch_all, fetch_optional,
    ids::{ServiceId, SubscriptionId, UserId},
    money::Rupiah,
    subscriptions::{
        SubscriptionStatus,
        store::{columns, shown_with, waits, with_plan},
    },
    wallet::Account,
};

/// Customers that a search names one by one; more of them are met soon in the list itself. With fewer, a page that is
/// read from there passes thousands of subscriptions, and looks up the customer of each.
const MOST_NAMED: usize = 1000;

const SUBSCRIPTIONS: List = List {
    rows: concat!(
        "SELECT ",
        columns!(),
        ", u.email",
        with_plan!(),
        " JOIN users u ON u.id = s.user_id LEFT JOIN instances i ON i.subscription_id = s.id"
    ),
    from: "FROM subscriptions s",
    key: "s.id",
    order: "ORDER BY s.created_at DESC, s.id DESC",
};

const WITH_OWNERS: List = List {
    from: "FROM subscriptions s JOIN users u ON u.id = s.user_id",
    ..SUBSCRIPTIONS
};

const OF_SERVICE: &str = "s.plan_id IN (SELECT p.id FROM service_plans p JOIN services v ON v.id = p.service_id WHERE v.slug = ?)";

pub(super) async fn list(
    conn: &mut Conn,
    wanted: &AnySubscriptionFilter<'_>,
    span: Span<SubscriptionId>,
) -> sqlx::Result<Walked<OwnedRow>> {
    let filter = shown_with(Filter::default(), wanted.status)
        .with_some("s.user_id = ?", wanted.user_id)
        .with_some(OF_SERVICE, wanted.service)
        .with_some("s.plan_id = ?", wanted.plan_id)
        .with_some("s.auto_renew = ?", wanted.auto_renew)
        .with_some("s.created_at >= ?", wanted.from)
        .with_some("s.created_at < ?", wanted.until)
        .with_some("s.period_end < ?", wanted.ends_before);
    let (list, filter) = match wanted.email {
        None => (SUBSCRIPTIONS, filter),
        Some(email) => {
            let owners = owners(conn, email).await?;
            if owners.len() > MOST_NAMED {
                (WITH_OWNERS, filter.containing(&["u.email"], Some(email)))
            } else {
                (SUBSCRIPTIONS, filter.with_any("s.user_id", padded(owners)))
            }
        }
    };
    let place = "(s.created_at, s.id) < (?, ?)";
    fetch_span(conn, list, place, filter, span).await
}

/// The first customers whose e-mail address contains a text, one more than are [named](MOST_NAMED).
async fn owners(conn: &mut Conn, text: &str) -> sqlx::Result<Vec<UserId>> {
    let filter = Filter::default().containing(&["u.email"], Some(text));
    let limit = i64::try_from(MOST_NAMED).unwrap_or(i64::MAX);
    let rows = fetch_first(conn, "SELECT u.id FROM users u", &filter, "", limit + 1);
    let rows: Vec<(UserId,)> = rows.await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Repeats the last customer up to a power of two, so that a few prepared statements serve all searches.
fn padded(mut owners: Vec<UserId>) -> Vec<UserId> {
    if let Some(last) = owners.last().copied() {
        owners.resize(owners.len().next_power_of_two(), last);
    }
    owners
}

/// Number of a service's subscriptions that are stored with one status.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct StatusCount {
    pub(super) service: String,
    pub(super) service_name: String,
    pub(super) status: SubscriptionStatus,
    pub(super) number: i64,
}

/// Counts all of them. They are counted by plan before anything is joined, in the order of an index.
pub(super) async fn count_by_status(conn: &mut Conn) -> sqlx::Result<Vec<StatusCount>> {
    let sql = "SELECT v.slug AS service, v.name AS service_name, n.status, CAST(sum(n.number) AS BIGINT) AS number
               FROM (SELECT plan_id, status, count(*) AS number FROM subscriptions GROUP BY plan_id, status) AS n
               JOIN service_plans p ON p.id = n.plan_id JOIN services v ON v.id = p.service_id
               GROUP BY v.slug, v.name, n.status ORDER BY v.slug, n.status";
    fetch_all!(conn, StatusCount, sql)
}

/// Number of a service's subscriptions.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct ServiceCount {
    pub(super) service_id: ServiceId,
    pub(super) service: String,
    pub(super) number: i64,
}

/// Counts the subscriptions of a condition by service.
macro_rules! count {
    ($($condition:tt)+) => {
        concat!(
            "SELECT p.service_id, v.slug AS service, CAST(sum(n.number) AS BIGINT) AS number
             FROM (SELECT plan_id, count(*) AS number FROM subscriptions WHERE ",
            $($condition)+,
            " GROUP BY plan_id) AS n
             JOIN service_plans p ON p.id = n.plan_id JOIN services v ON v.id = p.service_id
             GROUP BY p.service_id, v.slug"
        )
    };
}

/// Counts those made from a moment until another, by service.
pub(super) async fn count_new(
    conn: &mut Conn,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Vec<ServiceCount>> {
    let sql = count!("created_at >= $1 AND created_at < $2");
    fetch_all!(conn, ServiceCount, sql, from, until)
}

/// Counts those that wait for their first delivery, by service.
pub(super) async fn count_waiting(conn: &mut Conn) -> sqlx::Result<Vec<ServiceCount>> {
    let sql = count!(waits!());
    fetch_all!(conn, ServiceCount, sql)
}

/// Counts those that ended from a moment until another, by service.
pub(super) async fn count_lost(
    conn: &mut Conn,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Vec<ServiceCount>> {
    let sql = count!("cancelled_at >= $1 AND cancelled_at < $2");
    fetch_all!(conn, ServiceCount, sql, from, until)
}

/// Sum that wallets paid for a service's subscriptions.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct ServiceSum {
    pub(super) service_id: ServiceId,
    pub(super) service: String,
    pub(super) account: Account,
    pub(super) amount: Rupiah,
}

/// Sums what the wallets paid for subscriptions from a moment until another, less what was given back,
/// by service and kind of credit.
pub(super) async fn revenue(
    conn: &mut Conn,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Vec<ServiceSum>> {
    let sql = "SELECT p.service_id, v.slug AS service, o.account, CAST(-sum(o.amount) AS BIGINT) AS amount
               FROM transactions t JOIN journal_entries e ON e.transaction_id = t.id JOIN postings o ON o.entry_id = e.id
               JOIN subscriptions s ON s.id = t.subscription_id JOIN service_plans p ON p.id = s.plan_id
               JOIN services v ON v.id = p.service_id
               WHERE t.subscription_id IS NOT NULL AND t.created_at >= $1 AND t.created_at < $2
                 AND o.account IN ('WALLET_PAID', 'WALLET_BONUS') GROUP BY p.service_id, v.slug, o.account";
    fetch_all!(conn, ServiceSum, sql, from, until)
}

// ---- days that are kept ----

/// Moment of the first subscription.
pub(super) async fn first(conn: &mut Conn) -> sqlx::Result<Option<DateTime<Utc>>> {
    let sql = "SELECT created_at FROM subscriptions ORDER BY created_at LIMIT 1";
    let row = fetch_optional!(conn, (DateTime<Utc>,), sql)?;
    Ok(row.map(|(at,)| at))
}

/// Days that are kept and lie within a stretch of time, the earliest first.
pub(super) async fn kept_days(
    conn: &mut Conn,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Vec<(DateTime<Utc>, DateTime<Utc>)>> {
    let sql = "SELECT from_at, until_at FROM kept_days
               WHERE from_at >= $1 AND from_at < $2 AND until_at <= $2 ORDER BY from_at";
    fetch_all!(conn, (DateTime<Utc>, DateTime<Utc>), sql, from, until)
}

/// Figures of a service.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct KeptFigures {
    pub(super) service_id: ServiceId,
    pub(super) service: String,
    pub(super) began: i64,
    pub(super) ended: i64,
    pub(super) paid: Rupiah,
    pub(super) bonus: Rupiah,
}

/// Sums of the same days, by service.
pub(super) async fn kept_figures(
    conn: &mut Conn,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<Vec<KeptFigures>> {
    let sql = "SELECT d.service_id, v.slug AS service, CAST(sum(d.began) AS BIGINT) AS began,
                 CAST(sum(d.ended) AS BIGINT) AS ended, CAST(sum(d.paid) AS BIGINT) AS paid,
                 CAST(sum(d.bonus) AS BIGINT) AS bonus
               FROM kept_days k JOIN subscription_days d ON d.from_at = k.from_at JOIN services v ON v.id = d.service_id
               WHERE k.from_at >= $1 AND k.from_at < $2 AND k.until_at <= $2 GROUP BY d.service_id, v.slug";
    fetch_all!(conn, KeptFigures, sql, from, until)
}

/// Inserts a day; false when another server has.
pub(super) async fn insert_day(
    conn: &mut Conn,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> sqlx::Result<bool> {
    let sql = "INSERT INTO kept_days (from_at, until_at) VALUES ($1, $2) ON CONFLICT (from_at) DO NOTHING";
    Ok(execute!(conn, sql, from, until)? == 1)
}

/// Inserts the figures of a service on a day.
pub(super) async fn insert_figures(
    conn: &mut Conn,
    from: DateTime<Utc>,
    figures: &KeptFigures,
) -> sqlx::Result<()> {
    let sql = "INSERT INTO subscription_days (from_at, service_id, began, ended, paid, bonus)
               VALUES ($1, $2, $3, $4, $5, $6)";
    execute!(
        conn,
        sql,
        from,
        figures.service_id,
        figures.began,
        figures.ended,
        figures.paid,
        figures.bonus
    )
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_statements_serve_all_searches() {
        let named = |number: u128| padded((1..=number).map(UserId::from_u128).collect());
        let lengths = [0, 1, 3, 4, 513, 1000].map(|number| named(number).len());
        assert_eq!(lengths, [0, 1, 4, 4, 1024, 1024]);
        let last = UserId::from_u128(3);
        assert_eq!(
            named(3),
            [UserId::from_u128(1), UserId::from_u128(2), last, last]
        );
    }
}
